import type { Ports } from "../../../engine/clock.ts";
import type { RunEvent } from "../../../engine/outcome.ts";
import type { Plan } from "../../../engine/plan.ts";
import type { CliContext, TerminalStream } from "../context.ts";
import { formatDuration } from "../terminal/durations.ts";
import { detailText, errorText, type RunView, StepViews } from "./step-views.ts";

/**
 * A live tree on a terminal, plain lines elsewhere, and where logs are to stand between them. What draws the tree is loaded
 * only for a terminal: loading it takes as long as a short run.
 */
export async function createRunView(plan: Plan, how: "Lines" | "Any", context: CliContext): Promise<RunView> {
  const { stderr, env, ports } = context;
  if (how === "Lines" || stderr.isTTY !== true || env.TERM === "dumb") return new PlainView(plan, stderr, ports);
  const { LiveView } = await import("./live-view.ts");
  return new LiveView(plan, context);
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
      this.note(`${name}: attempt ${event.attempt} failed, the next one in ${delay}: ${errorText(event.error)}`);
    } else if (event.type === "StepFinished") {
      const parts = [event.result.state, this.#views.duration(view), detailText(view)];
      this.note(`${name}: ${parts.filter((part) => part !== "").join(" ")}`);
    }
  }

  note(text: string): void {
    this.#stream.write(`${text}\n`);
  }

  end(): void {}
}
