import type { JsonObject } from "./payload.ts";
import type {
  FailurePolicy,
  ParameterDefinition,
  PipelineDefinition,
  Problem,
  ProcessorFacts,
  RetryPolicy,
} from "./pipeline.ts";
import type { Intent } from "./processor.ts";

/** The Execution's input, where a step's index is expected. */
export const executionInput = -1;

/** A Pipeline, checked and resolved: what a run reads and never changes, so that any number of runs share it. */
export interface Plan {
  readonly name: string;
  readonly failurePolicy: FailurePolicy;
  readonly maxParallelSteps: number;
  readonly timeoutMs: number | undefined;
  readonly parameters: readonly ParameterDefinition[];
  /** In the order of the definition. */
  readonly steps: readonly PlanStep[];
  readonly graph: GraphFacts;
}

/** A step with its defaults resolved and its neighbours as indices into {@link Plan.steps}. */
export interface PlanStep {
  readonly index: number;
  readonly name: string;
  readonly processor: string;
  readonly intent: Intent;
  /** The Processor's with the step's merged over them. */
  readonly options: JsonObject;
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
  readonly dependencies: readonly number[];
  readonly dependents: readonly number[];
}

/** The shape of the graph, for `status.graph`. */
export interface GraphFacts {
  readonly steps: number;
  /** The number of steps on the longest path. */
  readonly levels: number;
  /** The number of steps on the widest level. */
  readonly width: number;
}

export type Compilation =
  | { readonly ok: true; readonly plan: Plan }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Checks a definition against the Processors that it names and resolves it; gives all problems, not only the first. */
export function compile(definition: PipelineDefinition, processors: ReadonlyMap<string, ProcessorFacts>): Compilation {
  throw new Error(`not yet ${definition.name} ${processors.size}`);
}

/**
 * The parameters of a run: those given, and the defaults of those that are not. Schemas are the caller's to check.
 * Throws MillraceError InvalidInput when one is missing or unknown.
 */
export function bindParameters(plan: Plan, given: JsonObject): JsonObject {
  throw new Error(`not yet ${plan.name} ${Object.keys(given).length}`);
}
