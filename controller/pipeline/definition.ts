import type { JsonObject } from "../../engine/payload.ts";
import type {
  CacheDefinition,
  ParameterDefinition,
  PartialRetryPolicy,
  PipelineDefinition,
  StepDefinition,
} from "../../engine/pipeline.ts";
import { parseBytes, parseDurationMs } from "../api/quantities.ts";
import type {
  CacheSpec,
  FinallyStepSpec,
  ParameterSpec,
  StepBackoffSpec,
  StepRetrySpec,
  StepSpec,
} from "../api/types.ts";
import type { AnyPipelineSpec } from "../catalog.ts";

/** A Pipeline's spec, defaults filled in, as the engine takes it. */
export function pipelineDefinition(name: string, spec: AnyPipelineSpec): PipelineDefinition {
  const { schema } = spec.input;
  return {
    name,
    strategy: spec.strategy,
    failurePolicy: spec.failurePolicy,
    maxParallelSteps: spec.maxParallelSteps,
    parameters: (spec.parameters ?? []).map(parameterDefinition),
    maxInputBytes: parseBytes(spec.input.maxSize, "spec.input.maxSize"),
    steps: spec.steps.map((step, index) => stepDefinition(step, `spec.steps[${index}]`)),
    finally: (spec.finally ?? []).map((step, index) => stepDefinition(step, `spec.finally[${index}]`)),
    finallyTimeoutMs: parseDurationMs(spec.finallyTimeout, "spec.finallyTimeout"),
    outputs: spec.outputs ?? [],
    ...(schema === undefined ? {} : { inputSchema: schema as JsonObject }),
    ...(spec.timeout === undefined ? {} : { timeoutMs: parseDurationMs(spec.timeout, "spec.timeout") }),
    ...(spec.output === undefined ? {} : { output: spec.output }),
  };
}

function parameterDefinition(parameter: ParameterSpec): ParameterDefinition {
  // Null is a default too: only a key that is not there makes the parameter required.
  const value = parameter.default as ParameterDefinition["default"];
  return {
    name: parameter.name,
    ...(parameter.schema === undefined ? {} : { schema: parameter.schema as JsonObject }),
    ...(value === undefined ? {} : { default: value }),
  };
}

/** A step of the graph or of `finally`; only one of the graph may name a Pipeline, or have a cache. */
function stepDefinition(step: StepSpec | FinallyStepSpec, path: string): StepDefinition {
  const { cache, timeout, retry }: Partial<StepSpec> = step;
  return {
    name: step.name,
    dependsOn: step.dependsOn ?? [],
    options: (step.options ?? {}) as JsonObject,
    ...present(step as StepSpec, sameInBoth),
    ...(cache === undefined ? {} : { cache: cacheDefinition(cache, `${path}.cache`) }),
    ...(timeout === undefined ? {} : { timeoutMs: parseDurationMs(timeout, `${path}.timeout`) }),
    ...(retry === undefined ? {} : { retry: retryPolicy(retry, `${path}.retry`) }),
  };
}

/** Fields of a step that the engine takes as the API gives them. */
const sameInBoth = [
  "processor",
  "pipeline",
  "parameters",
  "optionsExpression",
  "forEach",
  "maxParallel",
  "input",
  "when",
  "onFailure",
] as const satisfies readonly (keyof StepSpec & keyof StepDefinition)[];

/** Those of the fields that are there. */
function present<T, K extends keyof T>(from: T, keys: readonly K[]): Partial<Pick<T, K>> {
  const found = keys.filter((key) => from[key] !== undefined).map((key) => [key, from[key]]);
  return Object.fromEntries(found) as Partial<Pick<T, K>>;
}

function cacheDefinition(cache: CacheSpec, path: string): CacheDefinition {
  const maxAgeMs = parseDurationMs(cache.maxAge, `${path}.maxAge`);
  return cache.key === undefined ? { maxAgeMs } : { maxAgeMs, key: cache.key };
}

function retryPolicy(retry: StepRetrySpec, path: string): PartialRetryPolicy {
  return {
    ...(retry.limit === undefined ? {} : { limit: retry.limit }),
    ...(retry.codes === undefined ? {} : { codes: retry.codes }),
    ...(retry.backoff === undefined ? {} : { backoff: backoff(retry.backoff, `${path}.backoff`) }),
  };
}

function backoff(given: StepBackoffSpec, path: string): NonNullable<PartialRetryPolicy["backoff"]> {
  return {
    ...(given.initial === undefined ? {} : { initialMs: parseDurationMs(given.initial, `${path}.initial`) }),
    ...(given.max === undefined ? {} : { maxMs: parseDurationMs(given.max, `${path}.max`) }),
    ...(given.factor === undefined ? {} : { factor: given.factor }),
    ...(given.jitterPercent === undefined ? {} : { jitterPercent: given.jitterPercent }),
  };
}
