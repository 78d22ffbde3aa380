import { createLogUpdate } from "log-update";
import { createColors } from "picocolors";
import type { Ports, Timer } from "../../engine/clock.ts";
import type { Plan } from "../../engine/plan.ts";
import type { RunEvent, StepError, StepResult } from "../../engine/run.ts";
import type { CliContext, TerminalStream } from "./context.ts";
import { stepTree } from "./step-tree.ts";

/** What a person sees of a run while it goes on, on stderr: stdout is the output's alone. */
export interface RunView {
  onEvent(event: RunEvent): void;
  /** Idempotent; draws the last state and leaves the terminal as it was. */
  end(): void;
}

/** A live tree on a terminal, plain lines elsewhere. */
export function createRunView(plan: Plan, context: CliContext): RunView {
  const { stderr, env, ports } = context;
  if (stderr.isTTY === true && env.TERM !== "dumb")
    return new LiveView(plan, stderr, ports, env.NO_COLOR === undefined);
  return new PlainView(plan, stderr, ports);
}

/** How a duration reads: `12ms`, `3.4s`, `2m05s`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1_000) return `${Math.round(durationMs)}ms`;
  if (durationMs < 59_950) return `${(durationMs / 1_000).toFixed(1)}s`;
  const seconds = Math.round(durationMs / 1_000);
  return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, "0")}s`;
}

/** What the views know of a step. */
interface StepView {
  startedAt: number | undefined;
  endedAt: number | undefined;
  retrying: { readonly attempt: number; readonly error: StepError } | undefined;
  result: StepResult | undefined;
}

class StepViews {
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

function outcomeText(result: StepResult): string {
  switch (result.state) {
    case "Succeeded":
      return result.attempts > 1 ? `after ${result.attempts} attempts` : "";
    case "Failed":
      return errorText(result.error);
    default:
      return result.reason;
  }
}

function errorText(error: StepError): string {
  return `${error.code}: ${error.message}`;
}

class PlainView implements RunView {
  readonly #plan: Plan;
  readonly #stream: TerminalStream;
  readonly #views: StepViews;

  constructor(plan: Plan, stream: TerminalStream, ports: Ports) {
    this.#plan = plan;
    this.#stream = stream;
    this.#views = new StepViews(plan, ports);
  }

  onEvent(event: RunEvent): void {
    const view = this.#views.apply(event);
    const name = this.#plan.steps[event.step]?.name ?? "";
    if (event.type === "StepRetrying") {
      const delay = formatDuration(event.delayMs);
      this.#write(`${name}: attempt ${event.attempt} failed, the next one in ${delay}: ${errorText(event.error)}`);
    } else if (event.type === "StepFinished") {
      const parts = [event.result.state, this.#views.duration(view), outcomeText(event.result)];
      this.#write(`${name}: ${parts.filter((part) => part !== "").join(" ")}`);
    }
  }

  end(): void {}

  #write(line: string): void {
    this.#stream.write(`${line}\n`);
  }
}

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"] as const;
const frameMs = 80;
/** What is left of a terminal of 24 lines for a tree that fits. */
const linesKept = 2;

class LiveView implements RunView {
  readonly #plan: Plan;
  readonly #stream: TerminalStream & { readonly rows?: number };
  readonly #ports: Ports;
  readonly #views: StepViews;
  readonly #colors: ReturnType<typeof createColors>;
  readonly #log: ReturnType<typeof createLogUpdate>;
  readonly #rows: ReturnType<typeof stepTree>;
  readonly #nameWidth: number;
  #frame = 0;
  #timer: Timer | undefined;
  #ended = false;

  constructor(plan: Plan, stream: TerminalStream, ports: Ports, withColor: boolean) {
    this.#plan = plan;
    this.#stream = stream;
    this.#ports = ports;
    this.#views = new StepViews(plan, ports);
    this.#colors = createColors(withColor);
    // The view writes to the terminal's own stream type, of which log-update wants no more than this.
    this.#log = createLogUpdate(stream as NodeJS.WriteStream);
    this.#rows = stepTree(plan.steps);
    this.#nameWidth = Math.max(...this.#rows.map((row) => row.prefix.length + this.#name(row.step).length));
    this.#draw();
    this.#tick();
  }

  onEvent(event: RunEvent): void {
    this.#views.apply(event);
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#timer?.cancel();
    this.#log(this.#lines(this.#rows).join("\n"));
    this.#log.done();
  }

  #tick(): void {
    this.#timer = this.#ports.scheduler.after(frameMs, () => {
      this.#frame += 1;
      this.#draw();
      this.#tick();
    });
  }

  /** A tree higher than the terminal shows the part where something runs. */
  #draw(): void {
    const height = Math.max(1, (this.#stream.rows ?? 24) - linesKept);
    const running = this.#rows.findIndex(({ step }) => this.#isRunning(this.#views.at(step)));
    const from = Math.max(0, Math.min(running - Math.floor(height / 2), this.#rows.length - height));
    this.#log(this.#lines(this.#rows.slice(from, from + height)).join("\n"));
  }

  #lines(rows: ReturnType<typeof stepTree>): string[] {
    return rows.map(({ step, prefix }) => {
      const view = this.#views.at(step);
      const name = `${prefix}${this.#name(step)}`.padEnd(this.#nameWidth);
      const width = (this.#stream.columns ?? 80) - this.#nameWidth - 12;
      const detail = this.#detail(view).replaceAll(/\s+/g, " ").slice(0, Math.max(0, width));
      return `${this.#glyph(view)} ${name} ${this.#views.duration(view).padStart(7)}  ${this.#colors.dim(detail)}`.trimEnd();
    });
  }

  #glyph(view: StepView): string {
    const colors = this.#colors;
    switch (view.result?.state) {
      case "Succeeded":
        return colors.green("✔");
      case "Failed":
        return colors.red("✖");
      case "Skipped":
      case "Cancelled":
        return colors.yellow("–");
      default:
        return this.#isRunning(view) ? colors.cyan(frames[this.#frame % frames.length] ?? "") : colors.dim("·");
    }
  }

  #detail(view: StepView): string {
    if (view.result !== undefined) return outcomeText(view.result);
    return view.retrying === undefined ? "" : `attempt ${view.retrying.attempt}: ${errorText(view.retrying.error)}`;
  }

  #isRunning(view: StepView): boolean {
    return view.startedAt !== undefined && view.result === undefined;
  }

  #name(step: number): string {
    return this.#plan.steps[step]?.name ?? "";
  }
}
