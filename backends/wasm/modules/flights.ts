/** Does the work of one flight; `signal` aborts when nobody waits for it any more. */
export type Work<T> = (signal: AbortSignal) => Promise<T>;

/** One piece of work that several may wait for; given up when nobody waits any more. */
interface Flight<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  waiting: number;
}

/** Work that is done once for all who ask for it at the same time, by key. */
export class Flights<T> {
  readonly #flights = new Map<string, Flight<T>>();

  /** Rejects with what the work throws, or with `signal`'s reason. */
  join(key: string, work: Work<T>, signal: AbortSignal): Promise<T> {
    if (signal.aborted) return Promise.reject(signal.reason);
    return this.#board(key, this.#flights.get(key) ?? this.#depart(key, work), signal);
  }

  /** Gives up all that is under way, and waits until it has ended. */
  async abort(reason: unknown): Promise<void> {
    const flights = [...this.#flights.values()];
    for (const flight of flights) flight.controller.abort(reason);
    await Promise.allSettled(flights.map((flight) => flight.result));
  }

  #depart(key: string, work: Work<T>): Flight<T> {
    const controller = new AbortController();
    const result = work(controller.signal).finally(() => this.#land(key, flight));
    // Those who wait have their own copy of a rejection; this one may have nobody left.
    result.catch(() => undefined);
    const flight: Flight<T> = { controller, result, waiting: 0 };
    this.#flights.set(key, flight);
    return flight;
  }

  #board(key: string, flight: Flight<T>, signal: AbortSignal): Promise<T> {
    flight.waiting += 1;
    return new Promise((resolve, reject) => {
      const leave = () => {
        signal.removeEventListener("abort", onAbort);
        flight.waiting -= 1;
      };
      const onAbort = () => {
        leave();
        if (flight.waiting === 0) {
          this.#land(key, flight);
          flight.controller.abort(signal.reason);
        }
        reject(signal.reason);
      };
      signal.addEventListener("abort", onAbort);
      flight.result.then(resolve, reject).finally(() => {
        if (!signal.aborted) leave();
      });
    });
  }

  /** It takes nobody else on board. */
  #land(key: string, flight: Flight<T>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}
