import type { Pipeline, PipelineSpec, StepSpec } from "../../../controller/api/types.ts";
import type { KnownProcessor } from "../../../controller/pipeline/check.ts";
import type { JsonObject } from "../../../engine/payload.ts";
import { facts } from "../../support/pipelines.ts";

/** A Pipeline's spec as the API server gives it: with all defaults. */
export function apiSpec(steps: readonly StepSpec[], more: Partial<PipelineSpec> = {}): PipelineSpec {
  return { failurePolicy: "Continue", maxParallelSteps: 16, input: { maxSize: "4Mi" }, steps, ...more };
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
export function known(optionsSchema?: JsonObject, options: JsonObject = {}): ReadonlyMap<string, KnownProcessor> {
  const words = { facts: facts("words", { options }), ...(optionsSchema === undefined ? {} : { optionsSchema }) };
  return new Map([["words", words]]);
}
