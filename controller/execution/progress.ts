import type { Ports, Timer } from "../../engine/clock.ts";

/** A run shorter than this reports nothing but its outcome; in milliseconds. */
export const firstReportMs = 250;

/** Of the time, at most one part in this many goes into writing reports. */
const writeShare = 20;

/** `Idle`: nothing to say, or too early to say it. `Due`: a timer runs. `Writing`: one write is in flight. */
type PacerState =
  | { readonly kind: "Idle" }
  | { readonly kind: "Due"; readonly timer: Timer }
  | { readonly kind: "Writing"; readonly done: Promise<void> }
  | { readonly kind: "Stopped" };

/**
 * When a run reports its progress: first after 250 ms, then when something has changed, at most every
 * max(250 ms, 20 × the last write's duration), one write at a time. No timer runs while there is nothing to say.
 * The duration is that of the request which succeeded: tries before it and the waits between them put off no report.
 */
export class ProgressPacer {
  readonly #ports: Ports;
  readonly #write: () => Promise<number>;
  #state: PacerState = { kind: "Idle" };
  #notBeforeMs: number;
  #changed = false;

  /** Counts from now. `write` gives how long its request took, in milliseconds (0: nothing was written), and must not reject. */
  constructor(ports: Ports, write: () => Promise<number>) {
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

  /** Reports nothing more; waits for the write in flight. Idempotent. */
  async stop(): Promise<void> {
    const state = this.#state;
    this.#state = { kind: "Stopped" };
    if (state.kind === "Due") state.timer.cancel();
    if (state.kind === "Writing") await state.done;
  }

  #begin(): void {
    if (this.#state.kind !== "Due") return;
    this.#changed = false;
    const done = this.#report();
    this.#state = { kind: "Writing", done };
  }

  async #report(): Promise<void> {
    const tookMs = await this.#write();
    const startedMs = this.#ports.clock.monotonic() - tookMs;
    this.#notBeforeMs = startedMs + Math.max(firstReportMs, writeShare * tookMs);
    if (this.#state.kind !== "Writing") return;
    this.#state = { kind: "Idle" };
    if (this.#changed) this.changed();
  }
}
