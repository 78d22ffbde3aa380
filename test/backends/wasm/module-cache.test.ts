import { expect } from "chai";
import { type Admit, ModuleCache, type ModuleRef } from "../../../backends/wasm/module-cache.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { directModule } from "./assembler.ts";
import { rejection } from "./processors.ts";

const never = new AbortController().signal;
const compiled = { module: new WebAssembly.Module(directModule()), abi: "Direct", imports: [], exports: [] } as const;

function ref(digest: string, bytes = 10, rest: Partial<ModuleRef> = {}): ModuleRef {
  return { digest, bytes: new Uint8Array(bytes), abi: "Auto", entrypoint: "process", maxMemoryBytes: 65_536, ...rest };
}

/** An admission that ends when the test says so. */
class ScriptedAdmission {
  readonly signals: AbortSignal[] = [];
  readonly #ends: { resolve(): void; reject(error: unknown): void }[] = [];

  readonly admit: Admit = (_request, signal) =>
    new Promise((resolve, reject) => {
      this.signals.push(signal);
      signal.addEventListener("abort", () => reject(signal.reason));
      this.#ends.push({ resolve: () => resolve(compiled), reject });
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

const immediate: Admit = () => Promise.resolve(compiled);

describe("The cache of compiled modules", () => {
  it("admits a module once for all who ask at the same time, and not again afterwards", async () => {
    const admission = new ScriptedAdmission();
    await using cache = new ModuleCache(admission.admit, 1000);
    const all = Promise.all([1, 2, 3].map(() => cache.get(ref("a"), never)));
    admission.succeed(0);
    const modules = await all;
    expect(new Set(modules).size).to.equal(1);
    expect(await cache.get(ref("a"), never)).to.equal(modules[0]);
    expect(admission.count).to.equal(1);
    expect(cache.stats).to.include({ hits: 1, misses: 1, modules: 1, bytes: 10 });
  });

  it("tells modules apart by digest, limits and what is asked of them", async () => {
    await using cache = new ModuleCache(immediate, 1000);
    const modules = await Promise.all(
      [
        ref("a"),
        ref("b"),
        ref("a", 10, { maxMemoryBytes: 131_072 }),
        ref("a", 10, { entrypoint: "other" }),
        ref("a", 10, { abi: "Direct" }),
      ].map((one) => cache.get(one, never)),
    );
    expect(new Set(modules.map((module) => module.id)).size).to.equal(5);
  });

  it("lets one of several go without the others noticing", async () => {
    const admission = new ScriptedAdmission();
    await using cache = new ModuleCache(admission.admit, 1000);
    const leaving = new AbortController();
    const left = rejection(cache.get(ref("a"), leaving.signal));
    const staying = cache.get(ref("a"), never);
    leaving.abort(new MillraceError("Cancelled", "gone"));
    expect((await left).code).to.equal("Cancelled");
    admission.succeed(0);
    expect((await staying).abi).to.equal("Direct");
  });

  it("gives an admission up when nobody waits for it, and starts anew for the next", async () => {
    const admission = new ScriptedAdmission();
    await using cache = new ModuleCache(admission.admit, 1000);
    const leaving = new AbortController();
    const left = rejection(cache.get(ref("a"), leaving.signal));
    leaving.abort(new MillraceError("Cancelled", "gone"));
    const next = cache.get(ref("a"), never);
    expect((await left).code).to.equal("Cancelled");
    expect(admission.signals[0]?.aborted).to.equal(true);
    admission.succeed(1);
    expect((await next).abi).to.equal("Direct");
    expect(admission.count).to.equal(2);
  });

  it("gives a refusal to all who wait, and does not keep it", async () => {
    const admission = new ScriptedAdmission();
    await using cache = new ModuleCache(admission.admit, 1000);
    const refused = [1, 2].map(() => rejection(cache.get(ref("a"), never)));
    admission.fail(0, new MillraceError("InvalidInput", "no module"));
    for (const error of await Promise.all(refused)) expect(error.code).to.equal("InvalidInput");
    const next = cache.get(ref("a"), never);
    admission.succeed(1);
    await next;
    expect(admission.count).to.equal(2);
  });

  it("drops what was used longest ago when its bytes pass the limit", async () => {
    await using cache = new ModuleCache(immediate, 100);
    await cache.get(ref("a", 40), never);
    await cache.get(ref("b", 40), never);
    await cache.get(ref("a", 40), never);
    await cache.get(ref("c", 40), never);
    expect(cache.stats).to.include({ modules: 2, bytes: 80, evictions: 1, misses: 3 });
    await cache.get(ref("a", 40), never);
    expect(cache.stats.misses).to.equal(3);
    await cache.get(ref("b", 40), never);
    expect(cache.stats.misses).to.equal(4);
  });

  it("serves a module that is larger than itself, without keeping it", async () => {
    await using cache = new ModuleCache(immediate, 100);
    expect((await cache.get(ref("a", 500), never)).abi).to.equal("Direct");
    expect(cache.stats.bytes).to.equal(0);
  });

  it("ends what it admits when it is disposed, and takes nothing more", async () => {
    const admission = new ScriptedAdmission();
    const cache = new ModuleCache(admission.admit, 1000);
    const waiting = rejection(cache.get(ref("a"), never));
    await cache[Symbol.asyncDispose]();
    await cache[Symbol.asyncDispose]();
    expect((await waiting).code).to.equal("Unavailable");
    expect((await rejection(cache.get(ref("a"), never))).code).to.equal("Unavailable");
  });
});
