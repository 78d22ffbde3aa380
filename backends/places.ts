import type { Clock } from "../engine/clock.ts";
import { MillraceError } from "../engine/errors.ts";
import { type Owned, type Owner, Turns } from "./turns.ts";

/** How many {@link Places} there are. */
export interface PlacesOptions {
  /** For messages. */
  readonly name: string;
  readonly capacity: number;
  /** The most that wait; one more is refused with ResourceExhausted. */
  readonly maxWaiters: number;
  readonly clock: Clock;
}

interface Waiter extends Owned {
  enter(): void;
  refuse(error: unknown): void;
}

/** What one Processor has. */
interface Share {
  inUse: number;
  /** When it last had its turn, on the monotonic clock. */
  turnMs: number;
}

/** How long one turn is, in milliseconds: a thread that changes hands is started anew, which takes about as long. */
const turnMs = 100;

/**
 * A fixed number of places, given out by turns ({@link Turns}) and so that some are left for who comes, as their holders
 * may stay for days: a Processor gets one more only while it holds fewer than are
 * free, and a namespace that holds one never gets the last.
 */
export class Places {
  /** The most that one Processor gets. */
  readonly maxPerProcessor: number;
  readonly #options: PlacesOptions;
  readonly #waiting = new Turns<Waiter>();
  /** By namespace and by Processor; who holds none is not in it. */
  readonly #shares = new Map<string, Map<string, Share>>();
  #inUse = 0;
  #rejected = 0;
  #closed = false;

  constructor(options: PlacesOptions) {
    this.#options = options;
    this.maxPerProcessor = Math.ceil(options.capacity / 2);
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  get rejected(): number {
    return this.#rejected;
  }

  /**
   * Resolves when the owner has a place, which is to be left. Rejects with `signal`'s reason, with ResourceExhausted when
   * too many wait, with Unavailable when closed.
   */
  enter(owner: Owner, signal: AbortSignal): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      const settle = () => signal.removeEventListener("abort", onAbort);
      const waiter: Waiter = {
        owner,
        enter() {
          settle();
          resolve();
        },
        refuse(error) {
          settle();
          reject(error);
        },
      };
      const onAbort = () => {
        this.#waiting.remove(waiter);
        waiter.refuse(signal.reason);
      };
      signal.addEventListener("abort", onAbort);
      this.#waiting.add(waiter);
      this.#admit();
    });
  }

  /** The place goes to the same Processor's next while its turn lasts, else to whose turn it is. */
  leave(owner: Owner): void {
    const { namespace, processor } = owner;
    const processors = this.#shares.get(namespace);
    const share = processors?.get(processor);
    if (processors === undefined || share === undefined) return;
    const next = this.#waiting.first(owner);
    if (next !== undefined && this.#options.clock.monotonic() - share.turnMs < turnMs) {
      this.#waiting.remove(next);
      next.enter();
      return;
    }
    this.#inUse -= 1;
    share.inUse -= 1;
    if (share.inUse === 0) processors.delete(processor);
    if (processors.size === 0) this.#shares.delete(namespace);
    this.#admit();
  }

  /** Refuses those that wait, and all that come. Idempotent. */
  close(): void {
    this.#closed = true;
    for (const waiter of this.#waiting) {
      this.#waiting.remove(waiter);
      waiter.refuse(this.#refusal());
    }
  }

  #refusal(): MillraceError | undefined {
    const { name, capacity, maxWaiters } = this.#options;
    if (this.#closed) return new MillraceError("Unavailable", `the pool of ${name} is closed`);
    if (this.#waiting.size < maxWaiters) return undefined;
    this.#rejected += 1;
    return new MillraceError(
      "ResourceExhausted",
      `the pool of ${name} is full: ${capacity} in use at most, and ${maxWaiters} waiting; no more may wait`,
    );
  }

  #admit(): void {
    for (let waiter = this.#next(); waiter !== undefined; waiter = this.#next()) {
      this.#waiting.serve(waiter);
      this.#take(waiter.owner);
      waiter.enter();
    }
  }

  #next(): Waiter | undefined {
    if (this.#inUse === this.#options.capacity) return undefined;
    for (const waiter of this.#waiting.heads()) if (this.#mayTake(waiter.owner)) return waiter;
    return undefined;
  }

  #mayTake({ namespace, processor }: Owner): boolean {
    const free = this.#options.capacity - this.#inUse;
    const processors = this.#shares.get(namespace);
    if (processors === undefined) return free > 0;
    return free > 1 && (processors.get(processor)?.inUse ?? 0) < free;
  }

  #take({ namespace, processor }: Owner): void {
    const processors = this.#shares.get(namespace) ?? new Map<string, Share>();
    const share = processors.get(processor) ?? { inUse: 0, turnMs: 0 };
    share.inUse += 1;
    share.turnMs = this.#options.clock.monotonic();
    processors.set(processor, share);
    this.#shares.set(namespace, processors);
    this.#inUse += 1;
  }
}
