import type { StepRow } from "../../api/types.ts";

/** When a run's steps ran, on one axis; in milliseconds since the epoch. */
export interface TimeAxis {
  readonly fromMs: number;
  readonly toMs: number;
}

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** From the first step's start to the last one's end; `nowMs` is the end of what runs. Undefined: nothing has run. */
export function timeAxis(rows: readonly StepRow[], nowMs: number): TimeAxis | undefined {
  const spans = rows.flatMap((row) => spanOf(row, nowMs) ?? []);
  if (spans.length === 0) return undefined;
  const fromMs = spans.reduce((least, span) => Math.min(least, span.fromMs), Number.POSITIVE_INFINITY);
  const toMs = spans.reduce((most, span) => Math.max(most, span.toMs), fromMs);
  return { fromMs, toMs };
}

/** The row's part of the axis in that many columns, at least one of them; empty for a step that has not run. */
export function ganttBar(row: StepRow, axis: TimeAxis, width: number, nowMs: number): string {
  const span = spanOf(row, nowMs);
  if (span === undefined || width < 1) return "";
  const lengthMs = axis.toMs - axis.fromMs;
  const scale = lengthMs <= 0 ? 0 : width / lengthMs;
  const from = Math.min(Math.floor((span.fromMs - axis.fromMs) * scale), width - 1);
  const end = lengthMs <= 0 ? width : Math.min(Math.ceil((span.toMs - axis.fromMs) * scale), width);
  return `${" ".repeat(from)}${"█".repeat(Math.max(1, end - from))}`;
}

/** How long the row's step has taken until now, in milliseconds; undefined: it has not started. */
export function rowDurationMs(row: StepRow, nowMs: number): number | undefined {
  const span = spanOf(row, nowMs);
  return span === undefined ? undefined : span.toMs - span.fromMs;
}

function spanOf({ startTime, durationMs, state }: StepRow, nowMs: number): Span | undefined {
  const fromMs = startTime === undefined ? Number.NaN : Date.parse(startTime);
  if (Number.isNaN(fromMs)) return undefined;
  if (durationMs !== undefined) return { fromMs, toMs: fromMs + durationMs };
  const isRunning = state === "Running" || state === "Retrying";
  return { fromMs, toMs: isRunning ? Math.max(fromMs, nowMs) : fromMs };
}
