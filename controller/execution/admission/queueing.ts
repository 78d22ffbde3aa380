import type { Execution } from "../../api/types.ts";
import type { ConcurrencyRule } from "../../catalog.ts";
import { conditionOf } from "../objects.ts";
import { firstReportMs } from "../run/progress.ts";
import type { Verdict } from "../status.ts";
import type { FullLimit } from "./admission.ts";

/** What a decision about an Execution that waits for a place needs. */
export interface QueueFacts {
  readonly execution: Execution;
  /** Since when it waits, as this process knows; in milliseconds since the epoch. */
  readonly sinceMs: number;
  /** The limit that keeps it waiting; absent: only its turn in this process does. */
  readonly full?: FullLimit;
  /** Of its Pipeline; absent: none. */
  readonly rule?: ConcurrencyRule;
  /** One that runs, of the same Pipeline; for a message. */
  readonly runs?: string;
  /** How many wait in this process. */
  readonly waiting: number;
  /** When this process last said how many are before it; absent: not yet. */
  readonly saidAtMs?: number;
  /** Wall-clock time, in milliseconds since the epoch. */
  readonly nowMs: number;
}

export type QueueDecision =
  | {
      readonly action: "Conclude";
      readonly phase: "Failed";
      readonly reason: "ConcurrencyForbidden" | "QueueTimeout";
      readonly message: string;
    }
  /** Nothing is to be written now; look again then, if not earlier. */
  | { readonly action: "Wait"; readonly againAtMs?: number }
  | {
      readonly action: "Say";
      readonly verdict: Verdict;
      /** Since when it is in the queue; absent: it waits for its turn in this process alone. */
      readonly queuedSinceMs?: number;
      readonly againAtMs?: number;
    };

/** How many are before it is told anew this often at most, in milliseconds, … */
const retellMs = 60_000;

/** … and so seldom that all that wait make ten writes a second together. */
const retellEachMs = 100;

/** Pure. What becomes of an Execution that could run and has no place. */
export function decideQueued(facts: QueueFacts): QueueDecision {
  const { execution, full, rule, nowMs } = facts;
  const { status } = execution;
  const hasBegun = status?.owner !== undefined;
  if (!hasBegun && full?.of === "Pipeline" && rule?.policy === "Forbid") return forbidden(facts, full);
  const isQueued = status?.phase === "Queued";
  if (full === undefined && !isQueued) return turnOnly(execution);
  const queuedSinceMs = Date.parse(status?.queuedSince ?? "") || facts.sinceMs;
  const overAtMs = hasBegun ? undefined : overAt(queuedSinceMs, rule);
  if (overAtMs !== undefined && overAtMs <= nowMs) return timedOut(rule?.queueTimeoutMs ?? 0);
  const againAtMs = (atMs: number) => Math.min(atMs, overAtMs ?? Number.POSITIVE_INFINITY);
  if (!isQueued && nowMs - facts.sinceMs < firstReportMs) {
    return { action: "Wait", againAtMs: againAtMs(facts.sinceMs + firstReportMs) };
  }
  const intervalMs = Math.max(retellMs, facts.waiting * retellEachMs);
  const retellAtMs = (facts.saidAtMs ?? nowMs) + intervalMs;
  if (full === undefined || (isSaid(execution, full) && nowMs < retellAtMs)) {
    return { action: "Wait", againAtMs: againAtMs(Math.max(retellAtMs, nowMs + firstReportMs)) };
  }
  const message = `${limitText(execution, full)}; ${before(full)}`;
  const verdict = { phase: "Queued", message } as const;
  return { action: "Say", verdict, queuedSinceMs, againAtMs: againAtMs(nowMs + intervalMs) };
}

/** A wait for its turn is not reported; only that it is suspended must not be said any more. */
function turnOnly({ status }: Execution): QueueDecision {
  if (status?.phase !== "Suspended") return { action: "Wait" };
  const message = "Waits for its turn in the controller";
  return { action: "Say", verdict: { phase: "Pending", reason: "Pending", message } };
}

function overAt(sinceMs: number, rule: ConcurrencyRule | undefined): number | undefined {
  return rule?.queueTimeoutMs === undefined ? undefined : sinceMs + rule.queueTimeoutMs;
}

function timedOut(timeoutMs: number): QueueDecision {
  const message = `no place became free within the Pipeline's concurrency.queueTimeout of ${timeoutMs} ms; raise it or concurrency.limit, and create the Execution anew`;
  return { action: "Conclude", phase: "Failed", reason: "QueueTimeout", message };
}

function forbidden({ execution, runs }: QueueFacts, { limit }: FullLimit): QueueDecision {
  const running = runs === undefined ? "" : `, and Execution "${runs}" is running`;
  const message = `Pipeline "${execution.spec.pipeline ?? ""}" allows ${limit} at a time (concurrency.policy: Forbid)${running}; create it when that has ended`;
  return { action: "Conclude", phase: "Failed", reason: "ConcurrencyForbidden", message };
}

/** Whether the status names that limit, whatever it says of the others in the queue. */
function isSaid(execution: Execution, full: FullLimit): boolean {
  const { status, metadata } = execution;
  const said = conditionOf(status, "Reconciling");
  if (said === undefined || status?.phase !== "Queued") return false;
  if ((said.observedGeneration ?? 0) < (metadata.generation ?? 1)) return false;
  return said.message.startsWith(`${limitText(execution, full)}; `);
}

function limitText({ metadata, spec }: Execution, { of, limit }: FullLimit): string {
  if (of === "Pipeline")
    return `Waits for a place: Pipeline "${spec.pipeline ?? ""}" runs ${limit} at a time (concurrency.limit)`;
  return `Waits for a place: namespace "${metadata.namespace ?? ""}" runs ${limit} at a time (--max-executions-per-namespace)`;
}

function before({ before: count }: FullLimit): string {
  return count === 0 ? "it is the next" : `${count} ${count === 1 ? "is" : "are"} before it`;
}
