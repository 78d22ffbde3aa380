/** Work that several wait for; given up when nobody waits any more. */
interface Flight<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  waiting: number;
}

/**
 * Single flight: who asks for a key that is being worked on waits for that work. It runs under a signal of its own, which
 * aborts only when the last of those who wait has left: nobody's cancellation is another's failure. Nothing is kept.
 */
export class Flights<T> {
  /** Those that still take somebody on board. */
  readonly #boarding = new Map<string, Flight<T>>();
  /** Also those that are being given up. */
  readonly #inAir = new Set<Flight<T>>();

  /** Throws what the work throws, and the signal's reason as soon as it aborts. `work` is run only if nobody else's is under way. */
  async join(key: string, work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const flight = this.#boarding.get(key) ?? this.#depart(key, work);
    return await this.#wait(key, flight, signal);
  }

  /** Whether anything is under way that takes somebody on board. */
  get isBusy(): boolean {
    return this.#boarding.size > 0;
  }

  /** Gives up all that is under way, for whoever waits, and resolves when it has ended. */
  async abort(reason: unknown): Promise<void> {
    for (const { controller } of this.#inAir) controller.abort(reason);
    await this.settled();
  }

  /** Resolves when all that is under way has ended, whichever way. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#inAir].map(({ result }) => result));
  }

  #depart(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const controller = new AbortController();
    const flight: Flight<T> = { controller, result: work(controller.signal), waiting: 0 };
    this.#boarding.set(key, flight);
    this.#inAir.add(flight);
    const landed = () => {
      this.#inAir.delete(flight);
      this.#close(key, flight);
    };
    // Those who wait hear of a rejection themselves; there may be nobody left.
    flight.result.then(landed, landed);
    return flight;
  }

  #wait(key: string, flight: Flight<T>, signal: AbortSignal): Promise<T> {
    flight.waiting += 1;
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        flight.waiting -= 1;
        if (flight.waiting === 0) {
          // What is being given up takes nobody else on board.
          this.#close(key, flight);
          flight.controller.abort(signal.reason);
        }
        reject(signal.reason);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      const landed = () => signal.removeEventListener("abort", onAbort);
      flight.result.then(landed, landed);
      flight.result.then(resolve, reject);
    });
  }

  #close(key: string, flight: Flight<T>): void {
    if (this.#boarding.get(key) === flight) this.#boarding.delete(key);
  }
}
