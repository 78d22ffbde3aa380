import type { Ports } from "../../engine/clock.ts";
import { compile } from "../../engine/compile/compile.ts";
import type { Outcome, StepError, StepResult } from "../../engine/outcome.ts";
import { BytesPayload } from "../../engine/payload.ts";
import type { PipelineDefinition, ProcessorFacts } from "../../engine/pipeline.ts";
import type { Plan } from "../../engine/plan.ts";
import { run } from "../../engine/run/run.ts";
import type { Backend, Implementation, ProcessorSpec } from "../backend.ts";
import { ByteBudget } from "../byte-budget.ts";
import { Caller } from "../call.ts";
import { Secrets } from "../secrets.ts";
import {
  type ConformanceCase,
  type ConformanceError,
  type ConformancePayload,
  type ConformanceRow,
  conformanceCases,
  referenceName,
} from "./cases.ts";

/** What came of one case. */
export interface ConformanceResult {
  readonly name: string;
  readonly message: ConformanceCase["message"];
  readonly row: ConformanceRow;
  /** One line each: field, what was expected, what came. Empty: passed. */
  readonly differences: readonly string[];
}

/**
 * Runs every case, one after another, against the reference processor behind a backend. Rejects only when the processor
 * cannot be loaded.
 *
 * @param cases default: all
 */
export async function runConformance(
  backend: Backend,
  implementation: Implementation,
  ports: Ports,
  cases: readonly ConformanceCase[] = conformanceCases,
): Promise<ConformanceResult[]> {
  const results: ConformanceResult[] = [];
  for (const one of cases) results.push(await runCase(backend, implementation, ports, one));
  return results;
}

async function runCase(
  backend: Backend,
  implementation: Implementation,
  ports: Ports,
  one: ConformanceCase,
): Promise<ConformanceResult> {
  const spec = specOf(implementation, one);
  const processor = await backend.load(spec, new AbortController().signal);
  const secrets = new Secrets(one.secrets);
  const budget = new ByteBudget();
  await using caller = new Caller(processor, { limits: spec.limits, ports, budget, secrets: () => secrets });
  const log: string[] = [];
  const outcome = await runOnce(caller, ports, one, (line) => log.push(line.slice(line.indexOf(" ") + 1)));
  const row = { ...(await rowOf(outcome)), log };
  return { name: one.name, message: one.message, row, differences: differences(one.expected, row) };
}

function specOf(implementation: Implementation, one: ConformanceCase): ProcessorSpec {
  return {
    namespace: "conformance",
    name: referenceName,
    intent: one.intent,
    implementation,
    limits: {
      timeoutMs: one.timeoutMs,
      maxInputBytes: one.maxInputBytes,
      maxOutputBytes: one.maxOutputBytes,
      maxConcurrency: 4,
    },
  };
}

async function runOnce(
  caller: Caller,
  ports: Ports,
  one: ConformanceCase,
  log: (line: string) => void,
): Promise<Outcome> {
  const cancel = new AbortController();
  const timer =
    one.cancelAfterMs === undefined ? undefined : ports.scheduler.after(one.cancelAfterMs, () => cancel.abort());
  const outcome = await run(planOf(one), {
    execution: { namespace: "conformance", name: "run", uid: "00000000-0000-0000-0000-000000000001" },
    input: new BytesPayload(one.input.bytes, one.input.contentType),
    parameters: {},
    ports,
    signal: cancel.signal,
    invoke: (attempt, request, signal) => {
      const called = { ...attempt, log, ...(one.item === undefined ? {} : { item: one.item }) };
      return caller.call(called, { ...request, metadata: one.metadata }, signal);
    },
  });
  timer?.cancel();
  return outcome;
}

function planOf(one: ConformanceCase): Plan {
  const facts: ProcessorFacts = {
    name: referenceName,
    intent: one.intent,
    lane: "Local",
    delivery: "AtLeastOnce",
    budgetPercent: 100,
    options: {},
    timeoutMs: one.timeoutMs,
    retry: {
      limit: one.retryLimit,
      backoff: { initialMs: 1, factor: 1, maxMs: 1, jitterPercent: 0 },
      codes: ["Unavailable", "ResourceExhausted", "ProcessorCrashed"],
    },
  };
  const definition: PipelineDefinition = {
    name: "conformance",
    strategy: "WorkQueue",
    failurePolicy: "Continue",
    maxParallelSteps: 1,
    parameters: [],
    maxInputBytes: one.maxInputBytes,
    finally: [],
    finallyTimeoutMs: 60_000,
    outputs: [],
    steps: [{ name: "step", processor: referenceName, dependsOn: [], options: one.options }],
  };
  const surroundings = { processors: new Map([[referenceName, facts]]), pipelines: new Map() };
  const compilation = compile(definition, surroundings);
  if (!compilation.ok) throw new Error(`the suite's own pipeline is refused: ${JSON.stringify(compilation.problems)}`);
  return compilation.plan;
}

async function rowOf(outcome: Outcome): Promise<Omit<ConformanceRow, "log">> {
  const [step] = outcome.steps;
  if (step === undefined || outcome.state === "Suspended") throw new Error("a run of one step gave no row");
  return { outcome: outcome.state, ...(await stepRow(step)) };
}

async function stepRow(step: StepResult): Promise<Omit<ConformanceRow, "outcome" | "log">> {
  switch (step.state) {
    case "Succeeded": {
      const bytes = await step.output.bytes(new AbortController().signal);
      const output = { bytes, contentType: step.output.contentType };
      return { state: step.state, attempts: step.attempts, output, metadata: step.metadata };
    }
    case "Failed":
      return { state: step.state, attempts: step.attempts, error: errorOf(step.error) };
    case "Cancelled":
      return { state: step.state, attempts: step.attempts, reason: step.reason };
    case "Skipped":
      return { state: step.state, attempts: 0, reason: step.reason };
  }
}

function errorOf(error: StepError): ConformanceError {
  const own = error.processorCode === undefined ? {} : { processorCode: error.processorCode };
  return { code: error.code, kind: error.kind, message: error.message, ...own };
}

function differences(expected: ConformanceRow, actual: ConformanceRow): string[] {
  const found: string[] = [];
  const compare = (field: string, left: unknown, right: unknown) => {
    const [wanted, got] = [JSON.stringify(left), JSON.stringify(right)];
    if (wanted !== got) found.push(`${field}: expected ${wanted ?? "nothing"}, got ${got ?? "nothing"}`);
  };
  compare("outcome", expected.outcome, actual.outcome);
  compare("state", expected.state, actual.state);
  compare("attempts", expected.attempts, actual.attempts);
  compare("reason", expected.reason, actual.reason);
  compare("output.contentType", expected.output?.contentType, actual.output?.contentType);
  compare("output.bytes", digestible(expected.output), digestible(actual.output));
  compare("metadata", sorted(expected.metadata), sorted(actual.metadata));
  compare("error.code", expected.error?.code, actual.error?.code);
  compare("error.kind", expected.error?.kind, actual.error?.kind);
  if (expected.error?.message !== undefined) compare("error.message", expected.error.message, actual.error?.message);
  compare("log", expected.log, actual.log);
  compare("error.processorCode", expected.error?.processorCode, actual.error?.processorCode);
  return found;
}

/** Short enough for a message, and different whenever the bytes are. */
function digestible(payload: ConformancePayload | undefined): string | undefined {
  if (payload === undefined) return undefined;
  const { size, digest } = new BytesPayload(payload.bytes, payload.contentType);
  return `${size} bytes, ${digest}`;
}

function sorted(metadata: ConformanceRow["metadata"]): [string, string][] | undefined {
  return metadata === undefined ? undefined : Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
}
