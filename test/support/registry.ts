// A real OCI registry for tests: the `registry` of the distribution project, and a pusher that speaks its API.

import { createHash } from "node:crypto";
import { accessSync, constants } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { packTar } from "modern-tar";
import { Agent, request } from "undici";
import type { Certificate } from "../cluster/certificates.ts";
import { Part } from "../cluster/part.ts";
import { leaveOut } from "./left-out.ts";
import type { TokenServer } from "./token-server.ts";

export interface RegistryOptions {
  /** Default: anybody may pull and push. */
  readonly auth?: { readonly kind: "Basic" } | { readonly kind: "Token"; readonly server: TokenServer };
  /** Default: plain http. */
  readonly tls?: Certificate;
}

/** Who may pull and push where a registry asks by Basic. */
export const registryUser = { username: "millrace", password: "correct horse" } as const;
/** Its line of an htpasswd file, by bcrypt, the only hash that the registry takes. */
const htpasswd = "millrace:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n";

export interface Pushed {
  /** Of the manifest. */
  readonly digest: string;
  readonly size: number;
}

export interface LayerContent {
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface ImageContent {
  /** By path. */
  readonly files: Readonly<Record<string, Uint8Array>>;
  /** Default Gzip. */
  readonly compression?: "Gzip" | "Zstd" | "None";
}

export const mediaTypes = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  wasm: "application/wasm",
  simpleSigning: "application/vnd.dev.cosign.simplesigning.v1+json",
} as const;

const startTimeoutMs = 20_000;
const howToGetOne =
  "set MILLRACE_REGISTRY_BIN to the registry of the distribution project, or put it on the PATH as docker-registry (Debian's package of that name has it) or registry";

/**
 * Gives the suite (call it in `describe`) a registry of its own. Where there is no such program the suite is left out with a line
 * that says so, or fails where MILLRACE_REQUIRE names `registry`. To be used inside hooks and tests only.
 */
export function useRegistry(options: () => RegistryOptions | Promise<RegistryOptions> = () => ({})): {
  readonly registry: TestRegistry;
} {
  const suite: { registry?: TestRegistry } = {};
  before("start a registry", async function () {
    this.timeout(2 * startTimeoutMs);
    const program = findProgram();
    if (program === undefined) return leaveOut(this, "registry", `needs an OCI registry: ${howToGetOne}`);
    suite.registry = await TestRegistry.start(program, await options());
  });
  after("stop the registry", () => suite.registry?.[Symbol.asyncDispose]());
  return {
    get registry() {
      if (suite.registry === undefined) throw new Error("the registry is there in hooks and tests only");
      return suite.registry;
    },
  };
}

function findProgram(): string | undefined {
  const given = process.env.MILLRACE_REGISTRY_BIN;
  if (given !== undefined && given !== "") return given;
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.flatMap((folder) => ["docker-registry", "registry"].map((name) => join(folder, name))).find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** A registry on a free port of loopback, alone in a temporary folder. Closing it ends the process and deletes the folder. */
export class TestRegistry implements AsyncDisposable {
  /** `127.0.0.1:PORT`; with TLS `localhost:PORT`. */
  readonly host: string;
  readonly url: string;
  readonly #directory: string;
  readonly #part: Part;
  readonly #options: RegistryOptions;
  /** Of its own, as global connections would outlive the suite. */
  readonly #agent = new Agent({ connect: { rejectUnauthorized: false } });

  private constructor(directory: string, part: Part, port: string, options: RegistryOptions) {
    this.#directory = directory;
    this.#part = part;
    this.#options = options;
    this.host = `${options.tls === undefined ? "127.0.0.1" : "localhost"}:${port}`;
    this.url = `${options.tls === undefined ? "http" : "https"}://${this.host}`;
  }

  /** Resolves once it listens. Rejects, with the last log lines, when it dies or twenty seconds have gone. */
  static async start(program: string, options: RegistryOptions): Promise<TestRegistry> {
    const directory = await mkdtemp(join(tmpdir(), "millrace-registry-"));
    await writeFile(join(directory, "config.yml"), JSON.stringify(configOf(options)));
    await writeFile(join(directory, "htpasswd"), htpasswd);
    if (options.auth?.kind === "Token") await writeFile(join(directory, "token.crt"), options.auth.server.certificate);
    if (options.tls !== undefined) {
      await writeFile(join(directory, "tls.crt"), options.tls.certificate);
      await writeFile(join(directory, "tls.key"), options.tls.key, { mode: 0o600 });
    }
    const logFile = join(directory, "registry.log");
    const part = new Part({ program, args: ["serve", "config.yml"], directory, logFile });
    try {
      return new TestRegistry(directory, part, await portOf(part, logFile), options);
    } catch (error) {
      await part.stop("SIGKILL");
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** An artifact with the module as its layer, as wkg pushes them; signed as cosign does, where `sign` is given. */
  async pushWasm(
    repository: string,
    tag: string,
    module: Uint8Array,
    options: { readonly sign?: (manifestDigest: string) => SignatureContent } = {},
  ): Promise<Pushed> {
    const config = { mediaType: "application/vnd.wasm.config.v0+json", bytes: Buffer.from("{}") };
    const pushed = await this.pushArtifact(repository, tag, [{ mediaType: mediaTypes.wasm, bytes: module }], {
      config,
    });
    if (options.sign !== undefined) await this.pushSignature(repository, pushed.digest, options.sign(pushed.digest));
    return pushed;
  }

  /** An image from scratch with these files in one layer. */
  async pushImage(repository: string, tag: string, { files, compression = "Gzip" }: ImageContent): Promise<Pushed> {
    const tar = await tarOf(files);
    const layer = {
      Gzip: { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", bytes: gzipSync(tar) },
      Zstd: { mediaType: "application/vnd.oci.image.layer.v1.tar+zstd", bytes: zstdCompressSync(tar) },
      None: { mediaType: "application/vnd.oci.image.layer.v1.tar", bytes: tar },
    }[compression];
    return await this.pushArtifact(repository, tag, [layer]);
  }

  /** A manifest with these layers. */
  async pushArtifact(
    repository: string,
    tag: string,
    layers: readonly LayerContent[],
    options: { readonly config?: LayerContent; readonly artifactType?: string; readonly mediaType?: string } = {},
  ): Promise<Pushed> {
    const { artifactType, mediaType = mediaTypes.manifest } = options;
    const config = options.config ?? { mediaType: "application/vnd.oci.image.config.v1+json", bytes: imageConfig };
    const manifest = {
      schemaVersion: 2,
      mediaType,
      ...(artifactType === undefined ? {} : { artifactType }),
      config: await this.#pushLayer(repository, config),
      layers: await Promise.all(layers.map((layer) => this.#pushLayer(repository, layer))),
    };
    return await this.pushManifest(repository, tag, mediaType, manifest);
  }

  /** An index of manifests that are there; a platform is `os/architecture`. */
  async pushIndex(
    repository: string,
    tag: string,
    entries: readonly (Pushed & {
      readonly platform?: string;
      readonly mediaType?: string;
      readonly annotations?: Readonly<Record<string, string>>;
    })[],
  ): Promise<Pushed> {
    const manifests = entries.map(({ digest, size, platform, mediaType = mediaTypes.manifest, annotations }) => {
      const [os, architecture] = platform?.split("/") ?? [];
      return { mediaType, digest, size, ...(os === undefined ? {} : { platform: { os, architecture } }), annotations };
    });
    const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests };
    return await this.pushManifest(repository, tag, mediaTypes.index, index);
  }

  /** A signature where cosign has it. */
  async pushSignature(repository: string, manifestDigest: string, content: SignatureContent): Promise<Pushed> {
    const annotations = { "dev.cosignproject.cosign/signature": content.signature };
    const layer = { mediaType: mediaTypes.simpleSigning, bytes: content.payload, annotations };
    return await this.pushArtifact(repository, `${manifestDigest.replace(":", "-")}.sig`, [layer]);
  }

  async pushManifest(repository: string, tag: string, mediaType: string, manifest: object): Promise<Pushed> {
    const bytes = Buffer.from(JSON.stringify(manifest));
    await this.#send(repository, "PUT", `/v2/${repository}/manifests/${tag}`, mediaType, bytes);
    return { digest: sha256(bytes), size: bytes.byteLength };
  }

  /** Overwrites a blob where the registry keeps it, as a broken disk would. */
  async corruptBlob(digest: string, bytes: Uint8Array): Promise<void> {
    const hex = digest.slice("sha256:".length);
    await writeFile(join(this.#directory, "data/docker/registry/v2/blobs/sha256", hex.slice(0, 2), hex, "data"), bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
    // Nothing is kept, so that no time is given.
    await this.#part.stop("SIGKILL");
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #pushLayer(repository: string, { mediaType, bytes, annotations }: LayerContent): Promise<object> {
    const digest = sha256(bytes);
    const started = await this.#send(repository, "POST", `/v2/${repository}/blobs/uploads/`);
    const upload = new URL(started.location, this.url);
    upload.searchParams.set("digest", digest);
    await this.#send(repository, "PUT", `${upload.pathname}${upload.search}`, "application/octet-stream", bytes);
    return { mediaType, digest, size: bytes.byteLength, ...(annotations === undefined ? {} : { annotations }) };
  }

  async #send(repository: string, method: "POST" | "PUT", path: string, contentType?: string, body?: Uint8Array) {
    const authorization = this.#authorization(repository);
    const {
      statusCode,
      headers,
      body: answer,
    } = await request(`${this.url}${path}`, {
      dispatcher: this.#agent,
      method,
      headers: {
        ...(contentType === undefined ? {} : { "content-type": contentType }),
        ...(authorization === undefined ? {} : { authorization }),
      },
      body: body ?? null,
    });
    const text = await answer.text();
    if (statusCode >= 300) throw new Error(`${method} ${path}: ${statusCode} ${text}`);
    return { location: String(headers.location) };
  }

  #authorization(repository: string): string | undefined {
    const { auth } = this.#options;
    if (auth === undefined) return undefined;
    if (auth.kind === "Token") return `Bearer ${auth.server.issue(repository, ["pull", "push"])}`;
    return `Basic ${Buffer.from(`${registryUser.username}:${registryUser.password}`).toString("base64")}`;
  }
}

export interface SignatureContent {
  readonly payload: Uint8Array;
  readonly signature: string;
}

const imageConfig = Buffer.from('{"os":"wasi","architecture":"wasm","rootfs":{"type":"layers","diff_ids":[]}}');

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** A tar of files, as an image's layer is one. */
export async function tarOf(files: Readonly<Record<string, Uint8Array>>): Promise<Uint8Array> {
  return await packTar(
    Object.entries(files).map(([name, body]) => ({ header: { name, size: body.byteLength }, body })),
  );
}

/** YAML, of which JSON is a part. */
function configOf({ auth, tls }: RegistryOptions): object {
  return {
    version: "0.1",
    log: { level: "info", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: "data" }, delete: { enabled: true } },
    http: {
      addr: "127.0.0.1:0",
      relativeurls: true,
      secret: "millrace-test",
      ...(tls === undefined ? {} : { tls: { certificate: "tls.crt", key: "tls.key" } }),
    },
    ...(auth === undefined ? {} : { auth: authConfigOf(auth) }),
  };
}

function authConfigOf(auth: NonNullable<RegistryOptions["auth"]>): object {
  if (auth.kind === "Basic") return { htpasswd: { realm: "millrace", path: "htpasswd" } };
  const { realm, service, issuer } = auth.server;
  return { token: { realm, service, issuer, rootcertbundle: "token.crt" } };
}

async function portOf(part: Part, logFile: string): Promise<string> {
  const deadline = performance.now() + startTimeoutMs;
  while (part.running && performance.now() < deadline) {
    const [, port] = /listening on 127\.0\.0\.1:(\d+)/.exec(await readFile(logFile, "utf8")) ?? [];
    if (port !== undefined) return port;
    await delay(20);
  }
  throw new Error(`the registry does not listen: ${await part.lastLines()}`);
}
