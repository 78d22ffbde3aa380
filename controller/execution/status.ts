import type { RunError, StepError, StepReason, StepResult } from "../../engine/outcome.ts";
import type { Condition, ExecutionOwner, ExecutionStatus, PayloadRow, StepRow, StepRowError } from "../api/types.ts";
import { timestamp } from "../runtime/conditions.ts";

/** What a message in a row, a condition or an event may take, in bytes of UTF-8. */
export const maxMessageBytes = 1024;

/** From this size on, rows say less, so that a status stays below {@link maxStatusBytes}. In bytes of JSON. */
export const comfortableStatusBytes = 384 * 1024;

/** What a status may take; etcd takes objects of some 1.5 MiB, and every write costs its size. In bytes of JSON. */
export const maxStatusBytes = 512 * 1024;

const shortMessageBytes = 160;

/** The reason of a run, and of its rows, that its Pipeline's timeout ended. */
export const pipelineTimeout = "PipelineTimeout";

/** How a run stands, as the conditions tell it. */
export type Verdict =
  | { readonly phase: "Pending"; readonly reason: string; readonly message: string }
  | { readonly phase: "Running" | "Succeeded" | "Cancelled"; readonly message: string }
  | { readonly phase: "Failed"; readonly reason: string; readonly message: string };

export interface StatusFacts {
  readonly verdict: Verdict;
  readonly generation: number;
  /** As they are recorded now: what keeps its status keeps its time. */
  readonly conditions: readonly Condition[];
  readonly rows: readonly StepRow[];
  readonly owner?: ExecutionOwner;
  readonly pipelineRevision?: string;
  readonly startTime?: string;
  readonly output?: PayloadRow;
}

/** A run's status, whole. `completionTime` is `nowMs` when the verdict is final. */
export function renderStatus(facts: StatusFacts, nowMs: number): ExecutionStatus {
  const { verdict, generation, rows, owner, pipelineRevision, startTime, output } = facts;
  return {
    observedGeneration: generation,
    phase: verdict.phase,
    conditions: conditionsFor(verdict, generation, facts.conditions, nowMs),
    ...(rows.length === 0 ? {} : { progress: progressOf(rows) }),
    ...(startTime === undefined ? {} : { startTime }),
    ...(isFinal(verdict) ? { completionTime: timestamp(nowMs) } : {}),
    ...(pipelineRevision === undefined ? {} : { pipelineRevision }),
    ...(owner === undefined ? {} : { owner }),
    ...(rows.length === 0 ? {} : { steps: rows }),
    ...(output === undefined ? {} : { output }),
  };
}

export function isFinal({ phase }: Verdict): boolean {
  return phase === "Succeeded" || phase === "Failed" || phase === "Cancelled";
}

/** The conditions of a phase; one that is not named here is absent. */
const table = {
  Pending: { Succeeded: "Unknown", Ready: "Unknown", Reconciling: "True" },
  Running: { Succeeded: "Unknown", Ready: "Unknown", Reconciling: "True" },
  Succeeded: { Succeeded: "True", Complete: "True", Ready: "True" },
  Failed: { Succeeded: "False", Complete: "True", Ready: "False", Stalled: "True" },
  Cancelled: { Succeeded: "False", Complete: "True", Ready: "False", Stalled: "True" },
} as const satisfies Record<Verdict["phase"], Readonly<Record<string, Condition["status"]>>>;

export function conditionsFor(
  verdict: Verdict,
  generation: number,
  previous: readonly Condition[],
  nowMs: number,
): readonly Condition[] {
  const reason = "reason" in verdict ? verdict.reason : verdict.phase;
  const message = shortened(verdict.message, maxMessageBytes);
  return Object.entries(table[verdict.phase]).map(([type, status]) => {
    const before = previous.find((condition) => condition.type === type);
    const lastTransitionTime = before?.status === status ? before.lastTransitionTime : timestamp(nowMs);
    return { type, status, observedGeneration: generation, lastTransitionTime, reason, message };
  });
}

/** The same conditions, speaking of another generation: what a finished Execution does about an edit of its ttl. */
export function withGeneration(conditions: readonly Condition[], generation: number): readonly Condition[] {
  return conditions.map((condition) => ({ ...condition, observedGeneration: generation }));
}

/** Whether two sets of conditions say the same, whenever they began to. */
export function saySame(a: readonly Condition[], b: readonly Condition[]): boolean {
  const said = (conditions: readonly Condition[]) =>
    conditions
      .map(({ type, status, reason, message, observedGeneration }) =>
        JSON.stringify([type, status, reason, message, observedGeneration ?? 0]),
      )
      .sort()
      .join("\n");
  return said(a) === said(b);
}

const finalStates: readonly StepRow["state"][] = ["Succeeded", "Failed", "Skipped", "Cancelled"];

/** Whether the row never changes again. */
export function isFinalRow({ state }: StepRow): boolean {
  return finalStates.includes(state);
}

/** Final rows of all rows: `3/4`. */
export function progressOf(rows: readonly StepRow[]): string {
  return `${rows.filter(isFinalRow).length}/${rows.length}`;
}

export function startedRow(row: StepRow, attempt: number, nowMs: number): StepRow {
  return { ...row, state: "Running", attempts: attempt, startTime: row.startTime ?? timestamp(nowMs) };
}

/** The error of the attempt before is shown until the next one starts. */
export function retryingRow(row: StepRow, attempt: number, error: StepError): StepRow {
  return { ...row, state: "Retrying", attempts: attempt, error: rowError(error) };
}

/** `output` is how a success's payload is held; `durationMs` counts from the start of the first attempt. */
export function finishedRow(
  row: StepRow,
  result: StepResult,
  output: PayloadRow | undefined,
  durationMs: number,
): StepRow {
  const { name, startTime, processor } = row;
  const ran = {
    ...(startTime === undefined ? {} : { startTime, durationMs: Math.max(0, Math.round(durationMs)) }),
    ...(processor === undefined ? {} : { processor }),
  };
  switch (result.state) {
    case "Skipped":
      return { name, state: "Skipped", reason: result.reason };
    case "Cancelled":
      return { name, state: "Cancelled", reason: result.reason, attempts: result.attempts, ...ran };
    case "Failed":
      return { name, state: "Failed", attempts: result.attempts, error: rowError(result.error), ...ran };
    case "Succeeded": {
      const metadata = Object.keys(result.metadata).length === 0 ? {} : { metadata: result.metadata };
      return { name, state: "Succeeded", attempts: result.attempts, ...(output && { output }), ...metadata, ...ran };
    }
  }
}

/** Every row as it is when a run ends without being run on: what was running is cancelled, what had not begun is skipped. */
export function cancelledRows(rows: readonly StepRow[], reason: StepReason): readonly StepRow[] {
  return rows.map((row) => {
    if (isFinalRow(row)) return row;
    if (row.attempts === undefined) return { name: row.name, state: "Skipped", reason };
    const { error: _error, ...rest } = row;
    return { ...rest, state: "Cancelled", reason };
  });
}

function rowError({ code, kind, message, processorCode }: StepError): StepRowError {
  return {
    code,
    kind,
    message: shortened(message, maxMessageBytes),
    ...(processorCode === undefined ? {} : { processorCode: processorCode.slice(0, 256) }),
  };
}

/** Why a run failed, for its conditions and its event. */
export function failure(error: RunError, rows: readonly StepRow[]): Verdict {
  if (error.step === undefined) {
    const reason = error.code === "DeadlineExceeded" ? pipelineTimeout : error.code;
    return { phase: "Failed", reason, message: error.message };
  }
  const attempts = rows.find(({ name }) => name === error.step)?.attempts ?? 1;
  const times = attempts > 1 ? ` after ${attempts} attempts` : "";
  const code = error.processorCode === undefined ? error.code : `${error.code} (${error.processorCode})`;
  return {
    phase: "Failed",
    reason: "StepFailed",
    message: `step "${error.step}" failed${times}: ${code}: ${error.message}`,
  };
}

export type Fitted<S> = { readonly status: S } | { readonly tooLargeBytes: number };

/** The status within its limits: a large one says less in its rows' messages; one that is still too large is refused. */
export function fitted<S extends ExecutionStatus>(status: S): Fitted<S> {
  if (jsonBytes(status) <= comfortableStatusBytes || status.steps === undefined) return { status };
  const steps = status.steps.map((row) =>
    row.error === undefined
      ? row
      : { ...row, error: { ...row.error, message: shortened(row.error.message, shortMessageBytes) } },
  );
  const smaller = { ...status, steps };
  const bytes = jsonBytes(smaller);
  return bytes <= maxStatusBytes ? { status: smaller } : { tooLargeBytes: bytes };
}

/** The verdict of a run whose status is over its limit. */
export function tooLarge(bytes: number): Verdict {
  const what = `the status would take ${bytes} bytes, and the limit is ${maxStatusBytes}`;
  const mend = "let its steps give fewer metadata, or split the Pipeline";
  return { phase: "Failed", reason: "PayloadTooLarge", message: `${what}; ${mend}` };
}

/** Rows without what makes them large. */
export function bareRows(rows: readonly StepRow[]): readonly StepRow[] {
  return rows.map((row) => {
    const { output: _output, metadata: _metadata, error, ...rest } = row;
    return error === undefined
      ? rest
      : { ...rest, error: { ...error, message: shortened(error.message, shortMessageBytes) } };
  });
}

function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

/** The text, or as much of it as fits and an ellipsis; never half a character. */
export function shortened(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text;
  const cut = Buffer.from(text, "utf8").subarray(0, maxBytes - 3);
  return `${new TextDecoder().decode(cut).replace(/\uFFFD+$/, "")}…`;
}
