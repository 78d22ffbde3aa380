import type { Clock, Ports, Random, Scheduler, Timer } from "../../engine/clock.ts";

interface PendingTimer {
  readonly atMs: number;
  readonly sequence: number;
  readonly callback: () => void;
}

/** A clock that moves only when it is told to, timers that fire by it, and seeded randomness: the same seed, the same run. */
export class VirtualTime implements Ports {
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly random: Random;
  #nowMs: number;
  #sequence = 0;
  readonly #pending = new Set<PendingTimer>();

  /** `startMs` is the wall clock's; the monotonic clock starts at 0. */
  constructor(seed = 1, startMs = Date.UTC(2026, 0, 1)) {
    this.#nowMs = 0;
    this.clock = { now: () => startMs + this.#nowMs, monotonic: () => this.#nowMs };
    this.scheduler = { after: (delayMs, callback) => this.#after(delayMs, callback) };
    this.random = seededRandom(seed);
  }

  /** Timers that have neither fired nor been cancelled. */
  get pendingTimers(): number {
    return this.#pending.size;
  }

  /** Lets `ms` pass; timers fire in order, and between them all that was promised is done. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    for (let next = this.#next(); next !== undefined && next.atMs <= untilMs; next = this.#next()) {
      this.#fire(next);
      await settle();
    }
    this.#nowMs = untilMs;
  }

  /** Lets time pass, as much as it takes, until `work` is done; fails when nothing is left that could finish it. */
  async drive<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const done = work.finally(() => {
      isDone = true;
    });
    done.catch(() => undefined);
    await settle();
    while (!isDone) {
      const next = this.#next();
      if (next === undefined) throw new Error("it hangs: no timer is pending and the work is not done");
      this.#fire(next);
      await settle();
    }
    return done;
  }

  #after(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + Math.max(0, delayMs), sequence: this.#sequence++, callback };
    this.#pending.add(timer);
    return { cancel: () => void this.#pending.delete(timer) };
  }

  #next(): PendingTimer | undefined {
    let first: PendingTimer | undefined;
    for (const timer of this.#pending) {
      if (
        first === undefined ||
        timer.atMs < first.atMs ||
        (timer.atMs === first.atMs && timer.sequence < first.sequence)
      )
        first = timer;
    }
    return first;
  }

  #fire(timer: PendingTimer): void {
    this.#pending.delete(timer);
    this.#nowMs = Math.max(this.#nowMs, timer.atMs);
    timer.callback();
  }
}

/** Everything that is promised already is done when this resolves: a macrotask comes after all microtasks. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** mulberry32: small, fast and good enough to vary tests. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
