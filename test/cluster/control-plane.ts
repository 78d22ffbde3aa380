import { generateKeyPairSync } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Authority, type Certificate, createAuthority, createCertificate } from "./certificates.ts";
import { createKubectl, type Kubectl } from "./kubectl.ts";
import { Part } from "./part.ts";

/** The programs of a control plane. kube-controller-manager is started where the folder has it. */
export type PartName = "etcd" | "kube-apiserver" | "kube-controller-manager";

export interface ControlPlaneOptions {
  /** A folder with etcd, kube-apiserver and kubectl, optionally kube-controller-manager (envtest's KUBEBUILDER_ASSETS). */
  readonly assets: string;
  /** More flags for a part; the last one of a name counts. */
  readonly args?: Partial<Record<PartName, readonly string[]>>;
}

export interface User {
  readonly name: string;
  readonly groups: readonly string[];
}

const startTimeoutMs = 120_000;
const pollIntervalMs = 100;
const admin: User = { name: "admin", groups: ["system:masters"] };
/** Service addresses are only names here: nothing routes to them. */
const serviceRange = "10.0.0.0/24";
const serviceHosts = ["localhost", "127.0.0.1", "10.0.0.1", "kubernetes", "kubernetes.default.svc"];

/**
 * A real Kubernetes control plane on loopback, alone in a temporary folder: etcd on Unix sockets, kube-apiserver on a free
 * port with RBAC and Node authorization, and kube-controller-manager for garbage collection and namespace deletion.
 * No node: Pods stay Pending. Closing it ends every process and deletes the folder.
 */
export class ControlPlane implements AsyncDisposable {
  readonly directory: string;
  readonly server: string;
  /** Of an administrator, by client certificate. */
  readonly kubeconfig: string;
  readonly kubectl: Kubectl;
  readonly #options: ControlPlaneOptions;
  readonly #authority: Authority;
  readonly #admin: Certificate;
  readonly #parts = new Map<PartName, Part>();

  private constructor(directory: string, port: number, options: ControlPlaneOptions) {
    this.directory = directory;
    this.server = `https://127.0.0.1:${port}`;
    this.kubeconfig = join(directory, "admin.kubeconfig");
    this.kubectl = createKubectl(join(options.assets, "kubectl"), this.kubeconfig, join(directory, "cache"));
    this.#options = options;
    this.#authority = createAuthority("millrace-test");
    this.#admin = this.#issue(admin);
  }

  /** Resolves once the API server is ready. Rejects, with the last log lines, when a part dies or two minutes have gone. */
  static async start(options: ControlPlaneOptions): Promise<ControlPlane> {
    for (let attempt = 1; ; attempt += 1) {
      const directory = await mkdtemp(join(tmpdir(), "millrace-cp-"));
      const plane = new ControlPlane(directory, await freePort(), options);
      try {
        await plane.#start();
        return plane;
      } catch (error) {
        await plane[Symbol.asyncDispose]();
        // Another process may have taken the free port in between.
        if (attempt === 3 || !String(error).includes("address already in use")) throw error;
      }
    }
  }

  /** Stops one part, keeping its data: by SIGTERM unless said otherwise. */
  async stopPart(name: PartName, signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    await this.#parts.get(name)?.stop(signal);
    this.#parts.delete(name);
  }

  /** Starts a part again; resolves once the API server is ready, except for etcd alone. */
  async startPart(name: PartName): Promise<void> {
    if (this.#parts.get(name)?.running === true) return;
    this.#launch(name);
    if (!this.#parts.has("kube-apiserver")) return;
    await this.#ready();
    // It gives up when the API server goes away while it is itself starting.
    if (this.#parts.get("kube-controller-manager")?.running === false) this.#launch("kube-controller-manager");
  }

  /** Writes a kubeconfig of another user, known by client certificate, and gives its path. */
  async createKubeconfig(user: User): Promise<string> {
    const file = join(this.directory, `${user.name}.kubeconfig`);
    await this.#writeKubeconfig(file, this.#issue(user));
    return file;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nothing is kept, so that no time is given.
    for (const name of ["kube-controller-manager", "kube-apiserver", "etcd"] as const) {
      await this.stopPart(name, "SIGKILL");
    }
    await rm(this.directory, { recursive: true, force: true, maxRetries: 3 });
  }

  async #start(): Promise<void> {
    await this.#writeKeys();
    await this.#writeKubeconfig(this.kubeconfig, this.#admin);
    this.#launch("etcd");
    this.#launch("kube-apiserver");
    await this.#ready();
    if (!existsSync(join(this.#options.assets, "kube-controller-manager"))) return;
    await this.createKubeconfig({ name: "system:kube-controller-manager", groups: [] });
    this.#launch("kube-controller-manager");
  }

  #launch(name: PartName): void {
    const part = new Part({
      program: join(this.#options.assets, name),
      args: [...this.#args(name), ...(this.#options.args?.[name] ?? [])],
      directory: this.directory,
      logFile: join(this.directory, `${name}.log`),
    });
    this.#parts.set(name, part);
  }

  #args(name: PartName): readonly string[] {
    if (name === "etcd") return etcdArgs;
    if (name === "kube-apiserver") return [...apiServerArgs, `--secure-port=${new URL(this.server).port}`];
    return controllerManagerArgs;
  }

  async #ready(): Promise<void> {
    const deadline = performance.now() + startTimeoutMs;
    const isReady = () => get(`${this.server}/readyz`, this.#authority.certificate, this.#admin);
    while (!(await isReady())) {
      for (const [name, part] of this.#parts) {
        if (name !== "kube-controller-manager" && !part.running)
          throw new Error(`${name} died: ${await part.lastLines()}`);
      }
      if (performance.now() > deadline) throw new Error(`the API server was not ready after ${startTimeoutMs} ms`);
      await delay(pollIntervalMs);
    }
  }

  #issue(user: User): Certificate {
    return createCertificate(this.#authority, { commonName: user.name, organizations: user.groups, usage: "Client" });
  }

  async #writeKeys(): Promise<void> {
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const serving = createCertificate(this.#authority, { commonName: "api", usage: "Server", hosts: serviceHosts });
    await mkdir(join(this.directory, "cache"));
    await this.#writeFiles({
      "ca.crt": this.#authority.certificate,
      "ca.key": this.#authority.key,
      "api.crt": serving.certificate,
      "api.key": serving.key,
      "accounts.key": privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      "accounts.pub": publicKey.export({ type: "spki", format: "pem" }).toString(),
    });
  }

  async #writeFiles(files: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, content] of Object.entries(files)) {
      await writeFile(join(this.directory, name), content, { mode: 0o600 });
    }
  }

  async #writeKubeconfig(file: string, { certificate, key }: Certificate): Promise<void> {
    const base64 = (text: string) => Buffer.from(text).toString("base64");
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "test",
      contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
      clusters: [
        {
          name: "test",
          cluster: { server: this.server, "certificate-authority-data": base64(this.#authority.certificate) },
        },
      ],
      users: [
        {
          name: "test",
          user: { "client-certificate-data": base64(certificate), "client-key-data": base64(key) },
        },
      ],
    };
    await writeFile(file, JSON.stringify(config), { mode: 0o600 });
  }
}

// The parts run in the folder, so that its files need no path. etcd's advertised addresses must look like host:port and
// are never dialled, as it is alone.
const etcdArgs = [
  "--data-dir=etcd",
  "--log-level=warn",
  "--unsafe-no-fsync=true",
  "--listen-client-urls=unix://etcd.sock",
  "--advertise-client-urls=http://localhost:2379",
  "--listen-peer-urls=unix://peer.sock",
  "--initial-advertise-peer-urls=http://localhost:2380",
  "--initial-cluster=default=http://localhost:2380",
];

const apiServerArgs = [
  "--etcd-servers=unix://etcd.sock",
  "--bind-address=127.0.0.1",
  "--advertise-address=127.0.0.1",
  // An Endpoints object may not hold a loopback address.
  "--endpoint-reconciler-type=none",
  `--service-cluster-ip-range=${serviceRange}`,
  "--authorization-mode=Node,RBAC",
  "--enable-admission-plugins=NodeRestriction",
  "--client-ca-file=ca.crt",
  "--tls-cert-file=api.crt",
  "--tls-private-key-file=api.key",
  "--service-account-issuer=https://kubernetes.default.svc",
  "--service-account-key-file=accounts.pub",
  "--service-account-signing-key-file=accounts.key",
];

const controllerManagerArgs = [
  "--kubeconfig=system:kube-controller-manager.kubeconfig",
  "--use-service-account-credentials=true",
  "--service-account-private-key-file=accounts.key",
  "--root-ca-file=ca.crt",
  "--leader-elect=false",
  "--secure-port=0",
  "--flex-volume-plugin-dir=volume-plugins",
];

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

function get(url: string, ca: string, { certificate, key }: Certificate): Promise<boolean> {
  return new Promise((resolve) => {
    const call = request(url, { ca, cert: certificate, key, agent: false, timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    call.on("timeout", () => call.destroy());
    call.on("error", () => resolve(false));
    call.end();
  });
}
