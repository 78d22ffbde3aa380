import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect } from "chai";
import type { WasmModule } from "../../../../backends/backend.ts";
import type { WasmBackend } from "../../../../backends/wasm/backend.ts";
import { digestOf } from "../../../../engine/payload.ts";
import { directModule, end } from "../assembler.ts";
import { backendOf, callerOf, callWith, fuel, mebibyte, outputOf, rejection, wasmSpec } from "../processors.ts";

const never = new AbortController().signal;

/** Another module for each index, of about `bytes`: a custom section makes it so large. */
function padded(index: number, bytes: number): Uint8Array {
  const content = new Uint8Array(bytes);
  new DataView(content.buffer).setUint32(0, index);
  const size = bytes + 2;
  const head = [
    0,
    ...[size & 0x7f, (size >> 7) & 0x7f, (size >> 14) & 0x7f].map((part, at) => (at < 2 ? part | 0x80 : part)),
  ];
  return Uint8Array.from([...directModule(), ...head, 1, 0x70, ...content]);
}

/** After all garbage was collected: compiled code goes with the modules that nobody has any more. */
function residentBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  collect();
  return process.memoryUsage().rss;
}

describe("The pipeline of WASM modules", function () {
  this.timeout(120_000);
  let root: string;
  let server: Server;
  let served: Uint8Array;
  let requests: number;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "millrace-pipeline-"));
    served = directModule();
    requests = 0;
    server = createServer(({ url = "" }, response) => {
      requests += 1;
      const [, index] = /many(\d+)/.exec(url) ?? [];
      if (index !== undefined) served = padded(Number(index), 305_000);
      response.setHeader("etag", `"${digestOf(served)}"`);
      response.end(served);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await rm(root, { recursive: true, force: true });
  });

  const port = () => (server.address() as AddressInfo).port;

  function start(changes: Parameters<typeof backendOf>[1] = {}): WasmBackend {
    const network = { allowInsecureRegistries: [`127.0.0.1:${port()}`] };
    return backendOf({}, { cacheDir: join(root, "cache"), network, ...changes });
  }

  const spec = (changes: Partial<WasmModule> = {}) =>
    wasmSpec("words", { source: { kind: "HTTP", url: `http://127.0.0.1:${port()}/words.wasm` }, ...changes });

  it("fetches a module once, and runs it after a restart without the network", async () => {
    for (const [index, policy] of (["IfNotPresent", "IfNotPresent", "Never"] as const).entries()) {
      await using backend = start();
      await using caller = await callerOf(backend, spec({ pullPolicy: policy }));
      expect(await outputOf(await callWith(caller, "hello"))).to.equal("hello");
      expect(backend.stats.disk).to.include(index === 0 ? { hits: 0 } : { hits: 1, misses: 0 });
      expect(caller.processor.module).to.include({
        digest: digestOf(served),
        source: `http://127.0.0.1:${port()}/words.wasm`,
      });
    }
    // One asked what is there, one fetched it.
    expect(requests).to.equal(2);
  });

  it("says that a source names something else, and loads what it said", async () => {
    await using backend = start();
    const always = spec({ pullPolicy: "Always" });
    const first = await backend.resolve(always, never);
    await using _loaded = await backend.load(always, never);
    expect(await backend.resolve(always, never)).to.deep.equal(first);
    served = padded(1, 1000);
    expect((await backend.resolve(always, never)).version).not.to.equal(first.version);
    await using changed = await backend.load(always, never);
    expect(changed.digests).to.deep.equal([digestOf(served)]);
  });

  it("refuses what is not pinned, keeps nothing of it, and what no key can check", async () => {
    await using backend = start();
    const pin = `sha256:${"0".repeat(64)}`;
    expect((await rejection(backend.load(spec({ digest: pin }), never))).code).to.equal("InvalidInput");
    expect((await rejection(backend.load(spec({ pullPolicy: "Never" }), never))).code).to.equal("NotFound");
    const error = await rejection(backend.load(spec({ verify: { secret: "keys" } }), never));
    expect(error.code).to.equal("NotFound");
    expect(error.message).to.include("spec.wasm.verify.publicKeySecretRef").and.include("keys");
  });

  it("fetches and compiles a refused module once a minute, and tells its refusals from its modules", async () => {
    served = directModule({ process: [0x20, 9, end] });
    await using backend = start();
    for (let tries = 0; tries < 3; tries++) {
      expect((await rejection(backend.load(spec(), never))).code).to.equal("InvalidInput");
    }
    // One asked what is there, one fetched it.
    expect(requests).to.equal(2);
    expect(backend.stats.modules).to.include({ misses: 1, refused: 1, refusals: 1, modules: 0 });
  });

  it("keeps all modules that load at the same time, though they are more than the cache may have, and finds them after a restart", async () => {
    const many = Array.from({ length: 30 }, (_, index) =>
      spec({
        source: { kind: "HTTP", url: `http://127.0.0.1:${port()}/many${index}.wasm` },
        limits: { maxMemoryBytes: mebibyte, fuel },
      }),
    );
    const small = { cacheDiskBytes: 2 * mebibyte, maxWorkers: 2 };
    const loadAll = async (backend: WasmBackend) => {
      const processors = await Promise.all(many.map((one) => backend.load(one, never)));
      const files = await readdir(join(root, "cache/sha256"));
      expect(files).to.have.members(processors.map(({ digests: [digest = ""] }) => digest.slice("sha256:".length)));
      await Promise.all(processors.map((processor) => processor[Symbol.asyncDispose]()));
    };
    {
      await using backend = start(small);
      await loadAll(backend);
      expect(backend.stats.disk).to.include({ evictions: 0 });
    }
    requests = 0;
    const { promise: settled, resolve: settle } = Promise.withResolvers<void>();
    await using restarted = start({ ...small, settled });
    await loadAll(restarted);
    expect(requests).to.equal(0);
    expect(restarted.stats.disk).to.include({ hits: 30, misses: 0, evictions: 0 });
    settle();
    await restarted[Symbol.asyncDispose]();
    expect(restarted.stats.disk?.bytes).to.be.at.most(2 * mebibyte);
  });

  it("keeps memory and disk flat over 200 modules that go through a cache of 20 MB", async () => {
    const limits = { maxMemoryBytes: mebibyte, fuel };
    await using backend = start({ cacheBytes: 20_000_000, cacheDiskBytes: 20_000_000, maxWorkers: 2 });
    let warm = 0;
    for (let index = 0; index < 200; index++) {
      served = padded(index, 1_000_000);
      await using caller = await callerOf(backend, spec({ pullPolicy: "Always", limits }));
      expect(await outputOf(await callWith(caller, `call ${index}`))).to.equal(`call ${index}`);
      if (index === 100) warm = residentBytes();
    }
    const { modules, disk } = backend.stats;
    expect(modules.bytes).to.be.at.most(20_000_000);
    expect(disk?.bytes).to.be.at.most(20_000_000);
    expect(modules.evictions).to.be.at.least(180);
    expect(disk?.evictions).to.be.at.least(179);
    expect(residentBytes() - warm).to.be.below(200 * mebibyte);
  });
});
