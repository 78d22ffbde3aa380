import type { ExecutionStatus, FanOutRow, StepRow } from "../../api/types.ts";
import { shortened, type Verdict } from "../status.ts";

/** From this size on, rows say less, so that a status stays below {@link maxStatusBytes}. In bytes of JSON. */
const comfortableStatusBytes = 384 * 1024;

/** What a status may take; etcd takes objects of some 1.5 MiB, and every write costs its size. In bytes of JSON. */
export const maxStatusBytes = 512 * 1024;

/** What a message keeps in a large status; the whole one is in the store then. In bytes. */
export const shortMessageBytes = 160;

export type Fitted<S> = { readonly status: S } | { readonly tooLargeBytes: number };

/** Each leaves out what is missed least of what the one before left. */
const reductions: readonly ((row: StepRow) => StepRow)[] = [
  withShortMessages,
  ({ startTime: _startTime, durationMs: _durationMs, ...row }) => withFewItems(row),
  // Then `retryFrom` runs the step again instead of taking its result over.
  ({ request: _request, processor: _processor, ...row }) => row,
];

/** Whether the status is small enough to say everything. */
export function isComfortable(status: ExecutionStatus): boolean {
  return jsonBytes(status) <= comfortableStatusBytes;
}

/** A large status within its limits: the larger it is, the less its rows say; one that is still too large is refused. */
export function fitted<S extends ExecutionStatus>(status: S): Fitted<S> {
  let { steps = [] } = status;
  let bytes = 0;
  for (const reduce of reductions) {
    steps = steps.map(reduce);
    const smaller = { ...status, steps };
    bytes = jsonBytes(smaller);
    if (bytes <= maxStatusBytes) return { status: smaller };
  }
  return { tooLargeBytes: bytes };
}

/** The verdict of a run whose status is over its limit. */
export function tooLarge(bytes: number): Verdict {
  const what = `the status would take ${bytes} bytes, and the limit is ${maxStatusBytes}`;
  const mend = "give its steps shorter names, let fewer of them log, or split the Pipeline";
  return { phase: "Failed", reason: "PayloadTooLarge", message: `${what}; ${mend}` };
}

/** Rows without what makes them large. */
export function bareRows(rows: readonly StepRow[]): readonly StepRow[] {
  return rows.map((row) => {
    const { name, state, reason, attempts, error } = withShortMessages(row);
    return {
      name,
      state,
      ...(reason === undefined ? {} : { reason }),
      ...(attempts === undefined ? {} : { attempts }),
      ...(error === undefined ? {} : { error }),
    };
  });
}

function withShortMessages(row: StepRow): StepRow {
  const { error } = row;
  return error === undefined
    ? row
    : { ...row, error: { ...error, message: shortened(error.message, shortMessageBytes) } };
}

/** Everything about the items is in `results`. */
function withFewItems(row: StepRow): StepRow {
  if (row.items === undefined) return row;
  const { done: _done, failures = [], ...items } = row.items;
  const few: FanOutRow = failures.length === 0 ? items : { ...items, failures: failures.slice(0, 1) };
  return { ...row, items: few };
}

function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
