import { generateKeyPairSync, sign } from "node:crypto";
import { expect } from "chai";
import { ModuleNetwork } from "../../../../backends/wasm/network/network.ts";
import type { Credential } from "../../../../backends/wasm/sources/oci/auth.ts";
import { parseReference } from "../../../../backends/wasm/sources/oci/reference.ts";
import { OciRegistry } from "../../../../backends/wasm/sources/oci/registry.ts";
import { parsePublicKey } from "../../../../backends/wasm/verify/public-key.ts";
import { verifySimpleSigning } from "../../../../backends/wasm/verify/simple-signing.ts";
import { createAuthority, createCertificate } from "../../../cluster/certificates.ts";
import { mediaTypes, sha256, tarOf, useRegistry } from "../../../support/registry.ts";
import { startTokenServer, type TokenServer } from "../../../support/token-server.ts";
import { clientOf, credential, maxModuleBytes, module, never, now, rejection } from "./support.ts";

const other = Uint8Array.from([...module, 0, 1, 0]);

/** A registry, and a client that may speak to it without TLS; both closed after the suite. */
function useClient(options?: Parameters<typeof useRegistry>[0]) {
  const suite = useRegistry(options);
  const made: { client?: ReturnType<typeof clientOf> } = {};
  after("close the client", () => made.client?.[Symbol.asyncDispose]());
  const client = (): OciRegistry => {
    made.client ??= clientOf([suite.registry.host]);
    return made.client.client;
  };
  const refer = (name: string) => parseReference(`${suite.registry.host}/${name}`);
  return {
    suite,
    client,
    refer,
    fetch: async (name: string, known?: Credential) => {
      const resolved = await client().resolve(refer(name), known, never);
      return { resolved, bytes: await client().pull(resolved, known, never) };
    },
  };
}

describe("an OCI registry", () => {
  const { suite, client, refer, fetch } = useClient();

  it("gives a module that was pushed as wkg does, by tag and by digest", async () => {
    const { digest } = await suite.registry.pushWasm("acme/words", "1.2", module);
    const { resolved, bytes } = await fetch("acme/words:1.2");
    expect(bytes).to.deep.equal(module);
    expect(resolved).to.deep.include({
      manifestDigest: digest,
      reference: `${suite.registry.host}/acme/words@${digest}`,
      layer: { digest: sha256(module), size: module.byteLength, mediaType: "application/wasm" },
      layout: "Wasm",
    });
    expect((await fetch(`acme/words@${digest}`)).bytes).to.deep.equal(module);
    expect((await fetch(`acme/words:gone@${digest}`)).bytes).to.deep.equal(module);
  });

  it("gives the tag latest where none is written", async () => {
    await suite.registry.pushWasm("untagged", "latest", module);
    expect((await fetch("untagged")).bytes).to.deep.equal(module);
  });

  it("moves a tag, which is seen without fetching the manifest, and keeps what the tag named before", async () => {
    const first = await suite.registry.pushWasm("moving", "1", module);
    const before = await client().resolve(refer("moving:1"), undefined, never);
    expect(await client().resolveDigest(refer("moving:1"), undefined, never)).to.equal(first.digest);
    const second = await suite.registry.pushWasm("moving", "1", other);
    expect(await client().resolveDigest(refer("moving:1"), undefined, never)).to.equal(second.digest);
    expect((await fetch("moving:1")).bytes).to.deep.equal(other);
    expect(await client().pull(before, undefined, never)).to.deep.equal(module);
    expect(second.digest).not.to.equal(first.digest);
  });

  it("gives an artifact of OCI 1.1, whatever its configuration is", async () => {
    const empty = { mediaType: "application/vnd.oci.empty.v1+json", bytes: Buffer.from("{}") };
    const layer = { mediaType: "application/vnd.wasm.content.layer.v1+wasm", bytes: module };
    const artifactType = "application/vnd.acme.module.v1";
    await suite.registry.pushArtifact("artifact", "1", [layer], { config: empty, artifactType });
    expect((await fetch("artifact:1")).bytes).to.deep.equal(module);
  });

  it("gives a file that ORAS pushed without being told its media type", async () => {
    const annotations = { "org.opencontainers.image.title": "words.wasm" };
    const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar", bytes: module, annotations };
    const notes = { mediaType: "text/markdown", bytes: Buffer.from("# Words") };
    await suite.registry.pushArtifact("oras", "1", [notes, layer]);
    expect((await fetch("oras:1")).bytes).to.deep.equal(module);
  });

  for (const compression of ["Gzip", "Zstd", "None"] as const) {
    it(`gives the module of an image whose layer is compressed by ${compression}`, async () => {
      const files = { "LICENSE.txt": Buffer.from("free"), "app/words.wasm": module };
      await suite.registry.pushImage(`image-${compression.toLowerCase()}`, "1", { files, compression });
      const { resolved, bytes } = await fetch(`image-${compression.toLowerCase()}:1`);
      expect(bytes).to.deep.equal(module);
      expect(resolved.layout).to.equal("Image");
    });
  }

  it("gives the module of the last layer of a Docker image", async () => {
    const mediaType = "application/vnd.docker.image.rootfs.diff.tar";
    const layers = [{ "old.wasm": other }, { "new.wasm": module }].map(async (files) => ({
      mediaType,
      bytes: await tarOf(files),
    }));
    await suite.registry.pushArtifact("docker", "1", await Promise.all(layers), {
      mediaType: mediaTypes.dockerManifest,
    });
    expect((await fetch("docker:1")).bytes).to.deep.equal(module);
  });

  it("gives the image for WASM of an index, whose digest is what its tag names", async () => {
    const linux = await suite.registry.pushImage("index", "linux", { files: { "bin/sh": other } });
    const wasm = await suite.registry.pushWasm("index", "wasm", module);
    const index = await suite.registry.pushIndex("index", "1", [
      { ...linux, platform: "linux/amd64" },
      { ...wasm, platform: "wasip1/wasm" },
      { ...linux, platform: "unknown/unknown", annotations: { "vnd.docker.reference.type": "attestation-manifest" } },
    ]);
    const { resolved, bytes } = await fetch("index:1");
    expect(bytes).to.deep.equal(module);
    expect(resolved.manifestDigest).to.equal(index.digest);
    expect(await client().resolveDigest(refer("index:1"), undefined, never)).to.equal(index.digest);
  });

  it("refuses an index without an image for WASM, and lists what it has", async () => {
    const image = await suite.registry.pushImage("native", "image", { files: { "bin/sh": other } });
    await suite.registry.pushIndex("native", "1", [
      { ...image, platform: "linux/amd64" },
      { ...image, platform: "linux/arm64" },
    ]);
    const error = await rejection(fetch("native:1"));
    expect(error.code).to.equal("InvalidInput");
    expect(error.message).to.include("linux/amd64").and.include("linux/arm64").and.include("wasi/wasm");
  });

  it("gives the only image of an index, whatever platform it was built for; attestations are no images", async () => {
    const image = await suite.registry.pushImage("only", "image", { files: { "words.wasm": module } });
    const annotations = { "vnd.docker.reference.type": "attestation-manifest" };
    await suite.registry.pushIndex("only", "1", [
      { ...image, platform: "linux/amd64" },
      { ...image, platform: "unknown/unknown", annotations },
    ]);
    expect((await fetch("only:1")).bytes).to.deep.equal(module);
  });

  it("refuses an index of indexes", async () => {
    const wasm = await suite.registry.pushWasm("nested", "wasm", module);
    const inner = await suite.registry.pushIndex("nested", "inner", [{ ...wasm, platform: "wasi/wasm" }]);
    await suite.registry.pushIndex("nested", "1", [{ ...inner, mediaType: mediaTypes.index }]);
    const error = await rejection(fetch("nested:1"));
    expect(error.code).to.equal("InvalidInput");
    expect(error.message).to.include("index of indexes");
  });

  it("refuses an artifact that is something else, and lists its media types", async () => {
    const layer = { mediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip", bytes: other };
    await suite.registry.pushArtifact("chart", "1", [layer]);
    const error = await rejection(fetch("chart:1"));
    expect(error.code).to.equal("InvalidInput");
    expect(error.message).to.include("spec.wasm.source.oci").and.include("vnd.cncf.helm.chart.content.v1.tar+gzip");
  });

  it("refuses a module over the limit by its descriptor, without fetching it", async () => {
    await suite.registry.pushWasm("large", "1", new Uint8Array(maxModuleBytes + 1));
    const error = await rejection(fetch("large:1"));
    expect(error.code).to.equal("PayloadTooLarge");
    expect(error.message)
      .to.include(String(maxModuleBytes + 1))
      .and.include(String(maxModuleBytes));
    await suite.registry.pushWasm("large", "fits", new Uint8Array(maxModuleBytes));
    expect((await fetch("large:fits")).bytes).to.have.length(maxModuleBytes);
  });

  it("says what it does not have: a repository, a tag, a digest", async () => {
    await suite.registry.pushWasm("here", "1", module);
    for (const name of ["nowhere:1", "here:2", `here@${sha256(other)}`]) {
      const error = await rejection(fetch(name));
      expect(error.code, name).to.equal("NotFound");
      expect(error.message, name)
        .to.include(name.split(/[:@]/, 1)[0])
        .and.match(/MANIFEST_UNKNOWN|NAME_UNKNOWN/);
      expect((await rejection(client().resolveDigest(refer(name), undefined, never))).code).to.equal("NotFound");
    }
  });

  it("is not believed when its disk gave other bytes", async () => {
    await suite.registry.pushWasm("rotten", "1", Uint8Array.from([...module, 9]));
    const resolved = await client().resolve(refer("rotten:1"), undefined, never);
    await suite.registry.corruptBlob(resolved.layer.digest, Uint8Array.from([...module, 8]));
    const error = await rejection(client().pull(resolved, undefined, never));
    expect(error.code).to.equal("Unavailable");
    expect(error.message)
      .to.include(resolved.layer.digest)
      .and.include(sha256(Uint8Array.from([...module, 8])));
  });

  it("keeps cosign's signatures beside what they sign", async () => {
    const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const { digest } = await suite.registry.pushWasm("signed", "1", module, {
      sign: (manifest) => {
        const type = "cosign container image signature";
        const payload = Buffer.from(
          JSON.stringify({ critical: { image: { "docker-manifest-digest": manifest }, type } }),
        );
        return { payload, signature: sign("sha256", payload, keys.privateKey).toString("base64") };
      },
    });
    const [signature, ...more] = await client().fetchSignatures(refer("signed:1"), digest, undefined, never);
    if (signature === undefined) return expect.fail("there is no signature");
    expect(more).to.have.length(0);
    const key = parsePublicKey(keys.publicKey.export({ type: "spki", format: "pem" }).toString(), "the test");
    expect(verifySimpleSigning(signature, key, { digest })).to.deep.equal({ valid: true });
    expect(verifySimpleSigning(signature, key, { digest: sha256(other) }).valid).to.equal(false);
    expect(await client().fetchSignatures(refer("signed:1"), sha256(other), undefined, never)).to.deep.equal([]);
  });

  it("is not asked for somebody who has gone", async () => {
    const gone = new Error("gone");
    const thrown = await client()
      .resolve(refer("acme/words:1.2"), undefined, AbortSignal.abort(gone))
      .catch((error: unknown) => error);
    expect(thrown).to.equal(gone);
  });
});

describe("an OCI registry that asks for a password", () => {
  const { suite, client, refer, fetch } = useClient(() => ({ auth: { kind: "Basic" } }));
  before(() => suite.registry.pushWasm("private", "1", module));

  it("gives its modules to who has it", async () => {
    expect((await fetch("private:1", credential)).bytes).to.deep.equal(module);
  });

  it("gives nothing to who has none, nor to who has another, also after it gave to somebody", async () => {
    await fetch("private:1", credential);
    const anonymous = await rejection(fetch("private:1"));
    expect(anonymous.code).to.equal("InvalidInput");
    expect(anonymous.message).to.include("spec.wasm.pullSecretRef").and.include("kubernetes.io/dockerconfigjson");
    const wrong: Credential = { kind: "Password", username: "millrace", password: "wrong pony" };
    const refused = await rejection(fetch("private:1", wrong));
    expect(refused.code).to.equal("InvalidInput");
    expect(refused.message).to.include("spec.wasm.pullSecretRef").and.not.include("pony");
    expect((await rejection(client().resolveDigest(refer("private:1"), wrong, never))).code).to.equal("InvalidInput");
  });

  it("gives a resolved module's bytes to nobody else", async () => {
    const resolved = await client().resolve(refer("private:1"), credential, never);
    expect((await rejection(client().pull(resolved, undefined, never))).code).to.equal("InvalidInput");
    expect(await client().pull(resolved, credential, never)).to.deep.equal(module);
  });

  it("cannot be answered with a refresh token", async () => {
    const error = await rejection(fetch("private:1", { kind: "RefreshToken", token: "t" }));
    expect(error.code).to.equal("InvalidInput");
  });
});

describe("an OCI registry that asks for a token", () => {
  const made: { tokens?: TokenServer } = {};
  const tokens = (): TokenServer => made.tokens ?? expect.fail("the token server is not there");
  const { suite, fetch, refer, client } = useClient(async () => {
    const users = { millrace: "correct horse" };
    made.tokens = await startTokenServer({ users, refreshTokens: ["fresh"], public: ["public"] });
    return { auth: { kind: "Token", server: made.tokens } };
  });
  // The token server is at another place than the registry, as that of Docker Hub is.
  const insecure: { both?: ReturnType<typeof clientOf> } = {};
  const both = (): OciRegistry => {
    insecure.both ??= clientOf([suite.registry.host, new URL(tokens().realm).host]);
    return insecure.both.client;
  };
  before(async () => {
    await suite.registry.pushWasm("public", "1", module);
    await suite.registry.pushWasm("private", "1", module);
  });
  after(async () => {
    await insecure.both?.[Symbol.asyncDispose]();
    await made.tokens?.[Symbol.asyncDispose]();
  });
  const fetchBoth = async (name: string, known?: Credential) =>
    await both().pull(await both().resolve(refer(name), known, never), known, never);

  it("gives public modules to anybody, and private ones to who may have them", async () => {
    expect(await fetchBoth("public:1")).to.deep.equal(module);
    expect(await fetchBoth("private:1", credential)).to.deep.equal(module);
    expect(await fetchBoth("private:1", { kind: "RefreshToken", token: "fresh" })).to.deep.equal(module);
    expect(tokens().questions.at(-1)).to.deep.include({ method: "POST", scope: "repository:private:pull" });
  });

  it("is asked for one token, not for one a request, and only to pull this repository", async () => {
    await using fresh = clientOf([suite.registry.host, new URL(tokens().realm).host]);
    const before = tokens().questions.length;
    const resolved = await fresh.client.resolve(refer("private:1"), credential, never);
    await fresh.client.pull(resolved, credential, never);
    await fresh.client.resolveDigest(refer("private:1"), credential, never);
    expect(tokens().questions.slice(before)).to.deep.equal([
      { method: "GET", scope: "repository:private:pull", known: true, granted: true },
    ]);
  });

  it("gives private modules to nobody else, also while somebody's token is kept", async () => {
    await fetchBoth("private:1", credential);
    const wrong: Credential = { kind: "Password", username: "millrace", password: "wrong pony" };
    for (const known of [undefined, wrong, { kind: "RefreshToken", token: "stale" }] as const) {
      const error = await rejection(fetchBoth("private:1", known));
      expect(error.code).to.equal("InvalidInput");
      expect(error.message)
        .to.include("spec.wasm.pullSecretRef")
        .and.not.match(/pony|stale/);
    }
  });

  it("whose token server is reached over plain http without leave is not told the password", async () => {
    const before = tokens().questions.length;
    const error = await rejection(fetch("private:1", credential));
    expect(error.code).to.equal("InvalidInput");
    expect(error.message).to.include(new URL(tokens().realm).host).and.include("--insecure-registry");
    expect((await rejection(client().resolve(refer("public:1"), undefined, never))).code).to.equal("InvalidInput");
    expect(tokens().questions).to.have.length(before);
  });
});

describe("an OCI registry with TLS", () => {
  const authority = createAuthority("registry authority");
  const suite = useRegistry(() => ({
    tls: createCertificate(authority, { commonName: "registry", usage: "Server", hosts: ["localhost", "127.0.0.1"] }),
  }));
  const resolve = async (options: ConstructorParameters<typeof ModuleNetwork>[0]) => {
    await using network = new ModuleNetwork(options);
    const client = new OciRegistry(network, { maxModuleBytes, now: () => now });
    const resolved = await client.resolve(parseReference(`${suite.registry.host}/tls:1`), undefined, never);
    return await client.pull(resolved, undefined, never);
  };
  before(() => suite.registry.pushWasm("tls", "1", module));

  const allowAddresses = ["127.0.0.0/8", "::1/128"];

  it("is trusted where its authority is", async () => {
    expect(await resolve({ allowAddresses, ca: authority.certificate })).to.deep.equal(module);
  });

  it("is not trusted otherwise, unless the administrator says that it need not be", async () => {
    const error = await rejection(resolve({ allowAddresses }));
    expect(error.code).to.equal("Unavailable");
    expect(error.message).to.include("--registry-ca-file");
    expect(await resolve({ allowInsecureRegistries: [suite.registry.host] })).to.deep.equal(module);
  });

  it("at an address inside is not reached without leave", async () => {
    expect((await rejection(resolve({ ca: authority.certificate }))).code).to.equal("SandboxViolation");
  });
});
