import { parseDurationMs } from "../api/quantities.ts";
import type { Execution, InlinePipelineSpec } from "../api/types.ts";
import type { CompiledPipeline, NamedObjects, PipelineState } from "../catalog.ts";
import { activeMs } from "./active.ts";
import { conditionOf, isFinished } from "./objects.ts";
import { maxTakeovers } from "./ownership.ts";
import { pipelineTimeout } from "./status.ts";

/** Everything that a decision about one Execution needs; all reads are done before. */
export interface Facts {
  /** As the reflector has it; absent: there is none. */
  readonly execution: Execution | undefined;
  /** Whether it runs in this process. */
  readonly isLive: boolean;
  /** This process takes no more work. */
  readonly isStopping: boolean;
  /** By `concurrency.policy: Replace`: the newer Execution that takes its place. */
  readonly replacedBy?: string;
  /** What it runs: the Pipeline as it is now, or the revision that it started with. Not read for one that is finished or stays suspended. */
  readonly pipeline: PipelineFacts;
  /** Of an inline spec: what it names, whose change may end a wait. */
  readonly names?: NamedObjects;
  /** Of a finished one: after how many seconds it goes; absent: never. */
  readonly ttlSeconds?: number;
  /** Wall-clock time, in milliseconds since the epoch. */
  readonly nowMs: number;
}

export type PipelineFacts =
  | { readonly kind: "Missing"; readonly name: string }
  | {
      readonly kind: "NotReady";
      /** Absent: it is the Execution's own, inline. */
      readonly name?: string;
      readonly reason: string;
      readonly message: string;
      /** Of an inline spec: its `timeout`, in milliseconds. */
      readonly timeoutMs?: number;
    }
  /** An inline spec that no change of any Processor would make right. */
  | { readonly kind: "Invalid"; readonly message: string }
  /** What it started with is gone, or does not compile any more. */
  | { readonly kind: "RevisionLost"; readonly reason: string; readonly message: string }
  | {
      readonly kind: "Ready";
      readonly pipeline: CompiledPipeline;
      /** A Processor that cannot be called yet, and why. */
      readonly waitingFor?: { readonly processor: string; readonly why: string };
    };

/** What is due, with its reason. */
export type Decision =
  /** There is no such Execution, or nothing to do about it. */
  | { readonly action: "None"; readonly why: "Gone" | "BeingDeleted" | "Stopping" | "Settled" }
  /** It runs here: tell the run what the spec says now. */
  | { readonly action: "Observe" }
  /** It runs here, and a newer one takes its place: abort it. */
  | { readonly action: "Replace"; readonly message: string }
  /** It does not run, and shall not: say so. */
  | { readonly action: "Suspend"; readonly message: string }
  /** Not startable yet, or not resumable. */
  | {
      readonly action: "Wait";
      readonly reason: WaitReason;
      readonly message: string;
      /** When the timeout of a run that began is over, on the clock of `nowMs`; absent: none runs. */
      readonly overAtMs?: number;
    }
  /** It will never run, or not on: record the outcome. */
  | {
      readonly action: "Conclude";
      readonly phase: "Failed" | "Cancelled";
      readonly reason: string;
      readonly message: string;
    }
  | { readonly action: "Start"; readonly pipeline: CompiledPipeline }
  /** `cancel`: no step of the graph runs any more, those of `finally` do. */
  | { readonly action: "Resume"; readonly pipeline: CompiledPipeline; readonly cancel?: "Graceful" }
  /** Finished: say that an edit of the spec was seen. */
  | { readonly action: "Acknowledge"; readonly generation: number }
  | { readonly action: "Expire"; readonly atMs: number }
  | { readonly action: "Delete" };

export type WaitReason = "PipelineNotFound" | "PipelineNotReady" | "ProcessorNotReady";

/** Pure. An Acknowledge comes before the ttl that it acknowledges: the write's own event brings the next decision. */
export function decide(facts: Facts): Decision {
  const { execution, isLive, isStopping, replacedBy } = facts;
  if (execution === undefined) return { action: "None", why: "Gone" };
  if (execution.metadata.deletionTimestamp !== undefined) return { action: "None", why: "BeingDeleted" };
  if (isLive)
    return replacedBy === undefined ? { action: "Observe" } : { action: "Replace", message: newer(replacedBy) };
  if (isFinished(execution.status)) return decideFinished(execution, facts);
  if (isStopping) return { action: "None", why: "Stopping" };
  const ended = decideEnd(execution, replacedBy);
  if (ended !== undefined) return ended;
  if (staysSuspended(execution)) return { action: "Suspend", message: suspendedMessage(execution) };
  if ((execution.status?.owner?.takeovers ?? 0) >= maxTakeovers) return crashLoop();
  return decideUnfinished(execution, facts);
}

/** Whether it pauses. A Graceful cancellation ends the pause: `finally` is to run. */
export function staysSuspended({ spec }: Execution): boolean {
  return spec.suspend && spec.cancel === "None";
}

/** Why it ends without running on; undefined: it does not. */
function decideEnd(execution: Execution, replacedBy: string | undefined): Decision | undefined {
  const { spec, status } = execution;
  const end = { action: "Conclude", phase: "Cancelled", reason: "Cancelled" } as const;
  if (spec.cancel === "Immediate") return { ...end, message: "Cancelled by spec.cancel: Immediate" };
  if (spec.cancel === "Graceful" && status?.owner === undefined) {
    return { ...end, message: "Cancelled by spec.cancel: Graceful, before it began; no step ran" };
  }
  if (replacedBy !== undefined) return { ...end, reason: "Replaced", message: newer(replacedBy) };
  return undefined;
}

function newer(name: string): string {
  return `Replaced by the newer Execution "${name}" (concurrency.policy: Replace)`;
}

function suspendedMessage({ status }: Execution): string {
  const began = status?.owner !== undefined;
  const what = began ? `, ${status?.progress ?? "some"} steps have ended` : " before it began";
  return `Suspended by spec.suspend${what}; set it to false, and the run ${began ? "goes on" : "starts"}`;
}

function decideFinished(execution: Execution, { ttlSeconds, nowMs }: Facts): Decision {
  const { status, metadata } = execution;
  const generation = metadata.generation ?? 1;
  if ((status?.observedGeneration ?? 0) < generation) return { action: "Acknowledge", generation };
  if (ttlSeconds === undefined) return { action: "None", why: "Settled" };
  const finishedAt = status?.completionTime ?? conditionOf(status, "Complete")?.lastTransitionTime ?? "";
  const finishedAtMs = Date.parse(finishedAt);
  if (Number.isNaN(finishedAtMs)) return { action: "None", why: "Settled" };
  const atMs = finishedAtMs + ttlSeconds * 1000;
  return atMs <= nowMs ? { action: "Delete" } : { action: "Expire", atMs };
}

function decideUnfinished(execution: Execution, { pipeline: facts, nowMs }: Facts): Decision {
  switch (facts.kind) {
    case "Missing":
      return {
        action: "Wait",
        reason: "PipelineNotFound",
        message: `Pipeline "${facts.name}" does not exist in this namespace; create it`,
      };
    case "NotReady": {
      const what = facts.name === undefined ? "spec.pipelineSpec" : `Pipeline "${facts.name}"`;
      const message = `${what} is not ready: ${facts.reason}: ${facts.message}`;
      return wait({ execution, nowMs, timeoutMs: facts.timeoutMs }, "PipelineNotReady", message);
    }
    case "Invalid":
      return {
        action: "Conclude",
        phase: "Failed",
        reason: "InvalidInput",
        message: `spec.pipelineSpec: ${facts.message}`,
      };
    case "RevisionLost":
      return { action: "Conclude", phase: "Failed", reason: facts.reason, message: facts.message };
    case "Ready":
      break;
  }
  const { pipeline, waitingFor } = facts;
  if (waitingFor !== undefined) {
    const message = `Processor "${waitingFor.processor}" is not ready: ${waitingFor.why}`;
    return wait({ execution, nowMs, timeoutMs: pipeline.plan.timeoutMs }, "ProcessorNotReady", message);
  }
  if (execution.status?.owner === undefined) return { action: "Start", pipeline };
  return { action: "Resume", pipeline, ...(execution.spec.cancel === "Graceful" ? { cancel: "Graceful" } : {}) };
}

interface Limits {
  readonly execution: Execution;
  readonly nowMs: number;
  readonly timeoutMs: number | undefined;
}

/** A run that began and waits to be resumed has its timeout still; while it was queued or suspended, it did not run. */
function wait({ execution, nowMs, timeoutMs }: Limits, reason: WaitReason, message: string): Decision {
  const { startTime, active } = execution.status ?? {};
  const runs = active === undefined ? startTime !== undefined : active.since !== undefined;
  if (!runs || timeoutMs === undefined) return { action: "Wait", reason, message };
  const overAtMs = nowMs + timeoutMs - activeMs(execution.status ?? {}, nowMs);
  if (nowMs < overAtMs) return { action: "Wait", reason, message, overAtMs };
  const over = `the run outlived its Pipeline's timeout of ${timeoutMs} ms while it waited to go on: ${message}`;
  return { action: "Conclude", phase: "Failed", reason: pipelineTimeout, message: over };
}

function crashLoop(): Decision {
  const what = `taken over ${maxTakeovers} times in a row without one more recorded step`;
  const message = `${what}: a step seems to bring the controller down; look at its log, mend the step, create the Execution anew`;
  return { action: "Conclude", phase: "Failed", reason: "CrashLoop", message };
}

/**
 * Reasons that an inline spec is not expected to lose: they are about the spec, and waiting for them would hide a mistake. What
 * a Processor's schemas or a Pipeline that is brought in say may be behind an expression or a parameter; an edit of them that
 * is applied together with the Execution may come too late for it.
 */
const ownFaults: readonly string[] = [
  "DuplicateStep",
  "StepNotFound",
  "Cycle",
  "InvalidExpression",
  "InvalidParameter",
  "InvalidInputSchema",
  "InvalidOutput",
  "OptionsTooLarge",
];

/** An inline spec that is not ready: for ever, or until a Processor is there. Throws MillraceError InvalidInput for a timeout that is none. */
export function inlineFacts(
  { timeout }: Pick<InlinePipelineSpec, "timeout">,
  { reason, message }: Extract<PipelineState, { ready: false }>,
): PipelineFacts {
  if (ownFaults.includes(reason)) return { kind: "Invalid", message };
  const limits = timeout === undefined ? {} : { timeoutMs: parseDurationMs(timeout, "spec.pipelineSpec.timeout") };
  return { kind: "NotReady", reason, message, ...limits };
}
