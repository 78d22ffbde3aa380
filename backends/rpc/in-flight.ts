import { MillraceError } from "../../engine/errors.ts";

/**
 * Counts the calls in flight of one loaded processor, so that it can be unloaded without breaking them. How many there
 * may be is the matter of `call.ts`: nobody waits here, where waiting would count towards the attempt's time.
 */
export class CallsInFlight {
  readonly #owner: string;
  #count = 0;
  #drained: PromiseWithResolvers<void> | undefined;

  /** @param owner named in messages */
  constructor(owner: string) {
    this.#owner = owner;
  }

  /** To be followed by one `leave`. Throws Unavailable when closing, the signal's reason when it has aborted. */
  enter(signal: AbortSignal): void {
    signal.throwIfAborted();
    if (this.#drained !== undefined) {
      throw new MillraceError("Unavailable", `${this.#owner} is being unloaded and takes no more calls`);
    }
    this.#count += 1;
  }

  leave(): void {
    this.#count -= 1;
    this.#settle();
  }

  /** Refuses newcomers; resolves when the last call has ended. Idempotent. */
  async close(): Promise<void> {
    this.#drained ??= Promise.withResolvers<void>();
    this.#settle();
    await this.#drained.promise;
  }

  #settle(): void {
    if (this.#count === 0) this.#drained?.resolve();
  }
}
