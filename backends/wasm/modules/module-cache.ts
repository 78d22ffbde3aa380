import { LRUCache } from "lru-cache";
import type { Clock } from "../../../engine/clock.ts";
import { type ErrorCode, MillraceError } from "../../../engine/errors.ts";
import type { AdmissionRequest, AdmittedModule } from "../admission/admit.ts";
import { Flights } from "./flights.ts";

/** A module by content, the limits that are put into it, and what is asked of its outside. */
export interface ModuleRef extends Omit<AdmissionRequest, "bytes"> {
  /** `sha256:…` of its bytes. */
  readonly digest: string;
}

/** An admitted module with the name under which it is cached. */
export interface CachedModule extends AdmittedModule {
  readonly id: string;
}

/** Admits a module, off the main thread. */
export type Admit = (request: AdmissionRequest, signal: AbortSignal) => Promise<AdmittedModule>;

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

interface Refusal {
  readonly error: MillraceError;
  readonly untilMs: number;
}

/** How long a refusal is known, and of how many modules. */
const refusalMs = 60_000;
const maxRefusals = 1_000;

/** What the module itself is refused for, so that another try gives the same. */
const lastingCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["InvalidInput", "SandboxViolation", "NotFound"]);

/**
 * Compiled modules in memory, by digest and limits: least recently used out first when their bytes (of the binary)
 * pass `maxBytes`. Whoever holds a module keeps it, evicted or not. Concurrent requests for one module admit it once.
 * One that was refused is refused again for a minute, without another look.
 */
export class ModuleCache implements AsyncDisposable {
  readonly #options: ModuleCacheOptions;
  readonly #modules: LRUCache<string, CachedModule>;
  readonly #refusals = new LRUCache<string, Refusal>({ max: maxRefusals });
  readonly #flights = new Flights<CachedModule>();
  readonly #counts = { hits: 0, misses: 0, evictions: 0, compiled: 0, compileSeconds: 0, refused: 0 };
  #closed = false;

  constructor(options: ModuleCacheOptions) {
    this.#options = options;
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
    return this.#modules.has(id) || this.#refusal(id) !== undefined;
  }

  /**
   * @param bytes gives the module's bytes; asked for only when it is not in the cache
   * @throws what the admission and `bytes` throw; `signal`'s reason; Unavailable once disposed
   */
  async get(ref: ModuleRef, bytes: () => Promise<Uint8Array>, signal: AbortSignal): Promise<CachedModule> {
    signal.throwIfAborted();
    if (this.#closed) throw new MillraceError("Unavailable", "the WASM module cache is closed");
    const id = idOf(ref);
    const cached = this.#modules.get(id);
    const refusal = this.#refusal(id);
    if (cached !== undefined || refusal !== undefined) this.#counts.hits += 1;
    if (cached !== undefined) return cached;
    if (refusal !== undefined) throw refusal;
    return await this.#flights.join(id, (flight) => this.#admit(id, ref, bytes, flight), signal);
  }

  /** Gives up what is being admitted, and forgets everything. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#flights.abort(new MillraceError("Unavailable", "the WASM backend was closed"));
    this.#modules.clear();
    this.#refusals.clear();
  }

  async #admit(
    id: string,
    ref: ModuleRef,
    read: () => Promise<Uint8Array>,
    signal: AbortSignal,
  ): Promise<CachedModule> {
    this.#counts.misses += 1;
    const bytes = await read();
    signal.throwIfAborted();
    const { abi, entrypoint, maxMemoryBytes } = ref;
    const { admit, clock } = this.#options;
    const startMs = clock.monotonic();
    try {
      const admitted = await admit({ bytes, abi, entrypoint, maxMemoryBytes }, signal);
      const module: CachedModule = { ...admitted, id };
      this.#counts.compiled += 1;
      this.#counts.compileSeconds += (clock.monotonic() - startMs) / 1000;
      if (!this.#closed) this.#modules.set(id, module);
      return module;
    } catch (thrown) {
      this.#refused(id, thrown);
      throw thrown;
    }
  }

  #refused(id: string, thrown: unknown): void {
    if (this.#closed || !(thrown instanceof MillraceError) || !lastingCodes.has(thrown.code)) return;
    this.#counts.refused += 1;
    this.#refusals.set(id, { error: thrown, untilMs: this.#options.clock.monotonic() + refusalMs });
  }

  #refusal(id: string): MillraceError | undefined {
    const known = this.#refusals.get(id);
    if (known === undefined) return undefined;
    if (this.#options.clock.monotonic() < known.untilMs) return known.error;
    this.#refusals.delete(id);
    return undefined;
  }
}

function idOf({ digest, maxMemoryBytes, abi, entrypoint }: ModuleRef): string {
  return JSON.stringify([digest, maxMemoryBytes, abi, entrypoint]);
}
