import type { Expression } from "./expressions/expressions.ts";
import type { Json, JsonObject } from "./payload.ts";
import type {
  BackendLane,
  Delivery,
  FailurePolicy,
  ParameterDefinition,
  RetryPolicy,
  StrategyName,
} from "./pipeline.ts";
import type { Intent } from "./processor.ts";

/** Says what is wrong with a value, in one sentence for a message; undefined: nothing. */
export type ValueCheck<T extends Json> = (value: T) => string | undefined;

/** A Pipeline, checked, resolved and flattened: what a run reads and never changes, so that any number of runs share it. */
export interface Plan {
  readonly name: string;
  readonly strategy: StrategyName;
  readonly failurePolicy: FailurePolicy;
  readonly maxParallelSteps: number;
  readonly timeoutMs: number | undefined;
  /** For all steps of `finally` together. */
  readonly finallyTimeoutMs: number;
  readonly parameters: readonly ParameterDefinition[];
  /** Those of the graph in the order of the definition, with what they name inlined in their place; then those of `finally`. */
  readonly steps: readonly PlanStep[];
  /** The index of the first step of `finally`; `steps.length` where there is none. */
  readonly finallyFrom: number;
  /** All steps, each after its dependencies; those of `finally` last. */
  readonly order: readonly number[];
  /** Absent: the output is `outputOrigin`'s payload. */
  readonly output: Expression | undefined;
  /** The step whose payload the only sink gives, or `executionInput`. Not looked at where `output` is set. */
  readonly outputOrigin: number;
  /** Named outputs. */
  readonly outputs: readonly NamedExpression[];
  /** Whose payloads the output and the named outputs look into, like {@link PlanStep.reads}. */
  readonly outputReads: readonly number[];
  readonly graph: GraphFacts;
}

export interface NamedExpression {
  readonly name: string;
  readonly value: Expression;
}

/**
 * `Processor`: calls one. `Enter` and `Exit` stand around the steps of an inlined Pipeline: Enter decides whether it runs
 * and what it receives (its payload is the inner steps' `input`), and has no row; Exit gives the inlined Pipeline's output
 * to those that depend on it, under the name of the step that named the Pipeline, and ends as Enter did where that did not succeed.
 */
export type PlanStepKind = "Processor" | "Enter" | "Exit";

/** A step with its defaults resolved and its neighbours as indices into {@link Plan.steps}. */
export interface PlanStep {
  readonly index: number;
  readonly kind: PlanStepKind;
  /** Of its row: `outer/inner` for an inlined step. Enter and Exit have the same name. */
  readonly name: string;
  /** What expressions beside it call it: the last part of its name. */
  readonly localName: string;
  /**
   * Which variables its expressions see: the index of the Enter that its Pipeline was inlined by; `executionInput` for the outermost.
   * An Exit's `input` is the inlined Pipeline's output, so that its frame is its own Enter.
   */
  readonly frame: number;
  /** Empty for Enter and Exit. */
  readonly processor: string;
  readonly lane: BackendLane;
  readonly intent: Intent;
  readonly delivery: Delivery;
  /** The Processor's with the step's merged over them. */
  readonly options: JsonObject;
  /** A map that is merged over `options`. */
  readonly optionsExpression: Expression | undefined;
  /** Of the merged options, against the Processor's `optionsSchema`; only where `optionsExpression` is. */
  readonly checkOptions: ValueCheck<JsonObject> | undefined;
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
  /** The Processor's: see `RetryBudgets`. */
  readonly budgetPercent: number;
  /** Its failure fails nothing else. */
  readonly ignoresFailure: boolean;
  readonly dependencies: readonly number[];
  readonly dependents: readonly number[];
  /** Whose output it receives, or `executionInput`. Not looked at where `input` is set, nor in a fan-out. */
  readonly origin: number;
  readonly when: Expression | undefined;
  readonly forEach: Expression | undefined;
  /** Items of a fan-out at once, within `maxParallelSteps`. */
  readonly maxParallel: number;
  readonly input: Expression | undefined;
  readonly cache: StepCache | undefined;
  readonly enter: EnterFacts | undefined;
  /** Of an Exit: its Enter. */
  readonly enteredBy: number | undefined;
  /** Whose payloads its expressions look into, each once: step indices, and `executionInput`. */
  readonly reads: readonly number[];
  /** Steps that call a Processor on the longest path from it to a sink, itself included. */
  readonly pathLength: number;
}

export interface StepCache {
  readonly maxAgeMs: number;
  /** Absent: the input's digest, with options and metadata. */
  readonly key: Expression | undefined;
}

/** How an inlined Pipeline is entered. */
export interface EnterFacts {
  readonly exit: number;
  readonly pipeline: string;
  readonly declared: readonly ParameterDefinition[];
  /** Evaluated in the frame of the step that names the Pipeline. */
  readonly parameters: readonly NamedExpression[];
  readonly checkParameters: ValueCheck<JsonObject> | undefined;
  /** Only JSON can be checked: with it, all else is refused. */
  readonly checkInput: ValueCheck<Json> | undefined;
  readonly maxInputBytes: number;
}

/** The shape of the graph, for `status.graph`: inlined steps counted, those of `finally` not. */
export interface GraphFacts {
  /** Rows: an Exit is one. */
  readonly steps: number;
  /** The number of steps on the longest path; only those that call a Processor are counted. */
  readonly levels: number;
  /** The number of such steps on the widest level. */
  readonly width: number;
}
