import { SchemaCompiler } from "../../../controller/api/json-schema.ts";
import type { Pipeline, PipelineSpec, StepSpec } from "../../../controller/api/types.ts";
import type { AnyPipelineSpec, CompiledPipeline } from "../../../controller/catalog.ts";
import { checkPipeline, type Known, type PipelineCheck } from "../../../controller/pipeline/check.ts";
import { resolveNames } from "../../../controller/pipeline/named.ts";
import type { JsonObject } from "../../../engine/payload.ts";
import type { ProcessorFacts } from "../../../engine/pipeline.ts";
import { facts } from "../../support/pipelines.ts";

/** A Pipeline's spec as the API server gives it: with all defaults. */
export function apiSpec(steps: readonly StepSpec[], more: Partial<PipelineSpec> = {}): PipelineSpec {
  return {
    strategy: "WorkQueue",
    failurePolicy: "Continue",
    maxParallelSteps: 16,
    input: { maxSize: "4Mi" },
    steps,
    finallyTimeout: "1m",
    ...more,
  };
}

export function step(name: string, more: Partial<StepSpec> = {}): StepSpec {
  return { name, processor: "words", ...more };
}

export function apiPipeline(generation: number, spec: PipelineSpec, status?: Pipeline["status"]): Pipeline {
  return {
    apiVersion: "millrace.dev/v1alpha1",
    kind: "Pipeline",
    metadata: { name: "article", namespace: "team", uid: "uid-1", generation, resourceVersion: String(generation) },
    spec,
    ...(status === undefined ? {} : { status }),
  };
}

/** The Processor `words`, with this schema of options. */
export function words(optionsSchema?: JsonObject, options: JsonObject = {}): ProcessorFacts {
  return facts("words", { options, ...(optionsSchema === undefined ? {} : { optionsSchema }) });
}

/** What a spec names, of these Pipelines by name and these Processors; `words` unless it is said otherwise. */
export function known(
  spec: AnyPipelineSpec,
  pipelines: Readonly<Record<string, PipelineSpec>> = {},
  processors: readonly ProcessorFacts[] = [words()],
): Known {
  return {
    resolved: resolveNames(spec, (name) => pipelines[name]),
    processors: new Map(processors.map((one) => [one.name, one])),
  };
}

/** The check of a Pipeline `article`. */
export function check(
  spec: AnyPipelineSpec,
  pipelines: Readonly<Record<string, PipelineSpec>> = {},
  processors?: readonly ProcessorFacts[],
): PipelineCheck {
  return checkPipeline("article", spec, known(spec, pipelines, processors), new SchemaCompiler());
}

/** What a spec that is right compiles to. */
export function compiled(...given: Parameters<typeof check>): CompiledPipeline {
  const result = check(...given);
  if (result.ok) return result.pipeline;
  throw new Error(result.problems.map(({ path, message }) => `${path}: ${message}`).join("\n"));
}
