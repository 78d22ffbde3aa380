import { compile } from "../../engine/compile/compile.ts";
import type { MillraceError } from "../../engine/errors.ts";
import type { Outcome, StepResult } from "../../engine/outcome.ts";
import type { Payload } from "../../engine/payload.ts";
import { jsonPayload } from "../../engine/payload.ts";
import type { PipelineDefinition, Problem, ProcessorFacts, StepDefinition } from "../../engine/pipeline.ts";
import type { Plan } from "../../engine/plan.ts";
import type { ProcessorResponse } from "../../engine/processor.ts";
import { run } from "../../engine/run/run.ts";
import type { Attempt, Invoke, Recorded, RunOptions } from "../../engine/run/run-options.ts";
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
  return {
    name: "test",
    strategy: "WorkQueue",
    failurePolicy: "Continue",
    maxParallelSteps: 16,
    parameters: [],
    maxInputBytes: 4 * 1024 * 1024,
    steps,
    finally: [],
    finallyTimeoutMs: 60_000,
    outputs: [],
    ...more,
  };
}

/** A Processor's facts with the API's defaults. */
export function facts(name: string, more: Partial<ProcessorFacts> = {}): ProcessorFacts {
  return {
    name,
    intent: "Transform",
    lane: "Local",
    delivery: "AtLeastOnce",
    options: {},
    timeoutMs: 30_000,
    budgetPercent: 20,
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

const noPipelines: ReadonlyMap<string, PipelineDefinition> = new Map();

/** The plan of a definition that must be right. */
export function planOf(definition: PipelineDefinition, known = processors, pipelines = noPipelines): Plan {
  const compiled = compile(definition, { processors: known, pipelines });
  if (compiled.ok) return compiled.plan;
  throw new Error(compiled.problems.map(({ path, message }) => `${path}: ${message}`).join("\n"));
}

/** The problems of a definition that must be wrong. */
export function problemsOf(
  definition: PipelineDefinition,
  known = processors,
  pipelines = noPipelines,
): readonly Problem[] {
  const compiled = compile(definition, { processors: known, pipelines });
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

/** What an earlier part of a run recorded, the rest left out. */
export function recordedOf(
  results: Readonly<Record<string, StepResult>>,
  more: Partial<Recorded> = {},
): { readonly recorded: Recorded } {
  return {
    recorded: {
      results: new Map(Object.entries(results)),
      attempts: new Map(),
      items: new Map(),
      elapsedMs: 0,
      ...more,
    },
  };
}

/** A payload's bytes as text. */
export async function textOf(payload: Payload | undefined): Promise<string> {
  if (payload === undefined) throw new Error("there is no payload");
  return new TextDecoder().decode(await payload.bytes(new AbortController().signal));
}

/** The rows as `name: State` or `name: State/reason`; of a step that has not ended `name: open`. */
export function rowsOf(definition: PipelineDefinition, outcome: Outcome): readonly string[] {
  const steps = [...definition.steps, ...definition.finally];
  return outcome.steps.map((result, index) => `${steps[index]?.name}: ${stateOf(result)}`);
}

/** The same for a plan, where inlined steps have rows too, and the Enter steps have none. */
export function planRowsOf(plan: Plan, outcome: Outcome): readonly string[] {
  return plan.steps.flatMap(({ kind, name, index }) =>
    kind === "Enter" ? [] : [`${name}: ${stateOf(outcome.steps[index])}`],
  );
}

function stateOf(result: StepResult | undefined): string {
  if (result === undefined) return "open";
  const reason = "reason" in result ? `/${result.reason}` : "";
  return `${result.state}${result.state === "Failed" ? `/${result.error.code}` : ""}${reason}`;
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
