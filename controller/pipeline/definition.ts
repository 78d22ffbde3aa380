import type { JsonObject } from "../../engine/payload.ts";
import type {
  ParameterDefinition,
  PartialRetryPolicy,
  PipelineDefinition,
  StepDefinition,
} from "../../engine/pipeline.ts";
import { parseDurationMs } from "../api/quantities.ts";
import type {
  InlinePipelineSpec,
  ParameterSpec,
  PipelineSpec,
  StepBackoffSpec,
  StepRetrySpec,
  StepSpec,
} from "../api/types.ts";

/** A Pipeline's spec, defaults filled in, as the engine takes it. */
export function pipelineDefinition(name: string, spec: PipelineSpec | InlinePipelineSpec): PipelineDefinition {
  return {
    name,
    failurePolicy: spec.failurePolicy,
    maxParallelSteps: spec.maxParallelSteps,
    parameters: (spec.parameters ?? []).map(parameterDefinition),
    steps: spec.steps.map(stepDefinition),
    ...(spec.timeout === undefined ? {} : { timeoutMs: parseDurationMs(spec.timeout, "spec.timeout") }),
    ...(spec.output === undefined ? {} : { output: spec.output }),
  };
}

function parameterDefinition(parameter: ParameterSpec): ParameterDefinition {
  // Null is a default too: only a key that is not there makes the parameter required.
  const value = parameter.default as ParameterDefinition["default"];
  return value === undefined ? { name: parameter.name } : { name: parameter.name, default: value };
}

function stepDefinition(step: StepSpec, index: number): StepDefinition {
  const path = `spec.steps[${index}]`;
  return {
    name: step.name,
    processor: step.processor,
    dependsOn: step.dependsOn ?? [],
    options: (step.options ?? {}) as JsonObject,
    ...(step.input === undefined ? {} : { input: step.input }),
    ...(step.when === undefined ? {} : { when: step.when }),
    ...(step.timeout === undefined ? {} : { timeoutMs: parseDurationMs(step.timeout, `${path}.timeout`) }),
    ...(step.retry === undefined ? {} : { retry: retryPolicy(step.retry, `${path}.retry`) }),
  };
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
