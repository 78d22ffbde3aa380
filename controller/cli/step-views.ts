import type { Ports } from "../../engine/clock.ts";
import type { RunEvent, StepError, StepResult } from "../../engine/outcome.ts";
import type { Plan } from "../../engine/plan.ts";

import { printable } from "./printable.ts";

/** What a person sees of a run while it goes on, on stderr: stdout is the output's alone. */
export interface RunView {
  onEvent(event: RunEvent): void;
  /** Idempotent; draws the last state and leaves the terminal as it was. */
  end(): void;
}

/** How a duration reads: `12ms`, `3.4s`, `2m05s`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1_000) return `${Math.round(durationMs)}ms`;
  if (durationMs < 59_950) return `${(durationMs / 1_000).toFixed(1)}s`;
  const seconds = Math.round(durationMs / 1_000);
  return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, "0")}s`;
}

/** What the views know of a step. */
export interface StepView {
  startedAt: number | undefined;
  endedAt: number | undefined;
  retrying: { readonly attempt: number; readonly error: StepError } | undefined;
  result: StepResult | undefined;
}

/** All steps of a run, kept up by its events. */
export class StepViews {
  readonly #views: readonly StepView[];
  readonly #ports: Ports;

  constructor(plan: Plan, ports: Ports) {
    this.#ports = ports;
    this.#views = plan.steps.map(() => ({
      startedAt: undefined,
      endedAt: undefined,
      retrying: undefined,
      result: undefined,
    }));
  }

  apply(event: RunEvent): StepView {
    const view = this.at(event.step);
    const now = this.#ports.clock.monotonic();
    if (event.type === "StepStarted") {
      view.startedAt ??= now;
      view.retrying = undefined;
    } else if (event.type === "StepRetrying") {
      view.retrying = event;
    } else {
      view.endedAt = now;
      view.result = event.result;
    }
    return view;
  }

  at(step: number): StepView {
    const view = this.#views[step];
    if (view === undefined) throw new RangeError(`the plan has no step ${step}`);
    return view;
  }

  /** Empty for a step that never started. */
  duration(view: StepView): string {
    if (view.startedAt === undefined) return "";
    return formatDuration((view.endedAt ?? this.#ports.clock.monotonic()) - view.startedAt);
  }
}

/** What there is to say of a step that has ended besides its state; may be empty. */
export function outcomeText(result: StepResult): string {
  switch (result.state) {
    case "Succeeded":
      return result.attempts > 1 ? `after ${result.attempts} attempts` : "";
    case "Failed":
      return errorText(result.error);
    default:
      return result.reason;
  }
}

/** `Unavailable: connection refused`. */
export function errorText(error: StepError): string {
  return printable(`${error.code}: ${error.message}`);
}
