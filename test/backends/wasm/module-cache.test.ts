import { expect } from "chai";
import {
  type Admit,
  type CachedModule,
  ModuleCache,
  type ModuleCacheStats,
  type ModuleRef,
} from "../../../backends/wasm/modules/module-cache.ts";
import { type Clock, systemPorts } from "../../../engine/clock.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { directModule } from "./assembler.ts";
import { rejection } from "./processors.ts";

const never = new AbortController().signal;
const owner = { namespace: "test", processor: "words" };
const compiled = {
  module: new WebAssembly.Module(directModule()),
  abi: "Direct",
  wasi: false,
  imports: [],
  exports: [],
} as const;

const admitted = ({ byteLength }: Uint8Array) => ({ ...compiled, bytes: byteLength });

function ref(digest: string, rest: Partial<ModuleRef> = {}): ModuleRef {
  return { digest, abi: "Auto", entrypoint: "process", maxMemoryBytes: 65_536, ...rest };
}

/** The cache, and short ways to ask it. */
class TestedCache implements AsyncDisposable {
  readonly cache: ModuleCache;

  constructor(admit: Admit, maxBytes: number, clock: Clock = systemPorts.clock) {
    this.cache = new ModuleCache({ admit, maxBytes, clock });
  }

  get stats(): ModuleCacheStats {
    return this.cache.stats;
  }

  get(wanted: ModuleRef, signal: AbortSignal = never, bytes = 10): Promise<CachedModule> {
    return this.cache.get({ ref: wanted, owner, bytes: () => Promise.resolve(new Uint8Array(bytes)) }, signal);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.cache[Symbol.asyncDispose]();
  }
}

/** An admission that ends when the test says so. */
class ScriptedAdmission {
  readonly signals: AbortSignal[] = [];
  readonly #ends: { resolve(): void; reject(error: unknown): void }[] = [];

  readonly admit: Admit = ({ bytes }, _owner, signal) =>
    new Promise((resolve, reject) => {
      this.signals.push(signal);
      signal.addEventListener("abort", () => reject(signal.reason));
      this.#ends.push({ resolve: () => resolve(admitted(bytes)), reject });
    });

  get count(): number {
    return this.signals.length;
  }

  succeed(index: number): void {
    this.#ends[index]?.resolve();
  }

  fail(index: number, error: unknown): void {
    this.#ends[index]?.reject(error);
  }
}

/** Resolves when the cache has asked for the bytes and got them. */
const soon = () => new Promise((resolve) => setImmediate(resolve));

const immediate: Admit = ({ bytes }) => Promise.resolve(admitted(bytes));

describe("The cache of compiled modules", () => {
  it("admits a module once for all who ask at the same time, and not again afterwards", async () => {
    const admission = new ScriptedAdmission();
    await using cache = new TestedCache(admission.admit, 1000);
    const all = Promise.all([1, 2, 3].map(() => cache.get(ref("a"), never)));
    await soon();
    admission.succeed(0);
    const modules = await all;
    expect(new Set(modules).size).to.equal(1);
    expect(await cache.get(ref("a"), never)).to.equal(modules[0]);
    expect(admission.count).to.equal(1);
    expect(cache.stats).to.include({ hits: 1, misses: 1, modules: 1, bytes: 10 });
  });

  it("tells modules apart by digest, limits and what is asked of them", async () => {
    await using cache = new TestedCache(immediate, 1000);
    const modules = await Promise.all(
      [
        ref("a"),
        ref("b"),
        ref("a", { maxMemoryBytes: 131_072 }),
        ref("a", { entrypoint: "other" }),
        ref("a", { abi: "Direct" }),
      ].map((one) => cache.get(one, never)),
    );
    expect(new Set(modules.map((module) => module.id)).size).to.equal(5);
  });

  it("lets one of several go without the others noticing", async () => {
    const admission = new ScriptedAdmission();
    await using cache = new TestedCache(admission.admit, 1000);
    const leaving = new AbortController();
    const left = rejection(cache.get(ref("a"), leaving.signal));
    const staying = cache.get(ref("a"), never);
    leaving.abort(new MillraceError("Cancelled", "gone"));
    expect((await left).code).to.equal("Cancelled");
    await soon();
    admission.succeed(0);
    expect((await staying).abi).to.equal("Direct");
  });

  it("gives an admission up when nobody waits for it, and starts anew for the next", async () => {
    const admission = new ScriptedAdmission();
    await using cache = new TestedCache(admission.admit, 1000);
    const leaving = new AbortController();
    const left = rejection(cache.get(ref("a"), leaving.signal));
    await soon();
    leaving.abort(new MillraceError("Cancelled", "gone"));
    const next = cache.get(ref("a"), never);
    expect((await left).code).to.equal("Cancelled");
    expect(admission.signals[0]?.aborted).to.equal(true);
    await soon();
    admission.succeed(1);
    expect((await next).abi).to.equal("Direct");
    expect(admission.count).to.equal(2);
  });

  it("gives a refusal to all who wait, and to all who come within a minute", async () => {
    const admission = new ScriptedAdmission();
    let nowMs = 0;
    await using cache = new TestedCache(admission.admit, 1000, { now: () => 0, monotonic: () => nowMs });
    const refused = [1, 2].map(() => rejection(cache.get(ref("a"))));
    await soon();
    admission.fail(0, new MillraceError("InvalidInput", "no module"));
    for (const error of await Promise.all(refused)) expect(error.code).to.equal("InvalidInput");
    nowMs = 59_999;
    expect(cache.cache.has(ref("a"))).to.equal(true);
    expect((await rejection(cache.get(ref("a")))).message).to.equal("no module");
    expect(cache.stats).to.include({ refused: 1, refusals: 1, hits: 1, misses: 1, compiled: 0 });
    nowMs = 60_000;
    const next = cache.get(ref("a"));
    await soon();
    admission.succeed(1);
    await next;
    expect(admission.count).to.equal(2);
  });

  it("does not keep what another try may mend", async () => {
    const admission = new ScriptedAdmission();
    await using cache = new TestedCache(admission.admit, 1000);
    const failed = rejection(cache.get(ref("a")));
    await soon();
    admission.fail(0, new MillraceError("ResourceExhausted", "no thread"));
    expect((await failed).code).to.equal("ResourceExhausted");
    const next = cache.get(ref("a"));
    await soon();
    admission.succeed(1);
    await next;
  });

  it("asks for no bytes where it has the module, and tells what the compiling took", async () => {
    let nowMs = 0;
    const slow: Admit = ({ bytes }) => {
      nowMs += 1500;
      return Promise.resolve(admitted(bytes));
    };
    await using cache = new TestedCache(slow, 1000, { now: () => 0, monotonic: () => nowMs });
    await cache.get(ref("a"));
    const unread = () => Promise.reject(new Error("nobody should read it"));
    expect((await cache.cache.get({ ref: ref("a"), owner, bytes: unread }, never)).bytes).to.equal(10);
    expect(cache.stats).to.include({ compiled: 1, compileSeconds: 1.5 });
  });

  it("drops what was used longest ago when its bytes pass the limit", async () => {
    await using cache = new TestedCache(immediate, 100);
    await cache.get(ref("a"), never, 40);
    await cache.get(ref("b"), never, 40);
    await cache.get(ref("a"), never, 40);
    await cache.get(ref("c"), never, 40);
    expect(cache.stats).to.include({ modules: 2, bytes: 80, evictions: 1, misses: 3 });
    await cache.get(ref("a"), never, 40);
    expect(cache.stats.misses).to.equal(3);
    await cache.get(ref("b"), never, 40);
    expect(cache.stats.misses).to.equal(4);
  });

  it("serves a module that is larger than itself, without keeping it", async () => {
    await using cache = new TestedCache(immediate, 100);
    expect((await cache.get(ref("a"), never, 500)).abi).to.equal("Direct");
    expect(cache.stats.bytes).to.equal(0);
  });

  it("ends what it admits when it is disposed, and takes nothing more", async () => {
    const admission = new ScriptedAdmission();
    const cache = new TestedCache(admission.admit, 1000);
    const waiting = rejection(cache.get(ref("a"), never));
    await soon();
    await cache[Symbol.asyncDispose]();
    await cache[Symbol.asyncDispose]();
    expect((await waiting).code).to.equal("Unavailable");
    expect((await rejection(cache.get(ref("a"), never))).code).to.equal("Unavailable");
  });
});
