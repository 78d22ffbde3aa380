import { toMillraceError } from "../../../engine/errors.ts";
import type { Outcome, RunError } from "../../../engine/outcome.ts";
import type { StepRow } from "../../api/types.ts";
import { failure, progressOf, type Verdict } from "../status.ts";

/** What the run's outcome is judged by, besides itself. */
export interface Judged {
  readonly rows: readonly StepRow[];
  /** A success that could not be stored. */
  readonly storeError: RunError | undefined;
  readonly cancel: "Graceful" | "Immediate";
  /** Names of the steps of `finally`. */
  readonly finally: ReadonlySet<string>;
}

/** How a run ended, for its conditions and its event. */
export function verdictOf(outcome: Outcome, { rows, storeError, cancel, finally: last }: Judged): Verdict {
  if (outcome.state === "Cancelled") return cancelledVerdict(cancel, rows, last);
  const error = outcome.error ?? storeError;
  if (error !== undefined) return inFinally(failure(error, rows), error, last);
  if (outcome.state === "Succeeded") return { phase: "Succeeded", message: summaryOf(rows) };
  return { phase: "Failed", reason: "Internal", message: "the run failed and the engine gave no error" };
}

/** A step of `finally` that fails is told of, and changes nothing. */
function cancelledVerdict(cancel: Judged["cancel"], rows: readonly StepRow[], last: Judged["finally"]): Verdict {
  const failed = rows.find(({ name, state, reason }) => last.has(name) && state === "Failed" && reason === undefined);
  const told = failed?.error && `; finally step "${failed.name}" failed: ${failed.error.code}: ${failed.error.message}`;
  return { phase: "Cancelled", message: `Cancelled by spec.cancel: ${cancel}${told ?? ""}` };
}

/** Of a run that pauses. */
export function suspendedVerdict(rows: readonly StepRow[]): Verdict {
  const message = `Suspended by spec.suspend, ${progressOf(rows)} steps have ended; set it to false, and the run goes on`;
  return { phase: "Suspended", message };
}

/** Of a run that goes on: what runs now. */
export function runningVerdict(rows: readonly StepRow[]): Verdict {
  const running = rows.filter((row) => row.state === "Running" || row.state === "Retrying").map(nameOf);
  const shown = running.slice(0, 5).join(", ");
  const more = running.length > 5 ? ` and ${running.length - 5} more` : "";
  return { phase: "Running", message: running.length === 0 ? "Running" : `Running ${shown}${more}` };
}

/** Why a run cannot begin, or go on. */
export function refusedVerdict(thrown: unknown, what: string): Verdict {
  const { code, message } = toMillraceError(thrown);
  return { phase: "Failed", reason: code, message: `${what}: ${message}` };
}

function nameOf({ name, items }: StepRow): string {
  if (items === undefined) return name;
  return `${name} (${items.succeeded + items.failed + (items.cancelled ?? 0)} of ${items.total} items)`;
}

function inFinally(verdict: Verdict, { step }: RunError, last: ReadonlySet<string>): Verdict {
  if (step === undefined || !last.has(step)) return verdict;
  return { ...verdict, message: verdict.message.replace("step ", "finally step ") };
}

/** What a run that went well consisted of. */
function summaryOf(rows: readonly StepRow[]): string {
  const counted = new Map<string, number>();
  for (const row of rows) {
    const what = kindOf(row);
    counted.set(what, (counted.get(what) ?? 0) + 1);
  }
  const succeeded = counted.get("succeeded") ?? 0;
  const rest = kinds.filter((kind) => counted.has(kind)).map((kind) => `${counted.get(kind)} ${kind}`);
  return [`${succeeded} ${succeeded === 1 ? "step" : "steps"} succeeded`, ...rest].join(", ");
}

/** In the order in which a summary tells them. */
const kinds = ["reused", "cached", "ignored", "failed", "skipped"] as const;

function kindOf({ state, reason }: StepRow): "succeeded" | (typeof kinds)[number] {
  if (state === "Failed") return reason === "Ignored" ? "ignored" : "failed";
  if (state !== "Succeeded") return "skipped";
  if (reason === "Reused") return "reused";
  return reason === "Cached" ? "cached" : "succeeded";
}
