import type { StepError, StepResult } from "../../../engine/outcome.ts";
import type { FanOutRow, PayloadRef, PayloadRow, StepRow, StepRowError } from "../../api/types.ts";
import { defined } from "../objects.ts";
import { maxMessageBytes, shortened } from "../status.ts";

export function startedRow(row: StepRow, attempt: number, nowMs: number): StepRow {
  const { error: _error, ...rest } = row;
  return { ...rest, state: "Running", attempts: attempt, startTime: row.startTime ?? startOf(nowMs) };
}

/** A fan-out that knows its list: its items have the attempts, it has none. */
export function listedRow(row: StepRow, nowMs: number): StepRow {
  return { ...row, state: "Running", startTime: row.startTime ?? startOf(nowMs) };
}

/** The error of the attempt before is shown until the next one starts. */
export function retryingRow(row: StepRow, attempt: number, error: StepError): StepRow {
  return { ...row, state: "Retrying", attempts: attempt, error: rowError(error) };
}

/** How what a step gave is held: as a value, or durably in the store. */
export interface HeldResult {
  readonly output?: PayloadRow;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly metadataPayload?: PayloadRef;
  readonly log?: PayloadRef;
  /** The whole message of an error that is cut in the row. */
  readonly full?: PayloadRef;
  readonly items?: FanOutRow;
}

/** `durationMs` counts from the start of the first attempt. */
export function finishedRow(row: StepRow, result: StepResult, held: HeldResult, durationMs: number): StepRow {
  const { name, startTime, request, processor } = row;
  if (result.state === "Skipped") return { name, state: "Skipped", reason: result.reason };
  const { output, metadata, metadataPayload } = result.state === "Succeeded" ? held : ({} as HeldResult);
  return defined<StepRow>({
    name,
    state: result.state,
    reason: result.reason,
    attempts: result.attempts,
    startTime,
    durationMs: startTime === undefined ? undefined : Math.max(0, Math.round(durationMs)),
    fuel: result.fuel,
    output,
    metadata,
    metadataPayload,
    error: result.state === "Failed" ? rowError(result.error, held.full) : undefined,
    items: held.items ?? row.items,
    log: held.log ?? row.log,
    request,
    processor,
  });
}

/** To the millisecond: who looks at a run wants to see in which order its steps ran. */
function startOf(nowMs: number): string {
  return new Date(nowMs).toISOString();
}

function rowError({ code, kind, message, processorCode }: StepError, full?: PayloadRef): StepRowError {
  return {
    code,
    kind,
    message: shortened(message, maxMessageBytes),
    ...(processorCode === undefined ? {} : { processorCode: processorCode.slice(0, 256) }),
    ...(full === undefined ? {} : { full }),
  };
}
