import type { StepRow } from "../../api/types.ts";
import { formatDuration, formatFuel } from "../terminal/durations.ts";
import { printable, printableLines } from "../terminal/printable.ts";
import { glyphOf, stateWords } from "../terminal/row-words.ts";
import type { TerminalStyle } from "../terminal/terminal.ts";
import { padded, shortenedEnd, shortenedMiddle, textWidth, wrapped } from "../terminal/text-width.ts";
import type { LineRank, ViewLine } from "../terminal/view-lines.ts";
import { ganttBar, rowDurationMs, type TimeAxis, timeAxis } from "./gantt.ts";
import { itemFailures, rowErrorText } from "./item-failures.ts";
import { type RowLine, type RowNode, rowLines, rowTree } from "./row-tree.ts";

export interface RowsViewOptions {
  readonly rows: readonly StepRow[];
  /** Names of the steps of `finally`, which stand apart. */
  readonly finallySteps: ReadonlySet<string>;
  readonly style: TerminalStyle;
  /** Wall-clock time in milliseconds since the epoch. */
  readonly nowMs: number;
}

/** Widths in columns; 0: the column is not there. */
interface Columns {
  readonly name: number;
  readonly words: number;
  readonly tries: number;
  readonly duration: number;
  readonly fuel: number;
  readonly bar: number;
}

const glyphWidth = 2;
const gap = 2;
const leastName = 8;
const leastBar = 14;
const mostWords = 26;

/** The rows as a tree with what each came to and a bar of when it ran; no line is wider than the terminal. */
export function rowsView(options: RowsViewOptions): readonly ViewLine[] {
  const { rows, finallySteps, style, nowMs } = options;
  const isFinally = ({ name }: StepRow) => finallySteps.has(name);
  const main = rowLines(rowTree(rows.filter((row) => !isFinally(row))));
  const after = rowLines(rowTree(rows.filter(isFinally)));
  const columns = columnsFor([...main, ...after], style.columns, nowMs);
  const axis = timeAxis(rows, nowMs);
  const drawn = (lines: readonly RowLine[]) =>
    lines.flatMap((line) => [
      { text: rowText(line, columns, axis, options), rank: rankOf(line) },
      ...below(line, style).map(other),
    ]);
  return [...drawn(main), ...(after.length === 0 ? [] : [other(style.colors.dim("finally")), ...drawn(after)])];
}

function other(text: string): ViewLine {
  return { text, rank: "Other" };
}

/** A step that brings in a Pipeline runs while one of the inner ones does, and fails as one of them did. */
function rankOf({ node }: RowLine): LineRank {
  if (node.inner.length > 0) return "Other";
  const state = node.row?.state;
  if (state === "Running" || state === "Retrying") return "Running";
  return state === "Failed" ? "Failed" : "Other";
}

function columnsFor(lines: readonly RowLine[], width: number, nowMs: number): Columns {
  const longest = (text: (line: RowLine) => string) =>
    lines.reduce((most, line) => Math.max(most, textWidth(text(line))), 0);
  const name = longest(({ prefix, node }) => `${prefix}${node.label}`);
  const words = Math.min(
    longest(({ node }) => stateWords(node.row)),
    mostWords,
  );
  const tries = longest(({ node }) => triesText(node.row));
  const duration = longest(({ node }) => durationText(timedRow(node, nowMs), nowMs));
  const fuel = longest(({ node }) => fuelText(node.row));
  const fixed =
    glyphWidth + [words, tries, duration, fuel].reduce((sum, part) => sum + (part === 0 ? 0 : part + gap), 0);
  const fittingName = Math.min(name, Math.max(leastName, width - fixed - gap - leastBar));
  const bar = width - fixed - fittingName - gap;
  if (bar >= leastBar) return { name: fittingName, words, tries, duration, fuel, bar };
  // No room for a bar: then the words give way to the name and the numbers.
  const narrowName = Math.min(name, Math.max(leastName, width - fixed));
  const narrowWords = Math.max(0, Math.min(words, words - (fixed + narrowName - width)));
  return { name: narrowName, words: narrowWords, tries, duration, fuel, bar: 0 };
}

function rowText(
  { node, prefix }: RowLine,
  columns: Columns,
  axis: TimeAxis | undefined,
  { style, nowMs }: RowsViewOptions,
): string {
  const { row, label } = node;
  const { colors } = style;
  const name = `${prefix}${shortenedMiddle(printable(label), columns.name - textWidth(prefix))}`;
  const cells = [padded(shortenedEnd(name, columns.name), columns.name)];
  if (columns.words > 0) cells.push(padded(shortenedEnd(stateWords(row), columns.words), columns.words));
  if (columns.tries > 0) cells.push(triesText(row).padStart(columns.tries));
  const timed = timedRow(node, nowMs);
  if (columns.duration > 0) cells.push(durationText(timed, nowMs).padStart(columns.duration));
  if (columns.fuel > 0) cells.push(fuelText(row).padStart(columns.fuel));
  const text = cells.join(" ".repeat(gap));
  const bar = timed === undefined || axis === undefined ? "" : ganttBar(timed, axis, columns.bar, nowMs);
  if (bar === "") return `${glyphOf(row, style)} ${text.trimEnd()}`;
  return `${glyphOf(row, style)} ${text}${" ".repeat(gap)}${inColor(row, bar, colors)}`;
}

/** The row that says when it ran: of a step that brings in a Pipeline, from the first of the inner ones to the last. */
function timedRow({ row, inner }: RowNode, nowMs: number): StepRow | undefined {
  if (inner.length === 0 || row?.startTime !== undefined) return row;
  const rows = inner.flatMap((node) => timedRow(node, nowMs) ?? []);
  const axis = timeAxis(rows, nowMs);
  if (axis === undefined) return row;
  const startTime = new Date(axis.fromMs).toISOString();
  return { ...(row ?? { name: "", state: "Running" }), startTime, durationMs: axis.toMs - axis.fromMs };
}

function inColor(row: StepRow | undefined, bar: string, colors: TerminalStyle["colors"]): string {
  if (row?.state === "Failed") return row.reason === "Ignored" ? colors.yellow(bar) : colors.red(bar);
  return row?.state === "Succeeded" ? colors.green(bar) : colors.cyan(bar);
}

function triesText(row: StepRow | undefined): string {
  return row?.attempts !== undefined && row.attempts > 1 ? `×${row.attempts}` : "";
}

function durationText(row: StepRow | undefined, nowMs: number): string {
  const durationMs = row === undefined ? undefined : rowDurationMs(row, nowMs);
  return durationMs === undefined ? "" : formatDuration(durationMs);
}

function fuelText(row: StepRow | undefined): string {
  return row?.fuel === undefined ? "" : formatFuel(row.fuel);
}

/** What went wrong, and the first items that did, below the row. */
function below({ node, indent }: RowLine, style: TerminalStyle): readonly string[] {
  const { row } = node;
  if (row === undefined) return [];
  const lead = `${" ".repeat(glyphWidth)}${indent}${node.inner.length > 0 ? "│ " : "  "}`;
  const { error, items, reason } = row;
  const ignored = items !== undefined && reason !== undefined ? `${printable(reason)}: ` : "";
  const texts = [
    ...(error === undefined ? [] : [`${ignored}${rowErrorText(error, items)}`]),
    ...(error?.full === undefined ? [] : [`all of it is payload ${error.full.ref}`]),
    ...(items === undefined ? [] : itemFailures(items)),
  ];
  return texts.flatMap((text) => textBelow(text, lead, style));
}

function textBelow(text: string, lead: string, { columns, colors }: TerminalStyle): readonly string[] {
  const width = Math.max(10, columns - textWidth(lead));
  return printableLines(text)
    .flatMap((line) => wrapped(line, width))
    .map((line) => `${lead}${colors.dim(line)}`.trimEnd());
}
