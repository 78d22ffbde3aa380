import type { Clock, Scheduler, Timer } from "../engine/clock.ts";

/** Something that is due at a time, and a link of the list that {@link Deadlines} keeps. */
export abstract class Expiring {
  /** On the monotonic clock, in milliseconds; set by {@link Deadlines.add}. */
  dueMs = 0;
  earlier: Expiring | undefined;
  later: Expiring | undefined;
  /** Called once when the time has come; must not throw. */
  abstract expire(): void;
}

/**
 * Many deadlines on one timer. Calls of one processor share a timeout, so that each new deadline is nearly always the
 * latest: they are kept as a list in order of time, and adding or removing one arms no timer. The timer is left armed
 * when its deadline is removed (it then fires once for nothing): a timer per call would cost more than the call.
 */
export class Deadlines implements Disposable {
  readonly #clock: Clock;
  readonly #scheduler: Scheduler;
  #first: Expiring | undefined;
  #last: Expiring | undefined;
  #timer: Timer | undefined;
  #armedForMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, scheduler: Scheduler) {
    this.#clock = clock;
    this.#scheduler = scheduler;
  }

  /** Calls `entry.expire()` at `dueMs` on the monotonic clock, unless it is removed before. */
  add(entry: Expiring, dueMs: number): void {
    entry.dueMs = dueMs;
    let earlier = this.#last;
    while (earlier !== undefined && earlier.dueMs > dueMs) earlier = earlier.earlier;
    this.#link(entry, earlier);
    if (dueMs < this.#armedForMs) this.#arm(dueMs);
  }

  /** Does nothing to an entry that is not in the list. */
  remove(entry: Expiring): void {
    if (entry.earlier === undefined && this.#first !== entry) return;
    if (entry.earlier === undefined) this.#first = entry.later;
    else entry.earlier.later = entry.later;
    if (entry.later === undefined) this.#last = entry.earlier;
    else entry.later.earlier = entry.earlier;
    entry.earlier = undefined;
    entry.later = undefined;
  }

  /** Forgets all deadlines, and the timer. */
  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#armedForMs = Number.POSITIVE_INFINITY;
    while (this.#first !== undefined) this.remove(this.#first);
  }

  #link(entry: Expiring, earlier: Expiring | undefined): void {
    const later = earlier === undefined ? this.#first : earlier.later;
    entry.earlier = earlier;
    entry.later = later;
    if (earlier === undefined) this.#first = entry;
    else earlier.later = entry;
    if (later === undefined) this.#last = entry;
    else later.earlier = entry;
  }

  #arm(dueMs: number): void {
    this.#timer?.cancel();
    this.#armedForMs = dueMs;
    this.#timer = this.#scheduler.after(dueMs - this.#clock.monotonic(), () => this.#fire());
  }

  #fire(): void {
    this.#armedForMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#clock.monotonic();
    while (this.#first !== undefined && this.#first.dueMs <= nowMs) {
      const due = this.#first;
      this.remove(due);
      due.expire();
    }
    if (this.#first !== undefined && this.#first.dueMs < this.#armedForMs) this.#arm(this.#first.dueMs);
  }
}
