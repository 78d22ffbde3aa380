import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import type { WasmBackend } from "../../../backends/wasm/backend.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { BytesPayload, digestOf } from "../../../engine/payload.ts";
import type { CallContext } from "../../../engine/processor.ts";
import { constant, directModule, end, unreachable } from "./assembler.ts";
import {
  backendOf,
  callerOf,
  callWith,
  fuel,
  mebibyte,
  openWorkers,
  outputOf,
  rejection,
  wasmSpec,
} from "./processors.ts";

const never = new AbortController().signal;
const fixtures = join(import.meta.dirname, "../../fixtures/wasm");
const reference = new Uint8Array(readFileSync(join(fixtures, "reference.wasm")));
const small = directModule();
const spinning = directModule({ process: [0x03, 0x40, 0x0c, 0, end, unreachable, end] });

const quiet = { secrets: {}, log: () => undefined };

function contextOf(signal: AbortSignal): CallContext {
  const execution = { namespace: "test", name: "run", uid: "u" };
  return { execution, step: "step", attempt: 1, idempotencyKey: "u/step", timeoutMs: 1000, signal, ...quiet };
}

describe("The WASM backend", function () {
  this.timeout(30_000);
  let backend: WasmBackend;
  let workersBefore: number;
  before(() => {
    workersBefore = openWorkers();
    backend = backendOf({ reference, small, spinning }, { modulesDir: fixtures, maxModuleBytes: 6144 });
  });
  after(async () => {
    await backend[Symbol.asyncDispose]();
    await backend[Symbol.asyncDispose]();
    expect(openWorkers()).to.be.at.most(workersBefore);
  });

  it("says what it loaded: digest, size, source, ABI, imports and exports", async () => {
    await using processor = await backend.load(wasmSpec("small"), never);
    expect(processor).to.include({ name: "small", intent: "Transform" });
    expect(processor.digests).to.deep.equal([digestOf(small)]);
    expect(processor.module).to.deep.equal({
      digest: digestOf(small),
      bytes: small.byteLength,
      source: "ConfigMap modules/small",
      abi: "Direct",
      imports: [],
      exports: ["memory", "millrace_alloc", "process"],
    });
  });

  it("loads from the modules directory too, and compiles the same bytes once", async () => {
    const before = backend.stats.modules.misses;
    await using one = await backend.load(wasmSpec("reference"), never);
    const file = { kind: "File", file: "reference.wasm" } as const;
    await using other = await backend.load(wasmSpec("reference", { source: file }), never);
    expect(other.module).to.include({ source: "file reference.wasm", digest: one.module?.digest });
    expect(backend.stats.modules.misses).to.equal(before + 1);
  });

  it("accepts the digest that is pinned, and refuses another with both", async () => {
    const pin = `sha256:${"0".repeat(64)}`;
    await using pinned = await backend.load(wasmSpec("small", { digest: digestOf(small) }), never);
    expect(pinned.digests).to.have.length(1);
    const error = await rejection(backend.load(wasmSpec("small", { digest: pin }), never));
    expect(error.code).to.equal("InvalidInput");
    expect(error.message).to.include(pin).and.include(digestOf(small));
  });

  it("refuses what is missing and what is too large", async () => {
    expect((await rejection(backend.load(wasmSpec("none"), never))).code).to.equal("NotFound");
    const source = { kind: "File", file: "reference.c" } as const;
    const error = await rejection(backend.load(wasmSpec("large", { source }), never));
    expect(error.code).to.equal("PayloadTooLarge");
    expect(error.message).to.include("6144");
  });

  it("refuses a processor of another kind as a defect", async () => {
    const spec = { ...wasmSpec("small"), implementation: { kind: "Builtin", name: "text.upper" } } as const;
    expect((await rejection(backend.load(spec, never))).code).to.equal("Internal");
  });

  it("mixes no answers of calls at the same time", async () => {
    await using caller = await callerOf(backend, wasmSpec("reference"));
    const calls = Array.from({ length: 200 }, (_, index) =>
      callWith(caller, `call ${index} ${"x".repeat((index % 7) * 5000)}`, { behaviour: "uppercase" }).then(outputOf),
    );
    for (const [index, text] of (await Promise.all(calls)).entries()) {
      expect(text).to.equal(`CALL ${index} ${"X".repeat((index % 7) * 5000)}`);
    }
    expect(backend.stats.workers.rejected).to.equal(0);
  });

  it("does not take the payload away from who gave it, however large", async () => {
    await using processor = await backend.load(wasmSpec("small"), never);
    const payload = new BytesPayload(new Uint8Array(mebibyte).fill(7), "text/plain");
    const request = { payload, metadata: {}, options: {} };
    // The module's allocator gives 1024 for anything: only what fits into its one page comes through.
    expect((await rejection(processor.process(request, contextOf(never)))).code).to.equal("ProcessorCrashed");
    expect(payload.data.byteLength).to.equal(mebibyte);
    expect(payload.data[mebibyte - 1]).to.equal(7);
  });

  it("waits for a processor's calls when it is disposed", async () => {
    const processor = await backend.load(wasmSpec("spinning"), never);
    const abort = new AbortController();
    const order: string[] = [];
    const call = processor
      .process(
        { payload: new BytesPayload(new Uint8Array(1), "text/plain"), metadata: {}, options: {} },
        contextOf(abort.signal),
      )
      .catch(() => order.push("call"));
    const disposed = processor[Symbol.asyncDispose]().then(() => order.push("disposed"));
    abort.abort(new Error("stop"));
    await Promise.all([call, disposed]);
    expect(order).to.deep.equal(["call", "disposed"]);
  });

  it("keeps a loaded processor callable when its module was evicted from the cache", async () => {
    await using tiny = backendOf({ reference, small }, { cacheBytes: 1 });
    await using caller = await callerOf(tiny, wasmSpec("reference"));
    await using other = await callerOf(tiny, wasmSpec("small"));
    expect(tiny.stats.modules.modules).to.equal(0);
    expect(await outputOf(await callWith(caller, "a", { behaviour: "uppercase" }))).to.equal("A");
    expect(await outputOf(await callWith(other, "b"))).to.equal("b");
  });

  it("ends its threads while calls spin, when it is disposed and the calls are aborted", async () => {
    const own = backendOf({ spinning }, { maxWorkers: 2 });
    const abort = new AbortController();
    const processor = await callerOf(own, wasmSpec("spinning"));
    const calls = [1, 2, 3].map(() => rejection(callWith(processor, "x", {}, abort.signal)));
    const gone = own[Symbol.asyncDispose]();
    abort.abort();
    for (const error of await Promise.all(calls)) expect(error.code).to.be.oneOf(["Cancelled", "Unavailable"]);
    await gone;
    await processor[Symbol.asyncDispose]();
    expect(own.stats.workers.size).to.equal(0);
    expect((await rejection(own.load(wasmSpec("spinning"), never))).code).to.equal("Unavailable");
  });

  it("abandons a load that nobody waits for", async () => {
    const abort = new AbortController();
    const load = rejection(
      backend.load(wasmSpec("small", { limits: { maxMemoryBytes: 2 * mebibyte, fuel } }), abort.signal),
    );
    abort.abort(new MillraceError("Cancelled", "gone"));
    expect((await load).code).to.equal("Cancelled");
  });

  // 1,500 calls grow their memories by 5.5 GiB in all.
  it("keeps memory flat over calls that each grow their memory", async () => {
    // Grows by 60 pages (3.75 MiB) and gives nothing.
    const growing = directModule({ process: [...constant(60), 0x40, 0, 0x1a, 0x42, 0, end] });
    await using own = backendOf({ growing }, { maxWorkers: 1 });
    await using caller = await callerOf(own, wasmSpec("growing"));
    for (let call = 0; call < 300; call++) await callWith(caller, "x");
    const afterWarmUp = process.memoryUsage().rss;
    for (let call = 0; call < 1500; call++) await callWith(caller, "x");
    expect(process.memoryUsage().rss - afterWarmUp).to.be.below(1024 * mebibyte);
  });
});
