import { createLogUpdate } from "log-update";
import { createColors } from "picocolors";
import type { Ports, Timer } from "../../engine/clock.ts";
import type { RunEvent } from "../../engine/outcome.ts";
import type { Plan } from "../../engine/plan.ts";
import type { TerminalStream } from "./context.ts";
import { stepTree } from "./step-tree.ts";
import { errorText, outcomeText, type RunView, type StepView, StepViews } from "./step-views.ts";

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"] as const;
const frameMs = 80;
/** What is left of a terminal of 24 lines for a tree that fits. */
const linesKept = 2;

/** The tree of steps, drawn again in place while the run goes on. */
export class LiveView implements RunView {
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
    const columns = this.#stream.columns ?? 80;
    // A long name leaves at least half of the line to what there is to say.
    const nameWidth = Math.min(this.#nameWidth, Math.floor(columns / 2));
    return rows.map(({ step, prefix }) => {
      const view = this.#views.at(step);
      const name = shortened(`${prefix}${this.#name(step)}`, nameWidth).padEnd(nameWidth);
      const detail = shortened(this.#detail(view).replaceAll(/\s+/g, " "), columns - nameWidth - 12);
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

/** The text in at most that many characters, and an ellipsis where something is missing. */
function shortened(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}
