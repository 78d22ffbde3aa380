import { parseDurationMs } from "../api/quantities.ts";
import type { Execution, InlinePipelineSpec } from "../api/types.ts";
import type { CompiledPipeline, PipelineState } from "../catalog.ts";
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
  /** What it runs: the Pipeline as it is now, or the revision that it started with. Not read for a finished one. */
  readonly pipeline: PipelineFacts;
  /** Of a finished one: after how many seconds it goes; absent: never. */
  readonly ttlSeconds?: number;
  /** Wall-clock time, in milliseconds since the epoch. */
  readonly nowMs: number;
}

export type PipelineFacts =
  | { readonly kind: "Missing"; readonly name: string }
  | {
      readonly kind: "NotReady";
      readonly name: string;
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
  | { readonly action: "Resume"; readonly pipeline: CompiledPipeline }
  /** Finished: say that an edit of the spec was seen. */
  | { readonly action: "Acknowledge"; readonly generation: number }
  | { readonly action: "Expire"; readonly atMs: number }
  | { readonly action: "Delete" };

export type WaitReason = "PipelineNotFound" | "PipelineNotReady" | "ProcessorNotReady";

/** Pure. An Acknowledge comes before the ttl that it acknowledges: the write's own event brings the next decision. */
export function decide(facts: Facts): Decision {
  const { execution, isLive, isStopping } = facts;
  if (execution === undefined) return { action: "None", why: "Gone" };
  if (execution.metadata.deletionTimestamp !== undefined) return { action: "None", why: "BeingDeleted" };
  if (isLive) return { action: "Observe" };
  if (isFinished(execution.status)) return decideFinished(execution, facts);
  if (isStopping) return { action: "None", why: "Stopping" };
  if (execution.spec.cancel === "Immediate") {
    return {
      action: "Conclude",
      phase: "Cancelled",
      reason: "Cancelled",
      message: "Cancelled by spec.cancel: Immediate",
    };
  }
  if ((execution.status?.owner?.takeovers ?? 0) >= maxTakeovers) return crashLoop();
  return decideUnfinished(execution, facts);
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
      const message = `Pipeline "${facts.name}" is not ready: ${facts.reason}: ${facts.message}`;
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
  return { action: execution.status?.owner === undefined ? "Start" : "Resume", pipeline };
}

interface Limits {
  readonly execution: Execution;
  readonly nowMs: number;
  readonly timeoutMs: number | undefined;
}

/** A run that began and waits to be resumed has its timeout still: the time counts from `startTime`. */
function wait({ execution, nowMs, timeoutMs }: Limits, reason: WaitReason, message: string): Decision {
  const { startTime } = execution.status ?? {};
  if (startTime === undefined || timeoutMs === undefined) return { action: "Wait", reason, message };
  const overAtMs = Date.parse(startTime) + timeoutMs;
  if (nowMs < overAtMs) return { action: "Wait", reason, message, overAtMs };
  const over = `the run outlived its Pipeline's timeout of ${timeoutMs} ms while it waited to go on: ${message}`;
  return { action: "Conclude", phase: "Failed", reason: pipelineTimeout, message: over };
}

function crashLoop(): Decision {
  const what = `taken over ${maxTakeovers} times in a row without one more recorded step`;
  const message = `${what}: a step seems to bring the controller down; look at its log, mend the step, create the Execution anew`;
  return { action: "Conclude", phase: "Failed", reason: "CrashLoop", message };
}

/** Reasons that an inline spec cannot lose: they are about the spec alone. */
const ownFaults: readonly string[] = [
  "DuplicateStep",
  "StepNotFound",
  "Cycle",
  "InvalidExpression",
  "InvalidParameter",
  "InvalidInputSchema",
  "OptionsTooLarge",
];

/** An inline spec that is not ready: for ever, or until a Processor is there. Throws MillraceError InvalidInput for a timeout that is none. */
export function inlineFacts(
  name: string,
  { timeout }: Pick<InlinePipelineSpec, "timeout">,
  { reason, message }: Extract<PipelineState, { ready: false }>,
): PipelineFacts {
  if (ownFaults.includes(reason)) return { kind: "Invalid", message };
  const limits = timeout === undefined ? {} : { timeoutMs: parseDurationMs(timeout, "spec.pipelineSpec.timeout") };
  return { kind: "NotReady", name, reason, message, ...limits };
}
