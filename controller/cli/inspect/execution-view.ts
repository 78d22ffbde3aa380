import type { Execution, ExecutionInput, PayloadRow } from "../../api/types.ts";
import { conditionOf } from "../../execution/objects.ts";
import { formatBytes, formatDuration } from "../terminal/durations.ts";
import { printable, printableLines } from "../terminal/printable.ts";
import type { TerminalStyle } from "../terminal/terminal.ts";
import { shortenedEnd, wrapped } from "../terminal/text-width.ts";
import type { ViewLine } from "../terminal/view-lines.ts";
import { runningTimeMs, timeWords } from "./execution-times.ts";
import { rowsView } from "./rows-view.ts";

export interface ExecutionViewOptions {
  /** Names of the steps of `finally`; what is not known to be one stands with the others. */
  readonly finallySteps: ReadonlySet<string>;
  readonly style: TerminalStyle;
  /** Wall-clock time in milliseconds since the epoch. */
  readonly nowMs: number;
}

/** An Execution for people: what it is, how it stands, and its steps. No line is wider than the terminal. */
export function executionView(execution: Execution, options: ExecutionViewOptions): readonly ViewLine[] {
  const { style } = options;
  const fields = [...identity(execution), ...state(execution, options), ...given(execution), ...gave(execution)];
  const labelWidth = Math.max(...fields.map(({ label }) => label.length)) + 2;
  const rows = rowsView({ ...options, rows: execution.status?.steps ?? [] });
  const blank: readonly ViewLine[] = rows.length === 0 ? [] : [{ text: "", rank: "Other" }];
  const lines = [...fields.flatMap((one) => fieldLines(one, labelWidth, style)), ...blank, ...rows];
  return lines.map(({ text, rank }) => ({ text: style.symbols(text), rank }));
}

/** What stays in sight where there is no room for all, and as many lines of each. */
const leading: ReadonlySet<string> = new Set(["Execution", "Phase", "Message"]);
const leadingLines = 3;

interface Field {
  readonly label: string;
  readonly text: string;
  /** Wrapped: all of it, on several lines. Shortened: what fits on one. */
  readonly overflow: "Wrapped" | "Shortened";
  readonly paint?: (text: string) => string;
}

function field(label: string, text: string | undefined, overflow: Field["overflow"] = "Wrapped"): readonly Field[] {
  return text === undefined || text === "" ? [] : [{ label, text, overflow }];
}

function identity({ metadata, spec, status }: Execution): readonly Field[] {
  const revision = status?.pipelineRevision === undefined ? "" : `, revision ${status.pipelineRevision}`;
  const pipeline = spec.pipeline ?? `its own (spec.pipelineSpec)`;
  const namespace = metadata.namespace === undefined ? "" : `, namespace ${metadata.namespace}`;
  return [...field("Execution", `${metadata.name}${namespace}`), ...field("Pipeline", `${pipeline}${revision}`)];
}

function state({ spec, status }: Execution, { nowMs, style }: ExecutionViewOptions): readonly Field[] {
  const succeeded = conditionOf(status, "Succeeded");
  const phase = status?.phase ?? "Pending";
  const reason = succeeded === undefined || succeeded.reason === phase ? "" : ` (${succeeded.reason})`;
  const progress = status?.progress === undefined ? "" : `, ${status.progress} steps`;
  const ran = runningTimeMs(status, nowMs);
  const { owner } = status ?? {};
  return [
    { label: "Phase", text: `${phase}${reason}${progress}`, overflow: "Wrapped", paint: phaseColor(phase, style) },
    ...field("Message", succeeded?.message),
    ...field("Cancel", spec.cancel === "None" || spec.cancel === undefined ? undefined : spec.cancel),
    ...field("Owner", owner && `${owner.replica}, epoch ${owner.epoch}`),
    ...field("Started", status?.startTime && timeWords(status.startTime)),
    ...field("Ended", status?.completionTime && timeWords(status.completionTime)),
    ...field("Ran", ran === undefined ? undefined : formatDuration(ran)),
  ];
}

function phaseColor(phase: string, { colors }: TerminalStyle): (text: string) => string {
  if (phase === "Succeeded") return colors.green;
  if (phase === "Failed") return colors.red;
  return phase === "Running" ? colors.cyan : colors.yellow;
}

function given({ spec }: Execution): readonly Field[] {
  const parameters = (spec.parameters ?? []).map(({ name, value }) => `${name}=${JSON.stringify(value)}`);
  return [
    ...field("Parameters", parameters.join(", ")),
    ...field("Input", spec.input && inputWords(spec.input), "Shortened"),
    ...field("Priority", (spec.priority ?? 0) === 0 ? undefined : String(spec.priority)),
    ...field("Retry from", spec.retryFrom?.execution),
  ];
}

function inputWords({ json, text, base64, configMapKeyRef, payload }: ExecutionInput): string {
  if (text !== undefined) return `text, ${sizeOf(text)}: ${text}`;
  if (base64 !== undefined) return `${formatBytes(Buffer.from(base64, "base64").byteLength)} in Base64`;
  if (configMapKeyRef !== undefined) return `key ${configMapKeyRef.key} of ConfigMap ${configMapKeyRef.name}`;
  if (payload !== undefined) return `${payload.contentType}, payload ${payload.ref}`;
  return `JSON: ${JSON.stringify(json ?? null)}`;
}

function gave({ status }: Execution): readonly Field[] {
  return [
    ...field("Output", status?.output && payloadWords(status.output), "Shortened"),
    ...(status?.outputs ?? []).flatMap(({ name, value }) =>
      field("Output", `${name}: ${payloadWords(value)}`, "Shortened"),
    ),
  ];
}

function payloadWords({ contentType = "", json, text, base64, payload }: PayloadRow): string {
  if (payload !== undefined) return `${contentType}, ${formatBytes(payload.bytes)}, payload ${payload.ref}`;
  if (text !== undefined) return `${contentType}, ${sizeOf(text)}: ${text}`;
  if (base64 !== undefined) return `${contentType}, ${formatBytes(Buffer.from(base64, "base64").byteLength)}`;
  return `${contentType}: ${JSON.stringify(json ?? null)}`;
}

function sizeOf(text: string): string {
  return formatBytes(Buffer.byteLength(text));
}

function fieldLines(
  { label, text, overflow, paint }: Field,
  labelWidth: number,
  style: TerminalStyle,
): readonly ViewLine[] {
  const width = Math.max(10, style.columns - labelWidth);
  const lines =
    overflow === "Shortened"
      ? [shortenedEnd(printable(text), width)]
      : printableLines(text).flatMap((line) => wrapped(line, width));
  const painted = paint === undefined ? lines : lines.map(paint);
  return painted.map((line, index) => ({
    text: `${style.colors.dim((index === 0 ? label : "").padEnd(labelWidth))}${line}`,
    rank: leading.has(label) && index < leadingLines ? "Head" : "Other",
  }));
}
