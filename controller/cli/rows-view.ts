import type { ItemFailure, StepRow } from "../api/types.ts";
import { formatDuration } from "./durations.ts";
import { ganttBar, rowDurationMs, type TimeAxis, timeAxis } from "./gantt.ts";
import { printable, printableLines } from "./printable.ts";
import { type RowLine, type RowNode, rowLines, rowTree } from "./row-tree.ts";
import { codeWords, glyphOf, stateWords } from "./row-words.ts";
import type { TerminalStyle } from "./terminal.ts";
import { padded, shortenedEnd, shortenedMiddle, textWidth, wrapped } from "./text-width.ts";

export interface RowsViewOptions {
  readonly rows: readonly StepRow[];
  /** Names of the steps of `finally`, which stand apart. */
  readonly finallySteps: ReadonlySet<string>;
  readonly style: TerminalStyle;
  /** Wall-clock time in milliseconds since the epoch. */
  readonly nowMs: number;
}

/** A line of what is shown. */
export interface ViewLine {
  readonly text: string;
  /** Something runs here now. */
  readonly isRunning: boolean;
}

/** Widths in columns; 0: the column is not there. */
interface Columns {
  readonly name: number;
  readonly words: number;
  readonly tries: number;
  readonly duration: number;
  readonly bar: number;
}

const glyphWidth = 2;
const gap = 2;
const leastName = 8;
const leastBar = 14;
const mostWords = 26;
/** Failed items that are shown below their step. */
const mostFailures = 5;

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
      { text: rowText(line, columns, axis, options), isRunning: isRunning(line) },
      ...below(line, style).map(still),
    ]);
  return [...drawn(main), ...(after.length === 0 ? [] : [still(style.colors.dim("finally")), ...drawn(after)])];
}

function still(text: string): ViewLine {
  return { text, isRunning: false };
}

/** A step that brings in a Pipeline runs while one of the inner ones does. */
function isRunning({ node }: RowLine): boolean {
  return node.inner.length === 0 && (node.row?.state === "Running" || node.row?.state === "Retrying");
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
  const fixed = glyphWidth + [words, tries, duration].reduce((sum, part) => sum + (part === 0 ? 0 : part + gap), 0);
  const fittingName = Math.min(name, Math.max(leastName, width - fixed - gap - leastBar));
  const bar = width - fixed - fittingName - gap;
  if (bar >= leastBar) return { name: fittingName, words, tries, duration, bar };
  // No room for a bar: then the words give way to the name and the numbers.
  const narrowName = Math.min(name, Math.max(leastName, width - fixed));
  const narrowWords = Math.max(0, Math.min(words, words - (fixed + narrowName - width)));
  return { name: narrowName, words: narrowWords, tries, duration, bar: 0 };
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

/** What went wrong, and the first items that did, below the row. */
function below({ node, indent }: RowLine, style: TerminalStyle): readonly string[] {
  const { row } = node;
  if (row === undefined) return [];
  const lead = `${" ".repeat(glyphWidth)}${indent}${node.inner.length > 0 ? "│ " : "  "}`;
  const { error, items, reason } = row;
  const failures = items?.failures ?? [];
  const ignored = items !== undefined && reason !== undefined ? `${printable(reason)}: ` : "";
  const lines = [
    ...(error === undefined ? [] : textBelow(`${ignored}${codeWords(error)}: ${error.message}`, lead, style)),
    ...(error?.full === undefined ? [] : textBelow(`all of it is payload ${error.full.ref}`, lead, style)),
    ...failures.slice(0, mostFailures).flatMap((failure) => failureBelow(failure, lead, style)),
  ];
  const more = (items?.failed ?? 0) - Math.min(failures.length, mostFailures);
  return more > 0 && failures.length > 0 ? [...lines, ...textBelow(`and ${more} more`, lead, style)] : lines;
}

function failureBelow({ index, code, message }: ItemFailure, lead: string, style: TerminalStyle): readonly string[] {
  return textBelow(`item ${index}: ${code}: ${message}`, lead, style);
}

function textBelow(text: string, lead: string, { columns, colors }: TerminalStyle): readonly string[] {
  const width = Math.max(10, columns - textWidth(lead));
  return printableLines(text)
    .flatMap((line) => wrapped(line, width))
    .map((line) => `${lead}${colors.dim(line)}`.trimEnd());
}
