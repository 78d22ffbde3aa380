import type { Timer } from "../../../engine/clock.ts";
import type { Execution } from "../../api/types.ts";
import type { CliContext } from "../context.ts";
import { LiveText } from "../terminal/live-text.ts";
import { type TerminalStyle, terminalStyle } from "../terminal/terminal.ts";
import type { ViewLine } from "../terminal/view-lines.ts";
import { executionView } from "./execution-view.ts";

/** How often durations and bars move on while nothing else changes, in milliseconds. */
const tickMs = 1_000;

/** An Execution drawn in place on a terminal, anew after each change and each second. */
export class LiveExecution {
  readonly #context: CliContext;
  readonly #finallySteps: (execution: Execution) => Promise<ReadonlySet<string>>;
  readonly #text: LiveText;
  #execution: Execution | undefined;
  #known: { readonly revision: string; readonly names: ReadonlySet<string> } | undefined;
  #timer: Timer | undefined;

  constructor(context: CliContext, finallySteps: (execution: Execution) => Promise<ReadonlySet<string>>) {
    this.#context = context;
    this.#finallySteps = finallySteps;
    this.#text = new LiveText(context.stdout);
  }

  async show(execution: Execution): Promise<void> {
    await this.#learn(execution);
    this.#execution = execution;
    this.#draw();
    this.#timer ??= this.#tick();
  }

  end(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#execution === undefined) return;
    this.#text.end(this.#lines(this.#execution, this.#style()));
    this.#execution = undefined;
  }

  /** The revision does not change once it is recorded. */
  async #learn(execution: Execution): Promise<void> {
    const revision = execution.status?.pipelineRevision ?? "";
    if (this.#known?.revision === revision) return;
    this.#known = { revision, names: await this.#finallySteps(execution) };
  }

  #tick(): Timer {
    return this.#context.ports.scheduler.after(tickMs, () => {
      this.#draw();
      this.#timer = this.#tick();
    });
  }

  #draw(): void {
    if (this.#execution === undefined) return;
    const style = this.#style();
    this.#text.draw(this.#lines(this.#execution, style), style);
  }

  #style(): TerminalStyle {
    return terminalStyle(this.#context.stdout, this.#context.env);
  }

  #lines(execution: Execution, style: TerminalStyle): readonly ViewLine[] {
    const finallySteps = this.#known?.names ?? new Set<string>();
    return executionView(execution, { finallySteps, style, nowMs: this.#context.ports.clock.now() });
  }
}
