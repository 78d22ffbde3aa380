import { MillraceError } from "../../engine/errors.ts";

export interface SlotOptions {
  /** Calls in flight at a time. */
  readonly capacity: number;
  /** Calls that may wait for a slot; one more is refused with ResourceExhausted. */
  readonly maxWaiting: number;
  /** Named in messages. */
  readonly owner: string;
}

/**
 * The calls in flight of one loaded processor: bounded, first come first served, with a bounded queue before it.
 * Closing refuses newcomers with Unavailable and waits for those who are in.
 */
export class CallSlots {
  readonly #options: SlotOptions;
  /** Insertion order is the order of service; a Set, so that one who gives up leaves in constant time. */
  readonly #waiting = new Set<() => void>();
  #inFlight = 0;
  #drained: PromiseWithResolvers<void> | undefined;

  constructor(options: SlotOptions) {
    this.#options = options;
  }

  /**
   * Takes a slot: at once, or, where it gives a promise, when that resolves. Each taken slot must be left. Throws
   * ResourceExhausted when the queue is full, Unavailable when closing, the signal's reason when it has aborted or aborts
   * while waiting. No promise where none is needed: this is on the path of every call.
   */
  enter(signal: AbortSignal): Promise<void> | undefined {
    signal.throwIfAborted();
    this.#admit();
    if (this.#inFlight >= this.#options.capacity) return this.#turn(signal);
    this.#inFlight += 1;
    return undefined;
  }

  /** Hands the slot to the one who has waited longest. */
  leave(): void {
    const next = this.#waiting.values().next().value;
    if (next === undefined) {
      this.#inFlight -= 1;
      this.#settle();
      return;
    }
    this.#waiting.delete(next);
    next();
  }

  /** Idempotent. Resolves when the last call, waiting ones included, has ended. */
  async close(): Promise<void> {
    this.#drained ??= Promise.withResolvers<void>();
    this.#settle();
    await this.#drained.promise;
  }

  #admit(): void {
    const { capacity, maxWaiting, owner } = this.#options;
    if (this.#drained !== undefined) {
      throw new MillraceError("Unavailable", `${owner} is being unloaded and takes no more calls`);
    }
    if (this.#inFlight >= capacity && this.#waiting.size >= maxWaiting) {
      throw new MillraceError(
        "ResourceExhausted",
        `${owner} has ${this.#inFlight} calls in flight and ${maxWaiting} waiting, which is as many as may wait`,
      );
    }
  }

  /** Waits for a slot, which is handed over taken. */
  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        this.#waiting.delete(start);
        reject(signal.reason);
        this.#settle();
      };
      const start = () => {
        signal.removeEventListener("abort", giveUp);
        resolve();
      };
      this.#waiting.add(start);
      signal.addEventListener("abort", giveUp, { once: true });
    });
  }

  #settle(): void {
    if (this.#inFlight === 0 && this.#waiting.size === 0) this.#drained?.resolve();
  }
}
