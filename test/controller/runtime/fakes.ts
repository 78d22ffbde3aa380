import type { Logger } from "../../../controller/runtime/logger.ts";
import type { Ports, Timer } from "../../../engine/clock.ts";

export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
};

interface Pending {
  readonly atMs: number;
  readonly delayMs: number;
  readonly callback: () => void;
}

/** A clock that moves only when the test says so. Randomness is what is given, 0 by default, so that jitter is known. */
export class VirtualTime {
  readonly ports: Ports;
  readonly #pending = new Set<Pending>();
  readonly #watchers = new Set<() => void>();
  #nowMs = 1_000_000;

  constructor(random: number | (() => number) = 0) {
    this.ports = {
      clock: { now: () => Date.UTC(2026, 0, 1) + this.#nowMs, monotonic: () => this.#nowMs },
      scheduler: { after: (delayMs, callback) => this.#after(delayMs, callback) },
      random: typeof random === "number" ? () => random : random,
    };
  }

  /** Delays of the timers that wait, in the order in which they were set. */
  get delays(): number[] {
    return [...this.#pending].map(({ delayMs }) => delayMs);
  }

  /** Lets time pass; runs what becomes due, in order, and what its continuations set, with a turn of the event loop between. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      await turn();
      const due = [...this.#pending].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (!due) break;
      this.#pending.delete(due);
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      due.callback();
    }
    this.#nowMs = untilMs;
  }

  /** Waits, in real time, until somebody waits for that long; gives the delay. */
  async scheduled(matches: (delayMs: number) => boolean): Promise<number> {
    for (;;) {
      const found = this.delays.find(matches);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#watchers.add(resolve));
    }
  }

  #after(delayMs: number, callback: () => void): Timer {
    const pending = { atMs: this.#nowMs + delayMs, delayMs, callback };
    this.#pending.add(pending);
    for (const watcher of this.#watchers) watcher();
    this.#watchers.clear();
    return { cancel: () => void this.#pending.delete(pending) };
  }
}

/** One turn of the event loop: all microtasks, and what sockets had to say. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Turns until `holds`; the test's own timeout is the limit. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await turn();
}
