import type { RunError, SkipReason } from "../../engine/outcome.ts";
import { observedConditions } from "../api/observed.ts";
import type {
  ActiveTime,
  Condition,
  ExecutionOwner,
  ExecutionStatus,
  NamedOutputRow,
  PayloadRow,
  StepRow,
} from "../api/types.ts";
import { timestamp } from "../runtime/conditions.ts";

/** What a message in a row, a condition or an event may take, in bytes of UTF-8. */
export const maxMessageBytes = 1024;

/** The reason of a run, and of its rows, that its Pipeline's timeout ended. */
export const pipelineTimeout = "PipelineTimeout";

/** How a run stands, as the conditions tell it. Without a `reason` it is the phase. */
export type Verdict =
  | { readonly phase: "Pending" | "Failed"; readonly reason: string; readonly message: string }
  | { readonly phase: "Queued" | "Running" | "Suspended" | "Succeeded"; readonly message: string }
  /** `reason`: `Replaced`, for example. */
  | { readonly phase: "Cancelled"; readonly reason?: string; readonly message: string };

export interface StatusFacts {
  readonly verdict: Verdict;
  readonly generation: number;
  /** As they are recorded now: what keeps its status keeps its time. */
  readonly conditions: readonly Condition[];
  readonly rows: readonly StepRow[];
  readonly owner?: ExecutionOwner;
  readonly pipelineRevision?: string;
  readonly startTime?: string;
  readonly active?: ActiveTime;
  readonly output?: PayloadRow;
  readonly outputs?: readonly NamedOutputRow[];
}

/** A run's status, whole. `completionTime` is `nowMs` when the verdict is final. */
export function renderStatus(facts: StatusFacts, nowMs: number): ExecutionStatus {
  const { verdict, generation, rows, owner, pipelineRevision, startTime, active, output, outputs = [] } = facts;
  return {
    observedGeneration: generation,
    phase: verdict.phase,
    conditions: conditionsFor(verdict, generation, facts.conditions, nowMs),
    ...(rows.length === 0 ? {} : { progress: progressOf(rows) }),
    ...(startTime === undefined ? {} : { startTime }),
    ...(isFinal(verdict) ? { completionTime: timestamp(nowMs) } : {}),
    ...(active === undefined ? {} : { active }),
    ...(pipelineRevision === undefined ? {} : { pipelineRevision }),
    ...(owner === undefined ? {} : { owner }),
    ...(rows.length === 0 ? {} : { steps: rows }),
    ...(output === undefined ? {} : { output }),
    ...(outputs.length === 0 ? {} : { outputs }),
  };
}

function isFinal({ phase }: Verdict): boolean {
  return phase === "Succeeded" || phase === "Failed" || phase === "Cancelled";
}

const goingOn = { Succeeded: "Unknown", Ready: "Unknown", Reconciling: "True" } as const;

/** The conditions of a phase; one that is not named here is absent. */
const table = {
  Pending: goingOn,
  Queued: goingOn,
  Running: goingOn,
  Suspended: goingOn,
  Succeeded: { Succeeded: "True", Complete: "True", Ready: "True" },
  Failed: { Succeeded: "False", Complete: "True", Ready: "False", Stalled: "True" },
  Cancelled: { Succeeded: "False", Complete: "True", Ready: "False", Stalled: "True" },
} as const satisfies Record<Verdict["phase"], Readonly<Record<string, Condition["status"]>>>;

/** CamelCase and stable. */
export function reasonOf(verdict: Verdict): string {
  return ("reason" in verdict ? verdict.reason : undefined) ?? verdict.phase;
}

export function conditionsFor(
  verdict: Verdict,
  generation: number,
  previous: readonly Condition[],
  nowMs: number,
): readonly Condition[] {
  const reason = reasonOf(verdict);
  const message = shortened(verdict.message, maxMessageBytes);
  const observed = observedConditions({ conditions: previous });
  return Object.entries(table[verdict.phase]).map(([type, status]) => {
    const before = observed.find((condition) => condition.type === type);
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

/** Every row as it is when a run ends without being run on: what was running is cancelled, what had not begun is skipped. */
export function cancelledRows(rows: readonly StepRow[], reason: SkipReason): readonly StepRow[] {
  return rows.map((row) => {
    if (isFinalRow(row)) return row;
    if (row.state === "Waiting") return { name: row.name, state: "Skipped", reason };
    const { error: _error, ...rest } = row;
    return { ...rest, state: "Cancelled", reason };
  });
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

/** The text, or as much of it as fits and an ellipsis; never half a character. */
export function shortened(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text;
  const cut = Buffer.from(text, "utf8").subarray(0, maxBytes - 3);
  return `${new TextDecoder().decode(cut).replace(/\uFFFD+$/, "")}…`;
}
