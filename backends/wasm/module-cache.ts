import { LRUCache } from "lru-cache";
import { MillraceError } from "../../engine/errors.ts";
import type { AdmissionRequest, AdmittedModule } from "./admit.ts";

/** A module by content, the limits that are put into it, and what is asked of its outside. */
export interface ModuleRef extends AdmissionRequest {
  /** `sha256:…` of `bytes`. */
  readonly digest: string;
}

/** An admitted module with the name under which it is cached, and by which workers know it. */
export interface CachedModule extends AdmittedModule {
  readonly id: string;
}

/** Admits a module, off the main thread. */
export type Admit = (request: AdmissionRequest, signal: AbortSignal) => Promise<AdmittedModule>;

/** How well a {@link ModuleCache} serves, since it was made. */
export interface ModuleCacheStats {
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
  readonly modules: number;
  readonly bytes: number;
}

/** One admission that several may wait for; given up when nobody waits any more. */
interface Flight {
  readonly result: Promise<CachedModule>;
  readonly controller: AbortController;
  waiting: number;
}

/**
 * Compiled modules in memory, by digest and limits: least recently used out first when their bytes (of the binary)
 * pass `maxBytes`. Whoever holds a module keeps it, evicted or not. Concurrent requests for one module admit it once.
 * A refusal is not kept.
 */
export class ModuleCache implements AsyncDisposable {
  readonly #admit: Admit;
  readonly #modules: LRUCache<string, CachedModule>;
  readonly #bytes = new WeakMap<CachedModule, number>();
  readonly #flights = new Map<string, Flight>();
  #hits = 0;
  #misses = 0;
  #evictions = 0;
  #closed = false;

  constructor(admit: Admit, maxBytes: number) {
    this.#admit = admit;
    this.#modules = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: (module) => Math.max(1, this.#bytes.get(module) ?? 1),
      dispose: (_module, _id, reason) => {
        if (reason === "evict") this.#evictions += 1;
      },
    });
  }

  get stats(): ModuleCacheStats {
    return {
      hits: this.#hits,
      misses: this.#misses,
      evictions: this.#evictions,
      modules: this.#modules.size,
      bytes: this.#modules.calculatedSize,
    };
  }

  /** @throws what the admission throws; `signal`'s reason; Unavailable once disposed */
  async get(ref: ModuleRef, signal: AbortSignal): Promise<CachedModule> {
    signal.throwIfAborted();
    if (this.#closed) throw new MillraceError("Unavailable", "the WASM module cache is closed");
    const id = JSON.stringify([ref.digest, ref.maxMemoryBytes, ref.abi, ref.entrypoint]);
    const cached = this.#modules.get(id);
    if (cached !== undefined) {
      this.#hits += 1;
      return cached;
    }
    const flight = this.#flights.get(id) ?? this.#depart(id, ref);
    return await this.#board(flight, signal);
  }

  /** Gives up what is being admitted, and forgets everything. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const flights = [...this.#flights.values()];
    for (const flight of flights)
      flight.controller.abort(new MillraceError("Unavailable", "the WASM backend was closed"));
    await Promise.allSettled(flights.map((flight) => flight.result));
    this.#modules.clear();
  }

  #depart(id: string, ref: ModuleRef): Flight {
    this.#misses += 1;
    const controller = new AbortController();
    const result = this.#load(id, ref, controller.signal).finally(() => {
      if (this.#flights.get(id) === flight) this.#flights.delete(id);
    });
    // Those who wait have their own copy of a rejection; this one may have nobody left.
    result.catch(() => undefined);
    const flight: Flight = { controller, result, waiting: 0 };
    this.#flights.set(id, flight);
    return flight;
  }

  async #load(id: string, ref: ModuleRef, signal: AbortSignal): Promise<CachedModule> {
    const module: CachedModule = { id, ...(await this.#admit(ref, signal)) };
    this.#bytes.set(module, ref.bytes.byteLength);
    if (!this.#closed) this.#modules.set(id, module);
    return module;
  }

  #board(flight: Flight, signal: AbortSignal): Promise<CachedModule> {
    flight.waiting += 1;
    return new Promise((resolve, reject) => {
      const leave = () => {
        signal.removeEventListener("abort", onAbort);
        flight.waiting -= 1;
      };
      const onAbort = () => {
        leave();
        if (flight.waiting === 0) this.#giveUp(flight, signal.reason);
        reject(signal.reason);
      };
      signal.addEventListener("abort", onAbort);
      flight.result.then(resolve, reject).finally(() => {
        if (!signal.aborted) leave();
      });
    });
  }

  /** A flight that is being given up takes nobody else on board. */
  #giveUp(flight: Flight, reason: unknown): void {
    for (const [id, other] of this.#flights) if (other === flight) this.#flights.delete(id);
    flight.controller.abort(reason);
  }
}
