import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { ModuleNetwork } from "../../../backends/wasm/network/network.ts";
import { digestOf } from "../../../backends/wasm/sources/digest.ts";
import { ModuleFiles } from "../../../backends/wasm/sources/file.ts";
import { resolveHttp } from "../../../backends/wasm/sources/http.ts";
import { parseReference } from "../../../backends/wasm/sources/oci/reference.ts";
import { OciRegistry } from "../../../backends/wasm/sources/oci/registry.ts";

const never = new AbortController().signal;
const maxBytes = 64 * 1024 * 1024;
const large = Buffer.alloc(maxBytes, 7);
const sha256 = (bytes: Uint8Array) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const digest = sha256(large);

/** The thread's longest turn while `work` lasts, in milliseconds of its own processor time: others on the machine are not in it. */
async function longestTurnMs(work: () => Promise<unknown>): Promise<number> {
  const cpuMs = () => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  };
  let longest = 0;
  let ended = false;
  let before = cpuMs();
  const working = work().finally(() => {
    ended = true;
  });
  longest = Math.max(longest, cpuMs() - before);
  while (!ended) {
    await new Promise((resolve) => setImmediate(resolve));
    const now = cpuMs();
    longest = Math.max(longest, now - before);
    before = now;
  }
  await working;
  return longest;
}

describe("The digest of a large WASM module", function () {
  this.timeout(60_000);
  let root: string;
  let server: Server;
  let network: ModuleNetwork;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), "millrace-digest-"));
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: { mediaType: "application/vnd.oci.empty.v1+json", digest: sha256(Buffer.from("{}")), size: 2 },
      layers: [{ mediaType: "application/wasm", digest, size: maxBytes }],
    });
    server = createServer((request, response) => {
      if (request.url?.includes("/manifests/") !== true) return void response.end(large);
      response.setHeader("content-type", "application/vnd.oci.image.manifest.v1+json");
      response.end(manifest);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    network = new ModuleNetwork({ allowInsecureRegistries: [host()] });
  });
  after(async () => {
    await network[Symbol.asyncDispose]();
    server.closeAllConnections();
    server.close();
    await rm(root, { recursive: true, force: true });
  });

  const host = () => `127.0.0.1:${(server.address() as AddressInfo).port}`;
  it("is that of the same bytes at once", async () => {
    for (const length of [0, 1, 1_048_576, 1_048_577, 3_000_000]) {
      const bytes = large.subarray(0, length);
      expect(await digestOf(bytes)).to.equal(sha256(bytes));
    }
  });

  /** It takes 40 ms at once where the processor helps, and five times as much where it does not, or is shared. */
  it("holds nobody else up", async () => {
    const best = async (work: () => Promise<unknown>) => {
      let leastMs = Number.POSITIVE_INFINITY;
      // A collection of garbage may fall into any turn.
      for (let attempt = 0; attempt < 5; attempt++) leastMs = Math.min(leastMs, await longestTurnMs(work));
      return leastMs;
    };
    const atOnceMs = await best(() => Promise.resolve(sha256(large)));
    expect(await best(() => digestOf(large))).to.be.below(Math.max(25, atOnceMs * 0.8));
  });

  // Of these no turn is measured: this thread serves what they read, and garbage of 64 MiB may be collected in any of them.
  it("is a file's", async () => {
    await writeFile(join(root, "large.wasm"), large);
    expect((await new ModuleFiles(root, maxBytes).source("large.wasm").resolve(never)).version).to.equal(digest);
  });

  it("is taken to know what a URL holds", async () => {
    const module = { network, url: `http://${host()}/large.wasm`, maxBytes, now: Date.now };
    expect(await resolveHttp(module, undefined, never)).to.include({ digest, version: digest });
  });

  it("is an OCI layer's", async () => {
    const registry = new OciRegistry(network, { maxModuleBytes: maxBytes, now: Date.now });
    const found = await registry.resolve(parseReference(`${host()}/acme/large:1`), undefined, never);
    expect((await registry.pull(found, undefined, never)).byteLength).to.equal(maxBytes);
  });
});
