import type { Ports, Timer } from "../../../engine/clock.ts";
import type { RunEvent } from "../../../engine/outcome.ts";
import type { Plan } from "../../../engine/plan.ts";
import type { CliContext, TerminalStream } from "../context.ts";
import { type GraphNode, graphNodes } from "../graph/graph-nodes.ts";
import { stepTree } from "../graph/step-tree.ts";
import { LiveText } from "../terminal/live-text.ts";
import { glyphOf } from "../terminal/row-words.ts";
import { type TerminalStyle, terminalStyle } from "../terminal/terminal.ts";
import { padded, shortenedEnd, wrapped } from "../terminal/text-width.ts";
import type { LineRank, ViewLine } from "../terminal/view-lines.ts";
import { detailText, type RunView, type StepView, StepViews } from "./step-views.ts";

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"] as const;
const asciiFrames = ["|", "/", "-", "\\"] as const;
const frameMs = 80;

interface LiveRow {
  readonly step: number;
  /** With the characters that lead to it. */
  readonly label: string;
}

/** The tree of steps, drawn again in place while the run goes on. */
export class LiveView implements RunView {
  readonly #stream: TerminalStream;
  readonly #env: CliContext["env"];
  readonly #ports: Ports;
  readonly #views: StepViews;
  readonly #text: LiveText;
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
    this.#text = new LiveText(stderr);
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
    this.#text.end(this.#lines(this.#style()));
  }

  #tick(): void {
    this.#timer = this.#ports.scheduler.after(frameMs, () => {
      this.#frame += 1;
      this.#draw();
      this.#tick();
    });
  }

  #draw(): void {
    const style = this.#style();
    this.#text.draw(this.#lines(style), style);
  }

  #style(): TerminalStyle {
    return terminalStyle(this.#stream, this.#env);
  }

  #lines(style: TerminalStyle): readonly ViewLine[] {
    // A long name leaves at least half of the line to what there is to say.
    const nameWidth = Math.min(this.#nameWidth, Math.floor(style.columns / 2));
    const note = this.#note === undefined ? [] : wrapped(this.#note, style.columns);
    return [
      ...this.#rows.map((row) => this.#line(row, nameWidth, style)),
      ...note.map((text) => ({ text, rank: "Head" as const })),
    ];
  }

  #line({ step, label }: LiveRow, nameWidth: number, style: TerminalStyle): ViewLine {
    const view = this.#views.at(step);
    const name = padded(shortenedEnd(label, nameWidth), nameWidth);
    const detail = shortenedEnd(detailText(view).replaceAll(/\s+/g, " "), style.columns - nameWidth - 12);
    const text = `${this.#glyph(view, style)} ${name} ${this.#views.duration(view).padStart(7)}  ${style.colors.dim(detail)}`;
    return { text: style.symbols(text.trimEnd()), rank: rankOf(view) };
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

function rankOf(view: StepView): LineRank {
  if (isRunning(view)) return "Running";
  return view.result?.state === "Failed" ? "Failed" : "Other";
}

function isRunning(view: StepView): boolean {
  return view.startedAt !== undefined && view.result === undefined;
}
