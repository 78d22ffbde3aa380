import type { Ports, Timer } from "../../../engine/clock.ts";
import { MillraceError } from "../../../engine/errors.ts";

/** A run shorter than this reports nothing but its outcome; in milliseconds. */
export const firstReportMs = 250;

/** Of the time, at most one part in this many goes into writing reports. */
const writeShare = 20;

/** `Idle`: nothing to say, or too early to say it. `Due`: a report is about to begin. `Writing`: one write is in flight. */
type PacerState =
  | { readonly kind: "Idle" }
  /** Without a timer: in this turn of the event loop. */
  | { readonly kind: "Due"; readonly timer?: Timer }
  | { readonly kind: "Writing"; readonly done: Promise<void> }
  | { readonly kind: "Stopped" };

/** What became of one report. */
export interface Report {
  /** Of the request that succeeded, in milliseconds; 0: nothing was written. */
  readonly durationMs: number;
  /** Why not all of it is recorded. */
  readonly error?: MillraceError;
}

/**
 * When a run reports its progress: first after 250 ms, then when something has changed, at most every
 * max(250 ms, 20 × the last write's duration), one write at a time. No timer runs while there is nothing to say.
 * The duration is that of the request which succeeded: tries before it and the waits between them put off no report.
 */
export class ProgressPacer {
  readonly #ports: Ports;
  readonly #write: () => Promise<Report>;
  #state: PacerState = { kind: "Idle" };
  #notBeforeMs: number;
  #changed = false;
  /** For whom the next report is not to wait. */
  #urgent: PromiseWithResolvers<void>[] = [];

  /** Counts from now. `write` must not reject. */
  constructor(ports: Ports, write: () => Promise<Report>) {
    this.#ports = ports;
    this.#write = write;
    this.#notBeforeMs = ports.clock.monotonic() + firstReportMs;
    // That it runs at all is the first thing to say.
    this.changed();
  }

  /** There is something new to report. */
  changed(): void {
    this.#changed = true;
    if (this.#state.kind !== "Idle") return;
    const delayMs = Math.max(0, this.#notBeforeMs - this.#ports.clock.monotonic());
    this.#state = { kind: "Due", timer: this.#ports.scheduler.after(delayMs, () => this.#begin()) };
  }

  /**
   * Reports what is so now, without waiting: what asks in the same turn, or while a write is in flight, shares the next one.
   * Resolves when it is recorded; rejects with MillraceError when it is not, or the run is over.
   */
  now(): Promise<void> {
    const waiter = Promise.withResolvers<void>();
    this.#urgent.push(waiter);
    if (this.#state.kind === "Stopped") this.#refuse();
    else if (this.#state.kind !== "Writing") this.#hurry();
    return waiter.promise;
  }

  /** Reports nothing more; waits for the write in flight. Idempotent. */
  async stop(): Promise<void> {
    const state = this.#state;
    this.#state = { kind: "Stopped" };
    if (state.kind === "Due") state.timer?.cancel();
    if (state.kind === "Writing") await state.done;
    this.#refuse();
  }

  #hurry(): void {
    if (this.#state.kind === "Due") {
      if (this.#state.timer === undefined) return;
      this.#state.timer.cancel();
    }
    this.#state = { kind: "Due" };
    queueMicrotask(() => this.#begin());
  }

  #begin(): void {
    if (this.#state.kind !== "Due") return;
    this.#changed = false;
    const done = this.#report();
    this.#state = { kind: "Writing", done };
  }

  async #report(): Promise<void> {
    const waiting = this.#urgent;
    this.#urgent = [];
    const { durationMs, error } = await this.#write();
    for (const { resolve, reject } of waiting) {
      if (error === undefined) resolve();
      else reject(error);
    }
    const startedMs = this.#ports.clock.monotonic() - durationMs;
    this.#notBeforeMs = startedMs + Math.max(firstReportMs, writeShare * durationMs);
    if (this.#state.kind !== "Writing") return;
    this.#state = { kind: "Idle" };
    if (this.#urgent.length > 0) this.#hurry();
    else if (this.#changed) this.changed();
  }

  #refuse(): void {
    const error = new MillraceError("Cancelled", "the run is over");
    for (const { reject } of this.#urgent) reject(error);
    this.#urgent = [];
  }
}
