import type { Ports } from "../../../engine/clock.ts";
import type { ItemResult, RunEvent, StepError, StepResult } from "../../../engine/outcome.ts";
import type { Plan } from "../../../engine/plan.ts";
import { formatDuration, formatFuel } from "../terminal/durations.ts";
import { printable } from "../terminal/printable.ts";
import { codeWords, itemCounts } from "../terminal/row-words.ts";

/** What a person sees of a run while it goes on, on stderr: stdout is the output's alone. */
export interface RunView {
  onEvent(event: RunEvent): void;
  /** Something to be said of the run as a whole. */
  note(text: string): void;
  /** Idempotent; draws the last state and leaves the terminal as it was. */
  end(): void;
}

/** How many of a fan-out's items came to what. */
interface ItemCounts {
  readonly total: number;
  succeeded: number;
  failed: number;
  cancelled: number;
}

/** What the views know of a step. */
export interface StepView {
  startedAt: number | undefined;
  endedAt: number | undefined;
  retrying: { readonly attempt: number; readonly error: StepError } | undefined;
  /** Of a fan-out that knows its list. */
  items: ItemCounts | undefined;
  result: StepResult | undefined;
}

/** All steps of a run, kept up by its events. */
export class StepViews {
  readonly #plan: Plan;
  readonly #views: readonly StepView[];
  readonly #ports: Ports;

  constructor(plan: Plan, ports: Ports) {
    this.#plan = plan;
    this.#ports = ports;
    this.#views = plan.steps.map(() => ({
      startedAt: undefined,
      endedAt: undefined,
      retrying: undefined,
      items: undefined,
      result: undefined,
    }));
  }

  apply(event: RunEvent): StepView {
    const view = this.at(event.step);
    switch (event.type) {
      case "StepStarted":
        this.#start(event.step);
        view.retrying = undefined;
        break;
      case "StepRetrying":
        view.retrying = event;
        break;
      case "ItemsListed":
        this.#start(event.step);
        view.items = { total: event.total, succeeded: 0, failed: 0, cancelled: 0 };
        break;
      case "ItemFinished":
        if (view.items !== undefined) count(view.items, event.result);
        break;
      case "StepFinished":
        view.endedAt = this.#ports.clock.monotonic();
        view.result = event.result;
        break;
      default:
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

  /** With the step start those that brought in its Pipeline, and that one's. */
  #start(step: number): void {
    const { steps } = this.#plan;
    const now = this.#ports.clock.monotonic();
    this.at(step).startedAt ??= now;
    for (let enter = steps[steps[step]?.frame ?? -1]; enter?.enter !== undefined; enter = steps[enter.frame]) {
      this.at(enter.enter.exit).startedAt ??= now;
    }
  }
}

function count(items: ItemCounts, { state }: ItemResult): void {
  if (state === "Succeeded") items.succeeded += 1;
  else if (state === "Failed") items.failed += 1;
  else items.cancelled += 1;
}

/** What there is to say of a step besides its state and its time; may be empty. */
export function detailText({ result, retrying, items }: StepView): string {
  const counts = items === undefined ? [] : [itemCounts(items)];
  if (result !== undefined) return [...counts, ...outcomeText(result), ...fuelText(result)].join(", ");
  return [
    ...counts,
    ...(retrying === undefined ? [] : [`attempt ${retrying.attempt}: ${errorText(retrying.error)}`]),
  ].join(", ");
}

function fuelText(result: StepResult): readonly string[] {
  return result.state === "Skipped" || result.fuel === undefined ? [] : [formatFuel(result.fuel)];
}

function outcomeText(result: StepResult): readonly string[] {
  switch (result.state) {
    case "Succeeded":
      if (result.reason !== undefined) return [result.reason];
      return result.attempts > 1 ? [`after ${result.attempts} attempts`] : [];
    case "Failed":
      return [`${result.reason === undefined ? "" : `${result.reason}: `}${errorText(result.error)}`];
    default:
      return [result.reason];
  }
}

/** `Unavailable: connection refused`. */
export function errorText(error: StepError): string {
  return printable(`${codeWords(error)}: ${error.message}`);
}
