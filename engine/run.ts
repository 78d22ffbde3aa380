import type { Ports } from "./clock.ts";
import type { ErrorCode, ErrorKind } from "./errors.ts";
import type { Metadata } from "./metadata.ts";
import type { JsonObject, Payload } from "./payload.ts";
import type { Plan } from "./plan.ts";
import type { ExecutionIdentity, ProcessorRequest, ProcessorResponse } from "./processor.ts";

/** One attempt of one step, to be made by a backend. */
export interface Attempt {
  /** Index into the plan's steps. */
  readonly step: number;
  readonly stepName: string;
  readonly processor: string;
  /** From 1. */
  readonly attempt: number;
  readonly idempotencyKey: string;
  /** The shorter of the step's timeout and what is left of the Pipeline's. */
  readonly timeoutMs: number;
  readonly execution: ExecutionIdentity;
}

/** Makes one attempt: deadline, limits and error translation are its work, retries are not. Throws only MillraceError. */
export type Invoke = (attempt: Attempt, request: ProcessorRequest, signal: AbortSignal) => Promise<ProcessorResponse>;

export type StepState = "Waiting" | "Running" | "Retrying" | "Succeeded" | "Failed" | "Skipped" | "Cancelled";

/** Why a step was skipped or cancelled; a documented closed set. */
export type StepReason =
  | "WhenFalse"
  | "UpstreamSkipped"
  | "UpstreamFailed"
  | "FailFast"
  | "PipelineTimeout"
  | "Cancelled";

export interface StepError {
  readonly code: ErrorCode;
  readonly kind: ErrorKind;
  readonly message: string;
  /** A declared failure's own code. */
  readonly processorCode?: string;
}

/** A step that has ended, as it is recorded and as a resumed run takes it back. */
export type StepResult =
  | {
      readonly state: "Succeeded";
      /** The step's own output; of an Analyze step the payload that passed through it. */
      readonly output: Payload;
      readonly metadata: Metadata;
      readonly attempts: number;
    }
  | { readonly state: "Failed"; readonly error: StepError; readonly attempts: number }
  | { readonly state: "Skipped"; readonly reason: StepReason }
  | { readonly state: "Cancelled"; readonly reason: StepReason; readonly attempts: number };

/** What happens in a run, in the order in which it happens. Delivered synchronously; a listener must not throw. */
export type RunEvent =
  | { readonly type: "StepStarted"; readonly step: number; readonly attempt: number }
  | {
      readonly type: "StepRetrying";
      readonly step: number;
      readonly attempt: number;
      readonly error: StepError;
      readonly delayMs: number;
    }
  | { readonly type: "StepFinished"; readonly step: number; readonly result: StepResult };

export interface RunOptions {
  readonly execution: ExecutionIdentity;
  readonly input: Payload;
  /** Complete: defaults are filled in by `bindParameters`. */
  readonly parameters: JsonObject;
  readonly invoke: Invoke;
  readonly ports: Ports;
  /** Immediate cancellation, and shutdown: running attempts are aborted, every row ends final. */
  readonly signal: AbortSignal;
  /** Steps that ended in an earlier part of this run, by name; they are not run again. */
  readonly recorded?: ReadonlyMap<string, StepResult>;
  /** Attempts already started by an earlier part of this run, by step name, so that attempts are counted on. */
  readonly attempts?: ReadonlyMap<string, number>;
  /** How much of the Pipeline's timeout an earlier part of this run used up, in milliseconds. */
  readonly elapsedMs?: number;
  readonly onEvent?: (event: RunEvent) => void;
}

export interface Outcome {
  readonly state: "Succeeded" | "Failed" | "Cancelled";
  /** By the plan's step index. */
  readonly steps: readonly StepResult[];
  /** Set exactly when the run succeeded. */
  readonly output?: Payload;
  /** Set exactly when it did not. */
  readonly error?: RunError;
}

/** The first failure that decided the run; `step` is absent when it was no step's (the output expression, the Pipeline's timeout). */
export interface RunError extends StepError {
  readonly step?: string;
}

/**
 * Runs a plan to its end. Never rejects: whatever happens, every row ends final. It ends as soon as the signal aborts or
 * the Pipeline's timeout is over, also when an attempt in flight does not; what such an attempt gives later is dropped.
 */
export function run(plan: Plan, options: RunOptions): Promise<Outcome> {
  return Promise.reject(new Error(`not yet ${plan.name} ${options.execution.name}`));
}
