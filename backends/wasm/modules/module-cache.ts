import { LRUCache } from "lru-cache";
import type { Clock } from "../../../engine/clock.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { Flights } from "../../flights.ts";
import type { Owner } from "../../turns.ts";
import type { AdmissionRequest, AdmittedModule } from "../admission/admit.ts";
import { Refusals } from "./refusals.ts";

/** A module by content, the limits that are put into it, and what is asked of its outside. */
export interface ModuleRef extends Omit<AdmissionRequest, "bytes"> {
  /** `sha256:…` of its bytes. */
  readonly digest: string;
}

/** An admitted module with the name under which it is cached. */
export interface CachedModule extends AdmittedModule {
  readonly id: string;
}

/** Admits a module, off the main thread, in its owner's turn. */
export type Admit = (request: AdmissionRequest, owner: Owner, signal: AbortSignal) => Promise<AdmittedModule>;

/** A module that is asked for. */
export interface WantedModule {
  readonly ref: ModuleRef;
  /** Who asks. One that several ask for at the same time is admitted in the turn of who came first. */
  readonly owner: Owner;
  /** Gives the module's bytes; asked for only when it is not in the cache. */
  bytes(): Promise<Uint8Array>;
}

/** What a {@link ModuleCache} is given. */
export interface ModuleCacheOptions {
  readonly admit: Admit;
  readonly maxBytes: number;
  readonly clock: Clock;
}

/** How well a {@link ModuleCache} serves, since it was made. */
export interface ModuleCacheStats {
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
  readonly modules: number;
  readonly bytes: number;
  /** Modules that were admitted, and the seconds that it took, waiting for a thread included. */
  readonly compiled: number;
  readonly compileSeconds: number;
  /** Modules that were refused, and those of them that are known to be as yet. */
  readonly refused: number;
  readonly refusals: number;
}

/** How long a refusal is known. */
const refusalMs = 60_000;

/**
 * Compiled modules in memory, by digest and limits: least recently used out first when their bytes (of the binary)
 * pass `maxBytes`. Whoever holds a module keeps it, evicted or not. Concurrent requests for one module admit it once.
 * One that was refused is refused again for a minute, without another look.
 */
export class ModuleCache implements AsyncDisposable {
  readonly #options: ModuleCacheOptions;
  readonly #modules: LRUCache<string, CachedModule>;
  readonly #refusals: Refusals;
  readonly #flights = new Flights<CachedModule>();
  readonly #counts = { hits: 0, misses: 0, evictions: 0, compiled: 0, compileSeconds: 0, refused: 0 };
  #closed = false;

  constructor(options: ModuleCacheOptions) {
    this.#options = options;
    this.#refusals = new Refusals(options.clock, refusalMs);
    this.#modules = new LRUCache({
      maxSize: options.maxBytes,
      sizeCalculation: (module) => Math.max(1, module.bytes),
      dispose: (_module, _id, reason) => {
        if (reason === "evict") this.#counts.evictions += 1;
      },
    });
  }

  get stats(): ModuleCacheStats {
    return {
      ...this.#counts,
      modules: this.#modules.size,
      bytes: this.#modules.calculatedSize,
      refusals: this.#refusals.size,
    };
  }

  /** Whether {@link get} would give it at once, or refuse it so: without asking for its bytes. */
  has(ref: ModuleRef): boolean {
    const id = idOf(ref);
    return this.#modules.has(id) || this.#refusals.get(id) !== undefined;
  }

  /** @throws what the admission and `bytes` throw; `signal`'s reason; Unavailable once disposed */
  async get(wanted: WantedModule, signal: AbortSignal): Promise<CachedModule> {
    signal.throwIfAborted();
    if (this.#closed) throw new MillraceError("Unavailable", "the WASM module cache is closed");
    const id = idOf(wanted.ref);
    const cached = this.#modules.get(id);
    const refusal = this.#refusals.get(id);
    if (cached !== undefined || refusal !== undefined) this.#counts.hits += 1;
    if (cached !== undefined) return cached;
    if (refusal !== undefined) throw refusal;
    return await this.#flights.join(id, (flight) => this.#admit(id, wanted, flight), signal);
  }

  /** Gives up what is being admitted, and forgets everything. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#flights.abort(new MillraceError("Unavailable", "the WASM backend was closed"));
    this.#modules.clear();
    this.#refusals.clear();
  }

  async #admit(id: string, wanted: WantedModule, signal: AbortSignal): Promise<CachedModule> {
    this.#counts.misses += 1;
    const bytes = await wanted.bytes();
    signal.throwIfAborted();
    const { abi, entrypoint, maxMemoryBytes } = wanted.ref;
    const { admit, clock } = this.#options;
    const startMs = clock.monotonic();
    try {
      const admitted = await admit({ bytes, abi, entrypoint, maxMemoryBytes }, wanted.owner, signal);
      const module: CachedModule = { ...admitted, id };
      this.#counts.compiled += 1;
      this.#counts.compileSeconds += (clock.monotonic() - startMs) / 1000;
      if (!this.#closed) this.#modules.set(id, module);
      return module;
    } catch (thrown) {
      if (!this.#closed && this.#refusals.keep(id, thrown)) this.#counts.refused += 1;
      throw thrown;
    }
  }
}

function idOf({ digest, maxMemoryBytes, abi, entrypoint }: ModuleRef): string {
  return JSON.stringify([digest, maxMemoryBytes, abi, entrypoint]);
}
