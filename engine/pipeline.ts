import type { ErrorCode } from "./errors.ts";
import type { Json, JsonObject } from "./payload.ts";
import type { Intent } from "./processor.ts";

/** A Pipeline as the engine takes it: durations in milliseconds, defaults filled in, all else as in the API. */
export interface PipelineDefinition {
  readonly name: string;
  readonly strategy: StrategyName;
  readonly failurePolicy: FailurePolicy;
  /** From 1 to 1,000. */
  readonly maxParallelSteps: number;
  /** Absent: no limit on the whole run. */
  readonly timeoutMs?: number;
  readonly parameters: readonly ParameterDefinition[];
  /** JSON Schema of the input, for the types of expressions and for an inlined Pipeline's Enter. */
  readonly inputSchema?: JsonObject;
  readonly maxInputBytes: number;
  /** From 1 to 1,000. */
  readonly steps: readonly StepDefinition[];
  /** At most 32; they run when all else has ended. `dependsOn` names others of them only. */
  readonly finally: readonly StepDefinition[];
  readonly finallyTimeoutMs: number;
  /** CEL; absent: the payload of the only sink. */
  readonly output?: string;
  readonly outputs: readonly NamedSource[];
}

/** CEL under a name: a named output, a parameter of an inlined Pipeline. */
export interface NamedSource {
  readonly name: string;
  readonly value: string;
}

/** In which order ready steps start; all give the same results. See `strategies/`. */
export type StrategyName = "WorkQueue" | "LevelByLevel" | "Reactive" | "Hybrid";

/**
 * Continue: dependents of a failed step are skipped, independent branches finish.
 * FailFast: nothing new starts, running steps are aborted.
 * BestEffort: as Continue, and the run succeeds if its output and named outputs could be produced.
 */
export type FailurePolicy = "Continue" | "FailFast" | "BestEffort";

/** What runs a Processor, as far as the engine cares: Hybrid keeps the lanes apart. */
export type BackendLane = "Local" | "RPC" | "WASM";

/**
 * AtLeastOnce: an attempt whose outcome was not recorded is made again. AtMostOnce: an attempt is recorded before it starts
 * and never started again.
 */
export type Delivery = "AtLeastOnce" | "AtMostOnce";

export interface ParameterDefinition {
  readonly name: string;
  readonly schema?: JsonObject;
  /** Absent: the parameter is required. */
  readonly default?: Json;
}

export interface StepDefinition {
  /** A DNS label, unique in its Pipeline. */
  readonly name: string;
  /** Exactly one of `processor` and `pipeline`. */
  readonly processor?: string;
  /** A Pipeline that is inlined; only `dependsOn`, `when`, `input` and `parameters` go with it. */
  readonly pipeline?: string;
  readonly parameters?: readonly NamedSource[];
  readonly dependsOn: readonly string[];
  /** Merged over the Processor's, key by key. */
  readonly options: JsonObject;
  /** CEL, a map that is merged over `options` when the step starts. */
  readonly optionsExpression?: string;
  /** CEL, a list: one run of the step for each item. */
  readonly forEach?: string;
  readonly maxParallel?: number;
  /** CEL. */
  readonly input?: string;
  /** CEL, bool. */
  readonly when?: string;
  readonly onFailure?: "Ignore";
  readonly cache?: CacheDefinition;
  /** Absent fields inherit from the Processor. */
  readonly timeoutMs?: number;
  readonly retry?: PartialRetryPolicy;
}

export interface CacheDefinition {
  readonly maxAgeMs: number;
  /** CEL, a string; absent: the input's digest, with options and metadata. */
  readonly key?: string;
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
  readonly lane: BackendLane;
  readonly delivery: Delivery;
  readonly options: JsonObject;
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
  readonly budgetPercent: number;
  /** JSON Schemas, as the Processor gives them; absent: anything. */
  readonly optionsSchema?: JsonObject;
  readonly outputSchema?: JsonObject;
  readonly metadataSchema?: JsonObject;
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
  | "PipelineNotFound"
  | "PipelineRecursion"
  | "InvalidPipeline"
  | "TooManySteps"
  | "InvalidStep"
  | "InvalidOutput"
  | "AmbiguousPayload"
  | "AmbiguousOutput"
  | "InvalidExpression"
  | "InvalidOptions"
  | "InvalidParameter"
  | "InvalidInputSchema"
  | "OptionsTooLarge";
