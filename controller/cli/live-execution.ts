import { createLogUpdate } from "log-update";
import type { Timer } from "../../engine/clock.ts";
import type { Execution } from "../api/types.ts";
import type { CliContext } from "./context.ts";
import { executionView } from "./execution-view.ts";
import type { ViewLine } from "./rows-view.ts";
import { terminalStyle } from "./terminal.ts";

/** How often durations and bars move on while nothing else changes, in milliseconds. */
const tickMs = 1_000;
/** What is left of the terminal for the cursor's line. */
const linesKept = 1;

/** An Execution drawn in place on a terminal, anew after each change and each second. */
export class LiveExecution {
  readonly #context: CliContext;
  readonly #finallySteps: (execution: Execution) => Promise<ReadonlySet<string>>;
  readonly #log: ReturnType<typeof createLogUpdate>;
  #execution: Execution | undefined;
  #known: { readonly revision: string; readonly names: ReadonlySet<string> } | undefined;
  #timer: Timer | undefined;

  constructor(context: CliContext, finallySteps: (execution: Execution) => Promise<ReadonlySet<string>>) {
    this.#context = context;
    this.#finallySteps = finallySteps;
    // The view writes to the terminal's own stream type, of which log-update wants no more than this.
    this.#log = createLogUpdate(context.stdout as NodeJS.WriteStream);
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
    // Nothing moves any more: all of it may scroll.
    this.#log(textOf(this.#lines(this.#execution)));
    this.#log.done();
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
    const lines = this.#lines(this.#execution);
    const rows = (this.#context.stdout as { readonly rows?: number }).rows ?? 24;
    const height = Math.max(1, rows - linesKept);
    this.#log(textOf(fitting(lines, height)));
  }

  #lines(execution: Execution): readonly ViewLine[] {
    const { stdout, env, ports } = this.#context;
    const finallySteps = this.#known?.names ?? new Set<string>();
    return executionView(execution, { finallySteps, style: terminalStyle(stdout, env), nowMs: ports.clock.now() });
  }
}

/** As many lines as the terminal has, those where something runs: log-update cannot take back what has scrolled away. */
function fitting(lines: readonly ViewLine[], height: number): readonly ViewLine[] {
  const running = lines.findIndex(({ isRunning }) => isRunning);
  const from = Math.max(0, Math.min(running - Math.floor(height / 2), lines.length - height));
  return lines.slice(from, from + height);
}

function textOf(lines: readonly ViewLine[]): string {
  return lines.map(({ text }) => text).join("\n");
}
