import type { MillraceError } from "../../engine/errors.ts";
import type { Outcome } from "../../engine/outcome.ts";
import type { Payload } from "../../engine/payload.ts";
import { jsonPayload } from "../../engine/payload.ts";
import type { PipelineDefinition, Problem, ProcessorFacts, StepDefinition } from "../../engine/pipeline.ts";
import type { Plan } from "../../engine/plan.ts";
import { compile } from "../../engine/plan.ts";
import type { ProcessorResponse } from "../../engine/processor.ts";
import type { Attempt, Invoke, RunOptions } from "../../engine/run.ts";
import { run } from "../../engine/run.ts";
import { VirtualTime } from "./virtual-time.ts";

/** A step with everything optional left out; the processor is `transform` unless it is said otherwise. */
export function step(
  name: string,
  dependsOn: readonly string[] = [],
  more: Partial<StepDefinition> = {},
): StepDefinition {
  return { name, processor: "transform", dependsOn, options: {}, ...more };
}

/** A Pipeline of these steps with the API's defaults. */
export function pipeline(steps: readonly StepDefinition[], more: Partial<PipelineDefinition> = {}): PipelineDefinition {
  return { name: "test", failurePolicy: "Continue", maxParallelSteps: 16, parameters: [], steps, ...more };
}

/** A Processor's facts with the API's defaults. */
export function facts(name: string, more: Partial<ProcessorFacts> = {}): ProcessorFacts {
  return {
    name,
    intent: "Transform",
    options: {},
    timeoutMs: 30_000,
    retry: {
      limit: 1,
      backoff: { initialMs: 100, factor: 2, maxMs: 10_000, jitterPercent: 20 },
      codes: ["Unavailable", "ResourceExhausted", "ProcessorCrashed"],
    },
    ...more,
  };
}

/** `transform` and `analyze`, by name. */
export const processors: ReadonlyMap<string, ProcessorFacts> = new Map([
  ["transform", facts("transform")],
  ["analyze", facts("analyze", { intent: "Analyze" })],
]);

/** The plan of a definition that must be right. */
export function planOf(definition: PipelineDefinition, known = processors): Plan {
  const compiled = compile(definition, known);
  if (compiled.ok) return compiled.plan;
  throw new Error(compiled.problems.map(({ path, message }) => `${path}: ${message}`).join("\n"));
}

/** The problems of a definition that must be wrong. */
export function problemsOf(definition: PipelineDefinition, known = processors): readonly Problem[] {
  const compiled = compile(definition, known);
  if (compiled.ok) throw new Error("the definition was accepted");
  return compiled.problems;
}

/** What a scripted step does: gives a payload or a response, or throws. */
export type Script = Readonly<
  Record<string, (attempt: Attempt, payload: Payload) => Payload | ProcessorResponse | MillraceError>
>;

/** Steps that are not in the script give `<name>(<input>)` as JSON text, so that an output tells where it came from. */
export function scripted(script: Script = {}): Invoke {
  return async (attempt, request, signal) => {
    const bytes = await request.payload.bytes(signal);
    const result = script[attempt.stepName]?.(attempt, request.payload) ?? traced(attempt.stepName, bytes);
    if (result instanceof Error) throw result;
    return "ok" in result ? result : { ok: true, payload: result, metadata: {} };
  };
}

function traced(name: string, bytes: Uint8Array): Payload {
  return jsonPayload(`${name}(${JSON.parse(new TextDecoder().decode(bytes))})`);
}

export const execution = { namespace: "default", name: "run", uid: "uid-1" };

/** Options of a run in virtual time, with the input "in". */
export function runOptions(more: Partial<RunOptions> = {}): RunOptions {
  const input = jsonPayload("in");
  const signal = new AbortController().signal;
  return { execution, input, parameters: {}, invoke: scripted(), ports: new VirtualTime(), signal, ...more };
}

/** Runs a definition to its end, time passing as fast as it can. */
export async function runToEnd(
  definition: PipelineDefinition,
  more: Partial<RunOptions> = {},
  known = processors,
): Promise<Outcome> {
  const time = new VirtualTime();
  return time.drive(run(planOf(definition, known), runOptions({ ports: time, ...more })));
}

/** A payload's bytes as text. */
export async function textOf(payload: Payload | undefined): Promise<string> {
  if (payload === undefined) throw new Error("there is no payload");
  return new TextDecoder().decode(await payload.bytes(new AbortController().signal));
}

/** The rows as `name: State` or `name: State/reason`. */
export function rowsOf(definition: PipelineDefinition, outcome: Outcome): readonly string[] {
  return outcome.steps.map((result, index) => {
    const detail = "reason" in result ? `/${result.reason}` : result.state === "Failed" ? `/${result.error.code}` : "";
    return `${definition.steps[index]?.name}: ${result.state}${detail}`;
  });
}

/** The same payload as a payload store gives it: its bytes come some turns later. */
export function stored(payload: Payload): Payload {
  const { contentType, size, digest } = payload;
  const bytes = async (signal: AbortSignal) => {
    for (let turn = 0; turn < 5; turn++) await Promise.resolve();
    return payload.bytes(signal);
  };
  return { contentType, size, digest, bytes, stream: (signal) => payload.stream(signal) };
}
