import { createLogUpdate } from "log-update";
import type { Ports, Timer } from "../../engine/clock.ts";
import type { RunEvent } from "../../engine/outcome.ts";
import type { Plan } from "../../engine/plan.ts";
import type { CliContext, TerminalStream } from "./context.ts";
import { type GraphNode, graphNodes } from "./graph-nodes.ts";
import { glyphOf } from "./row-words.ts";
import { stepTree } from "./step-tree.ts";
import { detailText, type RunView, type StepView, StepViews } from "./step-views.ts";
import { type TerminalStyle, terminalStyle } from "./terminal.ts";
import { padded, shortenedEnd } from "./text-width.ts";

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"] as const;
const asciiFrames = ["|", "/", "-", "\\"] as const;
const frameMs = 80;
/** What is left of a terminal of 24 lines for a tree that fits: the cursor's line, and that of a note. */
const linesKept = 3;

interface LiveRow {
  readonly step: number;
  /** With the characters that lead to it. */
  readonly label: string;
}

/** The tree of steps, drawn again in place while the run goes on. */
export class LiveView implements RunView {
  readonly #stream: TerminalStream & { readonly rows?: number };
  readonly #env: CliContext["env"];
  readonly #ports: Ports;
  readonly #views: StepViews;
  readonly #log: ReturnType<typeof createLogUpdate>;
  readonly #rows: readonly LiveRow[];
  readonly #nameWidth: number;
  #frame = 0;
  #timer: Timer | undefined;
  #note: string | undefined;
  #ended = false;

  constructor(plan: Plan, { stderr, env, ports }: CliContext) {
    this.#stream = stderr;
    this.#env = env;
    this.#ports = ports;
    this.#views = new StepViews(plan, ports);
    // The view writes to the terminal's own stream type, of which log-update wants no more than this.
    this.#log = createLogUpdate(stderr as NodeJS.WriteStream);
    const { main, after } = graphNodes(plan);
    this.#rows = [...liveRows(main, ""), ...liveRows(after, "")];
    this.#nameWidth = Math.max(...this.#rows.map(({ label }) => label.length));
    this.#draw();
    this.#tick();
  }

  onEvent(event: RunEvent): void {
    this.#views.apply(event);
  }

  note(text: string): void {
    this.#note = text;
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#timer?.cancel();
    this.#note = undefined;
    this.#log(this.#text(this.#rows));
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
    const running = this.#rows.findIndex(({ step }) => isRunning(this.#views.at(step)));
    const from = Math.max(0, Math.min(running - Math.floor(height / 2), this.#rows.length - height));
    this.#log(this.#text(this.#rows.slice(from, from + height)));
  }

  #text(rows: readonly LiveRow[]): string {
    const style = terminalStyle(this.#stream, this.#env);
    // A long name leaves at least half of the line to what there is to say.
    const nameWidth = Math.min(this.#nameWidth, Math.floor(style.columns / 2));
    const lines = rows.map(({ step, label }) => {
      const view = this.#views.at(step);
      const name = padded(shortenedEnd(label, nameWidth), nameWidth);
      const detail = shortenedEnd(detailText(view).replaceAll(/\s+/g, " "), style.columns - nameWidth - 12);
      return `${this.#glyph(view, style)} ${name} ${this.#views.duration(view).padStart(7)}  ${style.colors.dim(detail)}`.trimEnd();
    });
    return style.symbols([...lines, ...(this.#note === undefined ? [] : [this.#note])].join("\n"));
  }

  #glyph(view: StepView, style: TerminalStyle): string {
    if (view.result !== undefined || !isRunning(view)) return glyphOf(view.result, style);
    const shown = style.isAscii ? asciiFrames : frames;
    return style.colors.cyan(shown[this.#frame % shown.length] ?? "");
  }
}

/** Steps of a Pipeline that is brought in stand under the step that does. */
function liveRows(nodes: readonly GraphNode[], margin: string): readonly LiveRow[] {
  return stepTree(nodes).flatMap(({ step, prefix, indent }) => {
    const node = nodes[step];
    if (node === undefined) return [];
    const row = { step: node.step.index, label: `${margin}${prefix}${node.name}` };
    return [row, ...liveRows(node.group?.nodes ?? [], `${margin}${indent}┊  `)];
  });
}

function isRunning(view: StepView): boolean {
  return view.startedAt !== undefined && view.result === undefined;
}
