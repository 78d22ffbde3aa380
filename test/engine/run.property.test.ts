import { expect } from "chai";
import fc from "fast-check";
import { MillraceError } from "../../engine/errors.ts";
import type { Outcome, RunEvent, StepResult } from "../../engine/outcome.ts";
import { digestOf, jsonPayload } from "../../engine/payload.ts";
import type { FailurePolicy, PipelineDefinition } from "../../engine/pipeline.ts";
import type { Plan } from "../../engine/plan.ts";
import type { Invoke, RunOptions } from "../../engine/run.ts";
import { run } from "../../engine/run.ts";
import { pipeline, planOf, runOptions, step, stored, textOf } from "../support/pipelines.ts";
import { VirtualTime } from "../support/virtual-time.ts";

/** What one step of a random Pipeline does. */
interface Behaviour {
  /** Which of the steps before it it depends on, as bits. */
  readonly before: number;
  readonly intent: "transform" | "analyze";
  readonly when: "absent" | "false" | "true";
  /** Attempts that fail before one succeeds. */
  readonly failures: number;
  readonly limit: number;
  readonly failsBy: "throwing" | "declaring" | "hopeless";
  /** How long an attempt takes; 0: it answers at once. */
  readonly tookMs: number;
  /** Whether its output's bytes are in memory or have to be waited for. */
  readonly isStored: boolean;
}

interface Scenario {
  readonly steps: readonly Behaviour[];
  readonly maxParallelSteps: number;
  readonly seed: number;
}

const behaviour: fc.Arbitrary<Behaviour> = fc.record({
  before: fc.nat({ max: 0xff }),
  intent: fc.constantFrom("transform", "analyze"),
  when: fc.constantFrom("absent", "absent", "absent", "true", "false"),
  failures: fc.constantFrom(0, 0, 0, 1, 2, 3),
  limit: fc.nat({ max: 3 }),
  failsBy: fc.constantFrom("throwing", "declaring", "hopeless"),
  tookMs: fc.constantFrom(0, 0, 1, 5, 50),
  isStored: fc.boolean(),
});

const scenario: fc.Arbitrary<Scenario> = fc.record({
  steps: fc.array(behaviour, { minLength: 1, maxLength: 9 }),
  maxParallelSteps: fc.integer({ min: 1, max: 4 }),
  seed: fc.nat(),
});

const nameOf = (index: number) => `s${index}`;

function dependenciesOf({ before }: Behaviour, index: number): string[] {
  return [...Array(Math.min(index, 8)).keys()]
    .filter((bit) => before & (1 << bit))
    .map((bit) => nameOf(index - 1 - bit));
}

const listOf = (names: readonly string[]) =>
  names.length === 0
    ? "[]"
    : names.map((name) => `(has(steps.${name}.output) ? [steps.${name}.output] : [])`).join(" + ");

function definitionOf(
  { steps, maxParallelSteps }: Scenario,
  failurePolicy: FailurePolicy,
  timeoutMs?: number,
): PipelineDefinition {
  const definitions = steps.map((behaviour, index) => {
    const dependsOn = dependenciesOf(behaviour, index);
    return step(nameOf(index), dependsOn, {
      processor: behaviour.intent,
      retry: { limit: behaviour.limit },
      ...(behaviour.when === "absent" ? {} : { when: behaviour.when }),
      ...(dependsOn.length > 1 ? { input: listOf(dependsOn) } : {}),
    });
  });
  const output = listOf(definitions.map(({ name }) => name));
  return pipeline(definitions, {
    failurePolicy,
    maxParallelSteps,
    output,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
}

/** A step that fails more often than it is retried fails for ever, so that a crash, which costs attempts, changes nothing. */
function failsAt({ failsBy, failures, limit }: Behaviour, attempt: number): boolean {
  return failsBy === "hopeless" ? failures === 3 : failures > limit || attempt <= failures;
}

/** Every attempt checks the rules that no run may break. */
class Watcher {
  readonly events: RunEvent[] = [];
  readonly #plan: Plan;
  readonly #steps: readonly Behaviour[];
  readonly #time: VirtualTime;
  readonly #results: (StepResult | undefined)[];
  readonly #seen = new Set<string>();
  readonly #inFlight = new Set<number>();
  broken: string | undefined;

  constructor(plan: Plan, steps: readonly Behaviour[], time: VirtualTime, recorded?: ReadonlyMap<string, StepResult>) {
    this.#plan = plan;
    this.#steps = steps;
    this.#time = time;
    this.#results = plan.steps.map(({ name }) => recorded?.get(name));
  }

  readonly invoke: Invoke = async (attempt, request, signal) => {
    const behaviour = this.#steps[attempt.step];
    if (behaviour === undefined) throw new Error("there is no such step");
    this.#check(attempt.step, attempt.attempt);
    try {
      if (behaviour.tookMs > 0)
        await new Promise<void>((resolve) => this.#time.scheduler.after(behaviour.tookMs, resolve));
      const fails = failsAt(behaviour, attempt.attempt);
      if (fails && behaviour.failsBy === "declaring") {
        return { ok: false, metadata: {}, error: { code: "busy", message: "declared", retryable: true } };
      }
      if (fails) throw new MillraceError(behaviour.failsBy === "hopeless" ? "InvalidInput" : "Unavailable", "thrown");
      const bytes = await request.payload.bytes(signal);
      const trace = digestOf(
        new TextEncoder().encode(`${attempt.stepName}${digestOf(bytes)}${JSON.stringify(request.metadata)}`),
      );
      const payload = jsonPayload(trace);
      return {
        ok: true,
        payload: behaviour.isStored ? stored(payload) : payload,
        metadata: { from: attempt.stepName },
      };
    } finally {
      this.#inFlight.delete(attempt.step);
    }
  };

  readonly onEvent = (event: RunEvent): void => {
    if (event.type === "StepFinished") {
      if (this.#results[event.step] !== undefined) this.#broke(`${nameOf(event.step)} finished twice`);
      this.#results[event.step] = event.result;
    }
    this.events.push(event);
  };

  #check(index: number, attempt: number): void {
    const key = `${index}#${attempt}`;
    if (this.#seen.has(key)) this.#broke(`attempt ${key} was made twice`);
    this.#seen.add(key);
    if (this.#results[index] !== undefined) this.#broke(`${nameOf(index)} ran after it had ended`);
    if (this.#inFlight.has(index)) this.#broke(`two attempts of ${nameOf(index)} at once`);
    this.#inFlight.add(index);
    if (this.#inFlight.size > this.#plan.maxParallelSteps) this.#broke("more steps than may run at once");
    for (const dependency of this.#plan.steps[index]?.dependencies ?? []) {
      const state = this.#results[dependency]?.state;
      if (state !== "Succeeded" && state !== "Skipped")
        this.#broke(`${nameOf(index)} ran after ${nameOf(dependency)} was ${state}`);
    }
  }

  #broke(rule: string): void {
    this.broken ??= rule;
  }
}

interface Ran {
  readonly outcome: Outcome;
  readonly events: readonly RunEvent[];
}

interface Interruption {
  readonly atEvent: number;
}

async function ran(
  scenario: Scenario,
  definition: PipelineDefinition,
  more: Partial<RunOptions> = {},
  interruption?: Interruption,
): Promise<Ran> {
  const plan = planOf(definition);
  const time = new VirtualTime(scenario.seed);
  const watcher = new Watcher(plan, scenario.steps, time, more.recorded);
  const controller = new AbortController();
  const onEvent = (event: RunEvent) => {
    watcher.onEvent(event);
    if (watcher.events.length === interruption?.atEvent) controller.abort();
  };
  const options = runOptions({ ports: time, invoke: watcher.invoke, onEvent, signal: controller.signal, ...more });
  const outcome = await time.drive(run(plan, options));
  if (watcher.broken !== undefined) throw new Error(watcher.broken);
  expectLegal(plan, outcome, interruption !== undefined);
  return { outcome, events: watcher.events };
}

/** What is true of every outcome, however the run went. */
function expectLegal(plan: Plan, outcome: Outcome, wasInterrupted: boolean): void {
  expect(outcome.steps).to.have.length(plan.steps.length);
  expect(outcome.output === undefined).to.equal(outcome.state !== "Succeeded");
  expect(outcome.error === undefined).to.equal(outcome.state === "Succeeded");
  const failed = outcome.steps.filter((result) => result.state === "Failed");
  if (outcome.state === "Succeeded") expect(failed).to.have.length(0);
  if (outcome.state === "Cancelled") expect(wasInterrupted).to.equal(true);
  if (outcome.error?.step !== undefined) {
    const row = outcome.steps[plan.steps.findIndex(({ name }) => name === outcome.error?.step)];
    expect(row?.state).to.equal("Failed");
  }
  for (const [index, result] of outcome.steps.entries()) {
    if (result.state !== "Succeeded") continue;
    for (const dependency of plan.steps[index]?.dependencies ?? []) {
      expect(outcome.steps[dependency]?.state).to.be.oneOf(["Succeeded", "Skipped"]);
    }
  }
}

/** What a run has to show, without how it came to it. */
async function essence({ outcome }: Ran): Promise<unknown> {
  const rows = await Promise.all(
    outcome.steps.map(async (result) => {
      if (result.state === "Succeeded") return ["Succeeded", await textOf(result.output), result.metadata];
      return result.state === "Failed" ? ["Failed", result.error.code] : [result.state, result.reason];
    }),
  );
  return {
    state: outcome.state,
    rows,
    output: outcome.output === undefined ? undefined : await textOf(outcome.output),
  };
}

/** What a crash leaves: of the events before it, a part recorded; and which attempts had been started. */
function remainsOf(
  events: readonly RunEvent[],
  crashedAt: number,
  recordedUntil: number,
): Pick<RunOptions, "recorded" | "attempts"> {
  const recorded = new Map<string, StepResult>();
  const attempts = new Map<string, number>();
  for (const event of events.slice(0, crashedAt))
    if (event.type === "StepStarted") attempts.set(nameOf(event.step), event.attempt);
  for (const event of events.slice(0, recordedUntil))
    if (event.type === "StepFinished") recorded.set(nameOf(event.step), event.result);
  return { recorded, attempts };
}

describe("run: properties over random graphs, failures, retries and skips", () => {
  it("Continue: ends legally, the same whatever the order and the parallelism", async () => {
    await fc.assert(
      fc.asyncProperty(scenario, fc.integer({ min: 1, max: 9 }), async (given, parallel) => {
        const first = await ran(given, definitionOf(given, "Continue"));
        const other = { ...given, maxParallelSteps: parallel, seed: given.seed + 1 };
        expect(await essence(await ran(other, definitionOf(other, "Continue")))).to.deep.equal(await essence(first));
      }),
      { numRuns: 600 },
    );
  }).timeout(60_000);

  it("FailFast and timeouts: every row ends final and legal", async () => {
    await fc.assert(
      fc.asyncProperty(
        scenario,
        fc.constantFrom("Continue", "FailFast"),
        fc.constantFrom(undefined, 1, 60, 500),
        async (given, policy, timeoutMs) => {
          await ran(given, definitionOf(given, policy, timeoutMs));
        },
      ),
      { numRuns: 600 },
    );
  }).timeout(60_000);

  it("cancellation at any event: ends at once, every row final and legal", async () => {
    await fc.assert(
      fc.asyncProperty(
        scenario,
        fc.constantFrom("Continue", "FailFast"),
        fc.integer({ min: 1, max: 30 }),
        async (given, policy, atEvent) => {
          const { outcome, events } = await ran(given, definitionOf(given, policy), {}, { atEvent });
          if (events.length < atEvent) return;
          const sinceAbort = events.slice(atEvent).filter((event) => event.type !== "StepFinished");
          expect(sinceAbort).to.deep.equal([]);
          expect(outcome.state).to.be.oneOf(["Cancelled", "Failed"]);
        },
      ),
      { numRuns: 600 },
    );
  }).timeout(60_000);

  it("crash at any event and resume: the uninterrupted result, and no recorded success runs again", async () => {
    await fc.assert(
      fc.asyncProperty(
        scenario,
        fc.integer({ min: 1, max: 30 }),
        fc.nat({ max: 30 }),
        async (given, crashedAt, recordedUntil) => {
          const definition = definitionOf(given, "Continue");
          const whole = await ran(given, definition);
          const { events } = await ran(given, definition, {}, { atEvent: crashedAt });
          const remains = remainsOf(events, crashedAt, Math.min(crashedAt, recordedUntil));
          expect(await essence(await ran(given, definition, remains))).to.deep.equal(await essence(whole));
        },
      ),
      { numRuns: 600 },
    );
  }).timeout(60_000);
});
