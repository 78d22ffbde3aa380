import type { Clock } from "../clock.ts";

/** How many retries the calls of a Processor may cause in this process, so that an outage does not become a storm. */
export interface RetryBudgets {
  /** A first attempt is made. */
  called(namespace: string, processor: string): void;
  /** Whether one more retry is within the budget; counts it if it is. `budgetPercent`: retries per hundred calls of the last ten seconds. */
  mayRetry(namespace: string, processor: string, budgetPercent: number): boolean;
}

/** Retries that a Processor always has within the window, however few its calls. */
const floorRetries = 10;

const windowSeconds = 10;

/** Counts calls and retries of the last ten seconds, by Processor. */
export class SlidingRetryBudgets implements RetryBudgets {
  readonly #clock: Clock;
  readonly #windows = new Map<string, Window>();
  /** When Processors without calls were last forgotten, in seconds. */
  #sweptAt = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Processors that had a call or a retry lately: what it keeps. */
  get size(): number {
    return this.#windows.size;
  }

  called(namespace: string, processor: string): void {
    this.#windowOf(namespace, processor).countCall();
  }

  mayRetry(namespace: string, processor: string, budgetPercent: number): boolean {
    const window = this.#windowOf(namespace, processor);
    const allowed = Math.max(floorRetries, (window.calls * budgetPercent) / 100);
    if (window.retries + 1 > allowed) return false;
    window.countRetry();
    return true;
  }

  #windowOf(namespace: string, processor: string): Window {
    const second = Math.floor(this.#clock.monotonic() / 1_000);
    this.#sweep(second);
    const key = `${namespace}/${processor}`;
    let window = this.#windows.get(key);
    if (window === undefined) {
      window = new Window(second);
      this.#windows.set(key, window);
    }
    window.moveTo(second);
    return window;
  }

  /** At most once a window: so each call pays little. */
  #sweep(second: number): void {
    if (second - this.#sweptAt < windowSeconds) return;
    this.#sweptAt = second;
    for (const [key, { newest }] of this.#windows) {
      if (second - newest >= windowSeconds) this.#windows.delete(key);
    }
  }
}

/** Calls and retries by second, each second in the place of the one ten before it. */
class Window {
  readonly #calls = new Uint32Array(windowSeconds);
  readonly #retries = new Uint32Array(windowSeconds);
  #newest: number;

  constructor(second: number) {
    this.#newest = second;
  }

  /** The last second in which it was asked. */
  get newest(): number {
    return this.#newest;
  }

  get calls(): number {
    return sum(this.#calls);
  }

  get retries(): number {
    return sum(this.#retries);
  }

  moveTo(second: number): void {
    const from = Math.max(this.#newest, second - windowSeconds);
    for (let passed = from + 1; passed <= second; passed++) {
      this.#calls[passed % windowSeconds] = 0;
      this.#retries[passed % windowSeconds] = 0;
    }
    this.#newest = Math.max(this.#newest, second);
  }

  countCall(): void {
    const at = this.#newest % windowSeconds;
    this.#calls[at] = (this.#calls[at] ?? 0) + 1;
  }

  countRetry(): void {
    const at = this.#newest % windowSeconds;
    this.#retries[at] = (this.#retries[at] ?? 0) + 1;
  }
}

function sum(counts: Uint32Array): number {
  return counts.reduce((total, count) => total + count, 0);
}
