import type { ErrorCode } from "./errors.ts";
import type { Json, JsonObject } from "./payload.ts";
import type { Intent } from "./processor.ts";

/** A Pipeline as the engine takes it: durations in milliseconds, defaults filled in, all else as in the API. */
export interface PipelineDefinition {
  readonly name: string;
  readonly failurePolicy: FailurePolicy;
  /** From 1 to 1,000. */
  readonly maxParallelSteps: number;
  /** Absent: no limit on the whole run. */
  readonly timeoutMs?: number;
  readonly parameters: readonly ParameterDefinition[];
  /** From 1 to 1,000. */
  readonly steps: readonly StepDefinition[];
  /** CEL; absent: the payload of the only sink. */
  readonly output?: string;
}

/**
 * Continue: dependents of a failed step are skipped, independent branches finish.
 * FailFast: nothing new starts, running steps are aborted.
 */
export type FailurePolicy = "Continue" | "FailFast";

export interface ParameterDefinition {
  readonly name: string;
  /** Absent: the parameter is required. */
  readonly default?: Json;
}

export interface StepDefinition {
  /** A DNS label, unique in its Pipeline. */
  readonly name: string;
  readonly processor: string;
  readonly dependsOn: readonly string[];
  /** Merged over the Processor's, key by key. */
  readonly options: JsonObject;
  /** CEL. */
  readonly input?: string;
  /** CEL, bool. */
  readonly when?: string;
  /** Absent fields inherit from the Processor. */
  readonly timeoutMs?: number;
  readonly retry?: PartialRetryPolicy;
}

export interface RetryPolicy {
  /** Retries after the first attempt. */
  readonly limit: number;
  readonly backoff: Backoff;
  /** Which codes are worth another attempt; a declared failure is retried when the processor says it is retryable. */
  readonly codes: readonly ErrorCode[];
}

export interface Backoff {
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
  /** From 0 to 100: how far a delay may stray from its value, either way. */
  readonly jitterPercent: number;
}

export interface PartialRetryPolicy {
  readonly limit?: number;
  readonly backoff?: Partial<Backoff>;
  readonly codes?: readonly ErrorCode[];
}

/** What a Pipeline's compilation needs to know of a Processor that it names. */
export interface ProcessorFacts {
  readonly name: string;
  readonly intent: Intent;
  readonly options: JsonObject;
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
}

/** Something that makes a definition unfit to run. */
export interface Problem {
  /** Where, from the spec on: `steps[2].when`, `steps[0].dependsOn[1]`, `output`. */
  readonly path: string;
  /** CamelCase and stable: the condition's reason. */
  readonly reason: ProblemReason;
  /** What is wrong and why, naming the steps; one sentence. */
  readonly message: string;
  /** What would be right; one sentence. */
  readonly mend: string;
}

export type ProblemReason =
  | "DuplicateStep"
  | "StepNotFound"
  | "Cycle"
  | "ProcessorNotFound"
  | "AmbiguousPayload"
  | "AmbiguousOutput"
  | "InvalidExpression"
  | "InvalidOptions"
  | "InvalidParameter"
  | "InvalidInputSchema"
  | "OptionsTooLarge";
