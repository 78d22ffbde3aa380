import { expect } from "chai";
import fc from "fast-check";
import { MillraceError } from "../../../engine/errors.ts";
import type { ItemResult, Outcome, RunEvent, StepResult } from "../../../engine/outcome.ts";
import { digestOf, jsonPayload } from "../../../engine/payload.ts";
import type { FailurePolicy, PipelineDefinition, StepDefinition } from "../../../engine/pipeline.ts";
import type { Plan, PlanStep } from "../../../engine/plan.ts";
import { startRun } from "../../../engine/run/run.ts";
import type {
  Attempt,
  Invoke,
  Recorded,
  RecordedItems,
  RunHandle,
  RunOptions,
} from "../../../engine/run/run-options.ts";
import { facts, pipeline, planOf, runOptions, step, stored, textOf } from "../../support/pipelines.ts";
import { VirtualTime } from "../../support/virtual-time.ts";

/** What one step of a random Pipeline does. */
interface Behaviour {
  /** Which of the steps before it it depends on, as bits. */
  readonly before: number;
  readonly kind: "local" | "rpc" | "wasm" | "analyze" | "fan" | "nested";
  readonly when: "absent" | "false" | "true";
  readonly isIgnored: boolean;
  /** Attempts that fail before one succeeds. */
  readonly failures: number;
  readonly limit: number;
  readonly failsBy: "throwing" | "declaring" | "hopeless";
  /** How long an attempt takes; 0: it answers at once. */
  readonly tookMs: number;
  /** Whether its output's bytes are in memory or have to be waited for. */
  readonly isStored: boolean;
  /** Of a fan-out; and which of them fail for good, as bits. */
  readonly items: number;
  readonly badItems: number;
  readonly maxParallel: number;
}

interface Scenario {
  readonly steps: readonly Behaviour[];
  /** Of whatever Pipeline a step names. */
  readonly inner: readonly [Behaviour, Behaviour];
  readonly finally: readonly Behaviour[];
  readonly maxParallelSteps: number;
  readonly seed: number;
}

const strategies = ["WorkQueue", "LevelByLevel", "Reactive", "Hybrid"] as const;
const calling = ["local", "local", "rpc", "wasm", "analyze"] as const;

const behaviourOf = (kinds: readonly Behaviour["kind"][]): fc.Arbitrary<Behaviour> =>
  fc.record({
    before: fc.nat({ max: 0xff }),
    kind: fc.constantFrom(...kinds),
    when: fc.constantFrom("absent", "absent", "absent", "true", "false"),
    isIgnored: fc.constantFrom(false, false, true),
    failures: fc.constantFrom(0, 0, 0, 1, 2, 3),
    limit: fc.nat({ max: 3 }),
    failsBy: fc.constantFrom("throwing", "declaring", "hopeless"),
    tookMs: fc.constantFrom(0, 0, 1, 5, 50),
    isStored: fc.boolean(),
    items: fc.nat({ max: 4 }),
    badItems: fc.constantFrom(0, 0, 0, 1, 2, 5),
    maxParallel: fc.integer({ min: 1, max: 3 }),
  });

const scenario: fc.Arbitrary<Scenario> = fc.record({
  steps: fc.array(behaviourOf([...calling, "fan", "nested"]), { minLength: 1, maxLength: 7 }),
  inner: fc.tuple(behaviourOf([...calling, "fan"]), behaviourOf([...calling, "fan"])),
  finally: fc.array(behaviourOf(["local", "analyze", "fan"]), { maxLength: 2 }),
  maxParallelSteps: fc.integer({ min: 1, max: 4 }),
  seed: fc.nat(),
});

const processors = new Map(
  (["Local", "RPC", "WASM"] as const).map((lane) => [lane.toLowerCase(), facts(lane.toLowerCase(), { lane })]),
);
processors.set("analyze", facts("analyze", { intent: "Analyze" }));

const nameOf = (index: number, prefix = "s") => `${prefix}${index}`;

function dependenciesOf({ before }: Behaviour, index: number, prefix: string): string[] {
  return [...Array(Math.min(index, 8)).keys()]
    .filter((bit) => before & (1 << bit))
    .map((bit) => nameOf(index - 1 - bit, prefix));
}

const listOf = (names: readonly string[]) =>
  names.length === 0
    ? "[]"
    : names.map((name) => `(has(steps.${name}.output) ? [steps.${name}.output] : [])`).join(" + ");

function definitionsOf(behaviours: readonly Behaviour[], prefix: string): StepDefinition[] {
  return behaviours.map((behaviour, index) => {
    const dependsOn = dependenciesOf(behaviour, index, prefix);
    const { kind, when, isIgnored, items, maxParallel, limit } = behaviour;
    const list = listOf(dependsOn);
    const own = prefix === "i" ? `[input, parameters.p] + ${list}` : list;
    const common = {
      ...(when === "absent" ? {} : { when }),
      ...(dependsOn.length > 1 || (prefix === "i" && index > 0 && kind !== "analyze") ? { input: own } : {}),
    };
    if (kind === "nested") {
      const parameters = [{ name: "p", value: `size(${list})` }];
      return { name: nameOf(index, prefix), pipeline: "inner", dependsOn, options: {}, parameters, ...common };
    }
    return step(nameOf(index, prefix), dependsOn, {
      processor: kind === "fan" ? "local" : kind,
      retry: { limit },
      ...common,
      ...(isIgnored ? { onFailure: "Ignore" } : {}),
      ...(kind === "fan"
        ? { forEach: `[${[...Array(items).keys()].join(",")}]`, maxParallel, input: `[item] + ${own}` }
        : {}),
    });
  });
}

function planFor(given: Scenario, failurePolicy: FailurePolicy, more: Partial<PipelineDefinition> = {}): Plan {
  const steps = definitionsOf(given.steps, "s");
  const [first, second] = given.inner;
  const innerSteps = definitionsOf(
    [
      { ...first, before: 0 },
      { ...second, before: 1 },
    ],
    "i",
  );
  const inner = pipeline(innerSteps, {
    name: "inner",
    parameters: [{ name: "p" }],
    output: `[input] + ${listOf(["i0", "i1"])}`,
  });
  const definition = pipeline(steps, {
    failurePolicy,
    maxParallelSteps: given.maxParallelSteps,
    output: listOf(steps.map(({ name }) => name)),
    outputs: [{ name: "state", value: "execution.state" }],
    finally: definitionsOf(given.finally, "f"),
    ...more,
  });
  return planOf(definition, processors, new Map([["inner", inner]]));
}

/** What the step of this row does. */
function behaviourAt(given: Scenario, rowName: string): Behaviour {
  const local = rowName.split("/").at(-1) ?? "";
  const list = local.startsWith("i") ? given.inner : local.startsWith("f") ? given.finally : given.steps;
  const behaviour = list[Number(local.slice(1))];
  if (behaviour === undefined) throw new Error(`there is no step ${rowName}`);
  return behaviour;
}

/** A step that fails more often than it is retried fails for ever, so that a crash, which costs attempts, changes nothing. */
function failsAt({ failsBy, failures, limit, badItems }: Behaviour, { attempt, item }: Attempt): boolean {
  if (item !== undefined && badItems & (1 << item)) return true;
  return failsBy === "hopeless" ? failures === 3 : failures > limit || attempt <= failures;
}

/** An Enter has no row: who depends on it depends on what it depends on. */
function* rowsBefore(plan: Plan, at: PlanStep): Generator<PlanStep> {
  for (const index of at.dependencies) {
    const before = plan.steps[index];
    if (before?.kind === "Enter") yield* rowsBefore(plan, before);
    else if (before !== undefined) yield before;
  }
}

const letsOnGo = (result: StepResult | undefined) =>
  result?.state === "Succeeded" ||
  result?.state === "Skipped" ||
  (result?.state === "Failed" && result.reason === "Ignored");

const workOf = (step: string, item: number | undefined) => (item === undefined ? step : `${step}/${item}`);

/** Every attempt and every event is checked against the rules that no run may break. */
class Watcher {
  readonly events: RunEvent[] = [];
  readonly #given: Scenario;
  readonly #plan: Plan;
  readonly #time: VirtualTime;
  readonly #results: (StepResult | undefined)[];
  readonly #itemResults = new Set<string>();
  readonly #seen = new Set<string>();
  readonly #inFlight = new Set<string>();
  broken: string | undefined;

  constructor(given: Scenario, plan: Plan, time: VirtualTime, recorded?: Recorded) {
    this.#given = given;
    this.#plan = plan;
    this.#time = time;
    this.#results = plan.steps.map(({ kind, name }) => (kind === "Enter" ? undefined : recorded?.results.get(name)));
    for (const [name, { results }] of recorded?.items ?? [])
      for (const item of results.keys()) this.#itemResults.add(workOf(name, item));
  }

  readonly invoke: Invoke = async (attempt, request, signal) => {
    const behaviour = behaviourAt(this.#given, attempt.stepName);
    this.#check(attempt, behaviour);
    const work = workOf(attempt.stepName, attempt.item);
    signal.addEventListener("abort", () => this.#inFlight.delete(work));
    try {
      if (behaviour.tookMs > 0)
        await new Promise<void>((resolve) => this.#time.scheduler.after(behaviour.tookMs, resolve));
      const fails = failsAt(behaviour, attempt);
      const isHopeless = behaviour.failsBy === "hopeless" || (behaviour.badItems & (1 << (attempt.item ?? 9))) > 0;
      if (fails && behaviour.failsBy === "declaring")
        return { ok: false, metadata: {}, error: { code: "busy", message: "declared", retryable: !isHopeless } };
      if (fails) throw new MillraceError(isHopeless ? "InvalidInput" : "Unavailable", "thrown");
      const bytes = await request.payload.bytes(signal);
      const trace = `${work}${digestOf(bytes)}${JSON.stringify(request.metadata)}`;
      const payload = jsonPayload(digestOf(new TextEncoder().encode(trace)));
      return {
        ok: true,
        payload: behaviour.isStored ? stored(payload) : payload,
        metadata: { from: attempt.stepName },
      };
    } finally {
      this.#inFlight.delete(work);
    }
  };

  readonly onEvent = (event: RunEvent): void => {
    const { name = "", kind } = this.#plan.steps[event.step] ?? {};
    if (this.#results[event.step] !== undefined) this.#broke(`${event.type} of ${name} after it had finished`);
    if (kind === "Enter") this.#broke("an Enter has an event");
    if (kind === "Exit" && event.type !== "StepFinished") this.#broke(`${event.type} of an Exit`);
    if (event.type === "StepFinished") this.#results[event.step] = event.result;
    if (event.type === "ItemFinished") {
      const work = workOf(name, event.item);
      if (this.#itemResults.has(work)) this.#broke(`${work} finished twice`);
      this.#itemResults.add(work);
    }
    this.events.push(event);
  };

  #check({ step: index, stepName, item, attempt }: Attempt, { kind, maxParallel }: Behaviour): void {
    const work = workOf(stepName, item);
    const key = `${work}#${attempt}`;
    if (this.#seen.has(key)) this.#broke(`attempt ${key} was made twice`);
    this.#seen.add(key);
    if (this.#results[index] !== undefined || this.#itemResults.has(work))
      this.#broke(`${work} ran after it had ended`);
    if (this.#inFlight.has(work)) this.#broke(`two attempts of ${work} at once`);
    this.#inFlight.add(work);
    if (this.#inFlight.size > this.#plan.maxParallelSteps) this.#broke("more attempts than may run at once");
    const beside = [...this.#inFlight].filter((other) => other.startsWith(`${stepName}/`) || other === stepName);
    if (kind === "fan" && beside.length > maxParallel) this.#broke(`more items of ${stepName} than may run at once`);
    const at = this.#plan.steps[index];
    if (at === undefined) return;
    for (const before of rowsBefore(this.#plan, at))
      if (!letsOnGo(this.#results[before.index])) this.#broke(`${work} ran before ${before.name} let it`);
    if (index >= this.#plan.finallyFrom) this.#checkGraphIsOver(work);
  }

  #checkGraphIsOver(work: string): void {
    for (const { index, kind, name } of this.#plan.steps.slice(0, this.#plan.finallyFrom))
      if (kind !== "Enter" && this.#results[index] === undefined) this.#broke(`${work} ran before ${name} had ended`);
  }

  #broke(rule: string): void {
    this.broken ??= rule;
  }
}

type Control = "abort" | "cancelGracefully" | "suspend";

/** What is done to a run when it has told so many events; 0: before it starts. */
interface Interruption {
  readonly atEvent: number;
  readonly control: Control;
}

interface Ran {
  readonly outcome: Outcome;
  readonly events: readonly RunEvent[];
  readonly plan: Plan;
}

async function ran(
  given: Scenario,
  plan: Plan,
  more: Partial<RunOptions> = {},
  interruption?: Interruption,
): Promise<Ran> {
  const time = new VirtualTime(given.seed);
  const watcher = new Watcher(given, plan, time, more.recorded);
  const controller = new AbortController();
  const interrupt = () => {
    if (interruption?.control === "abort") controller.abort();
    else if (interruption !== undefined) handle[interruption.control]();
  };
  const onEvent = (event: RunEvent) => {
    watcher.onEvent(event);
    if (watcher.events.length === interruption?.atEvent) interrupt();
  };
  const options = runOptions({ ports: time, invoke: watcher.invoke, onEvent, signal: controller.signal, ...more });
  const handle: RunHandle = startRun(plan, options);
  if (interruption?.atEvent === 0) interrupt();
  const outcome = await time.drive(handle.outcome);
  if (watcher.broken !== undefined) throw new Error(watcher.broken);
  expectLegal(plan, outcome);
  return { outcome, events: watcher.events, plan };
}

/** What is true of every outcome, however the run went. */
function expectLegal(plan: Plan, outcome: Outcome): void {
  const { state, steps, output, outputs, error } = outcome;
  expect(steps).to.have.length(plan.steps.length);
  expect([output === undefined, outputs === undefined]).to.deep.equal(Array(2).fill(state !== "Succeeded"));
  expect(error === undefined).to.equal(state === "Succeeded" || state === "Suspended");
  const failed = plan.steps.filter(({ index }) => {
    const result = steps[index];
    return result?.state === "Failed" && result.reason === undefined;
  });
  const inFinally = failed.filter(({ index }) => index >= plan.finallyFrom);
  if (state === "Succeeded") expect(plan.failurePolicy === "BestEffort" ? inFinally : failed).to.have.length(0);
  if (error?.step !== undefined) expect(failed.map(({ name }) => name)).to.include(error.step);
  for (const at of plan.steps) {
    const result = steps[at.index];
    if (state !== "Suspended" && result === undefined) throw new Error(`${at.name} has not ended`);
    if (result?.state !== "Succeeded") continue;
    for (const before of rowsBefore(plan, at))
      if (!letsOnGo(steps[before.index])) throw new Error(`${at.name} succeeded after ${before.name} did not let it`);
  }
}

/** What a run has to show, without how it came to it. */
async function essence({ outcome, plan }: Ran): Promise<unknown> {
  const rows = await Promise.all(
    plan.steps.map(async ({ kind, index, name }) => {
      const result = outcome.steps[index];
      if (kind === "Enter" || result === undefined) return [name];
      if (result.state === "Succeeded") return [name, await textOf(result.output), result.metadata];
      return result.state === "Failed" ? [name, result.error.code, result.reason] : [name, result.state, result.reason];
    }),
  );
  const named = outcome.outputs?.get("state");
  return {
    state: outcome.state,
    rows,
    output: outcome.output === undefined ? undefined : await textOf(outcome.output),
    named: named === undefined ? undefined : await textOf(named),
  };
}

/** What is recorded when a run is left: of its events a part, and which attempts had been started. */
class Remains {
  readonly results = new Map<string, StepResult>();
  readonly attempts = new Map<string, number>();
  readonly items = new Map<string, RecordedItems>();
  readonly elapsedMs: number;
  readonly #plan: Plan;

  constructor(plan: Plan, before: Recorded | undefined, events: readonly RunEvent[], until: number, elapsedMs = 0) {
    this.#plan = plan;
    this.elapsedMs = elapsedMs;
    for (const [name, result] of before?.results ?? []) this.results.set(name, result);
    for (const [name, attempts] of before?.attempts ?? []) this.attempts.set(name, attempts);
    for (const [name, known] of before?.items ?? []) this.items.set(name, known);
    for (const [at, event] of events.entries()) this.#take(event, at < until);
  }

  #take(event: RunEvent, isRecorded: boolean): void {
    const { name = "" } = this.#plan.steps[event.step] ?? {};
    if (event.type === "StepStarted") this.attempts.set(name, event.attempt);
    const known = this.items.get(name);
    if (event.type === "ItemStarted" && known !== undefined)
      this.items.set(name, { ...known, attempts: new Map(known.attempts).set(event.item, event.attempt) });
    if (!isRecorded) return;
    if (event.type === "StepFinished") this.results.set(name, event.result);
    if (event.type === "ItemsListed" && known === undefined) {
      const { digest, total } = event;
      this.items.set(name, { digest, total, results: new Map(), attempts: new Map() });
    }
    if (event.type === "ItemFinished" && known !== undefined)
      this.items.set(name, {
        ...known,
        results: new Map<number, ItemResult>(known.results).set(event.item, event.result),
      });
  }
}

const atEvent = fc.nat({ max: 40 });
const strategy = fc.constantFrom(...strategies);

describe("run: properties over random graphs, failures, retries, skips, fan-outs and Pipelines in Pipelines", () => {
  it("Continue and BestEffort: all strategies give the same, whatever the parallelism and the order", async () => {
    await fc.assert(
      fc.asyncProperty(
        scenario,
        fc.constantFrom("Continue", "BestEffort"),
        fc.integer({ min: 1, max: 9 }),
        async (given, policy, maxParallelSteps) => {
          const plan = planFor(given, policy);
          const first = await essence(await ran(given, plan));
          for (const [at, other] of strategies.entries()) {
            const run = await ran({ ...given, seed: given.seed + at }, { ...plan, strategy: other, maxParallelSteps });
            expect(await essence(run)).to.deep.equal(first);
          }
        },
      ),
      { numRuns: 1_200 },
    );
  }).timeout(120_000);

  it("FailFast and timeouts: every row ends final and legal, and `finally` runs", async () => {
    await fc.assert(
      fc.asyncProperty(
        scenario,
        strategy,
        fc.constantFrom("Continue", "FailFast", "BestEffort"),
        fc.constantFrom(undefined, 1, 60, 500),
        fc.constantFrom(1, 40, 60_000),
        async (given, strategy, policy, timeoutMs, finallyTimeoutMs) => {
          const limits = { finallyTimeoutMs, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
          const { outcome, plan } = await ran(given, planFor(given, policy, { strategy, ...limits }));
          expect(outcome.state).to.be.oneOf(["Succeeded", "Failed"]);
          expectFinallyRan(given, plan, outcome);
        },
      ),
      { numRuns: 1_500 },
    );
  }).timeout(120_000);

  it("immediate cancellation at any event: ends at once, every row final and legal, nothing starts after it", async () => {
    await fc.assert(
      fc.asyncProperty(
        scenario,
        strategy,
        fc.constantFrom("Continue", "FailFast"),
        atEvent,
        async (given, strategy, policy, atEvent) => {
          const plan = planFor(given, policy, { strategy });
          const { outcome, events } = await ran(given, plan, {}, { atEvent, control: "abort" });
          if (events.length < atEvent) return;
          const later = events.slice(atEvent).filter(({ type }) => type !== "StepFinished" && type !== "ItemFinished");
          expect(later).to.deep.equal([]);
          // FailFast may have stopped it before, and be about to tell.
          if (events.length > atEvent && policy === "Continue") expect(outcome.state).to.equal("Cancelled");
        },
      ),
      { numRuns: 1_000 },
    );
  }).timeout(120_000);

  it("graceful cancellation at any event: nothing of the graph starts after it, `finally` runs, every row final and legal", async () => {
    await fc.assert(
      fc.asyncProperty(
        scenario,
        strategy,
        fc.constantFrom("Continue", "FailFast", "BestEffort"),
        atEvent,
        async (given, strategy, policy, atEvent) => {
          const plan = planFor(given, policy, { strategy });
          const { outcome, events } = await ran(given, plan, {}, { atEvent, control: "cancelGracefully" });
          const mainEnd = events.findLastIndex(({ step }) => step < plan.finallyFrom);
          expectFinallyRan(given, plan, outcome);
          if (atEvent > mainEnd) return;
          // FailFast may have stopped it before, and be about to tell.
          expect(outcome.state).to.be.oneOf(policy === "FailFast" ? ["Cancelled", "Failed"] : ["Cancelled"]);
          // The event itself may be the start of an attempt.
          const started = events
            .slice(atEvent)
            .filter(({ type, step }) => /Started|Retrying|Listed/.test(type) && step < plan.finallyFrom);
          expect(started).to.deep.equal([]);
        },
      ),
      { numRuns: 1_500 },
    );
  }).timeout(120_000);

  it("suspension at any two events, each time resumed: the uninterrupted result", async () => {
    await fc.assert(
      fc.asyncProperty(scenario, strategy, atEvent, atEvent, async (given, strategy, first, second) => {
        const plan = planFor(given, "Continue", { strategy });
        const whole = await essence(await ran(given, plan));
        let recorded: Recorded | undefined;
        for (const atEvent of [first, second]) {
          const more = recorded === undefined ? {} : { recorded };
          const run = await ran(given, plan, more, { atEvent, control: "suspend" });
          if (run.outcome.state !== "Suspended") {
            expect(await essence(run)).to.deep.equal(whole);
            return;
          }
          recorded = new Remains(plan, recorded, run.events, run.events.length);
        }
        const last = recorded === undefined ? {} : { recorded };
        expect(await essence(await ran(given, plan, last))).to.deep.equal(whole);
      }),
      { numRuns: 1_200 },
    );
  }).timeout(120_000);

  it("any control at any event, FailFast and timeouts too, then resumed: every row final and legal", async () => {
    await fc.assert(
      fc.asyncProperty(
        scenario,
        strategy,
        fc.constantFrom("FailFast", "BestEffort"),
        fc.constantFrom(undefined, 1, 60),
        fc.tuple(atEvent, fc.constantFrom("suspend", "cancelGracefully", "abort")),
        async (given, strategy, policy, timeoutMs, [atEvent, control]) => {
          const plan = planFor(given, policy, { strategy, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
          const { events } = await ran(given, plan, {}, { atEvent, control });
          const known = control === "suspend" ? events : events.slice(0, atEvent);
          const { outcome } = await ran(given, plan, { recorded: new Remains(plan, undefined, known, known.length) });
          expectFinallyRan(given, plan, outcome);
        },
      ),
      { numRuns: 1_000 },
    );
  }).timeout(120_000);

  it("crash at any event, resumed from what was recorded by then: the uninterrupted result", async () => {
    await fc.assert(
      fc.asyncProperty(scenario, strategy, atEvent, fc.nat({ max: 40 }), async (given, strategy, crashedAt, until) => {
        const plan = planFor(given, "Continue", { strategy });
        const whole = await essence(await ran(given, plan));
        const { events } = await ran(given, plan, {}, { atEvent: crashedAt, control: "abort" });
        const recorded = new Remains(plan, undefined, events.slice(0, crashedAt), until);
        expect(await essence(await ran(given, plan, { recorded }))).to.deep.equal(whole);
      }),
      { numRuns: 1_500 },
    );
  }).timeout(120_000);

  it("a crash of a run that was stopped: the rest is stopped too, for the same reason, and `finally` runs", async () => {
    await fc.assert(
      fc.asyncProperty(
        scenario,
        strategy,
        fc.constantFrom("Continue", "FailFast"),
        fc.constantFrom(undefined, 1, 60),
        atEvent,
        async (given, strategy, policy, timeoutMs, until) => {
          const plan = planFor(given, policy, { strategy, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
          const { events } = await ran(given, plan);
          const recorded = new Remains(plan, undefined, events.slice(0, until), until, 10_000);
          const resumed = await ran(given, plan, { recorded });
          expectFinallyRan(given, plan, resumed.outcome);
          const reasons = [...recorded.results.values()].flatMap((row) => ("reason" in row ? [row.reason] : []));
          if (!reasons.includes("PipelineTimeout") && !reasons.includes("FailFast")) return;
          const graph = new Set(plan.steps.slice(0, plan.finallyFrom).map(({ index }) => index));
          const started = resumed.events.filter(({ type, step }) => /Started|Listed/.test(type) && graph.has(step));
          if (isOfGraph(plan, recorded, ["PipelineTimeout", "FailFast"])) expect(started).to.deep.equal([]);
        },
      ),
      { numRuns: 1_000 },
    );
  }).timeout(120_000);

  it("AtMostOnce: over crashes no attempt of a step or an item is made twice", async () => {
    await fc.assert(
      fc.asyncProperty(scenario, strategy, atEvent, atEvent, async (given, strategy, first, second) => {
        const once = planFor(given, "Continue", { strategy });
        const steps = once.steps.map((step) => ({
          ...step,
          delivery: "AtMostOnce" as const,
          retry: { ...step.retry, limit: 0 },
        }));
        const plan = { ...once, steps };
        const made: string[] = [];
        const before: string[] = [];
        let recorded: Recorded | undefined;
        for (const atEvent of [first, second, 1_000]) {
          const beforeAttempt = async ({ idempotencyKey }: Attempt) => {
            before.push(idempotencyKey);
            await Promise.resolve();
            made.push(idempotencyKey);
          };
          const more = { beforeAttempt, ...(recorded === undefined ? {} : { recorded }) };
          const { events } = await ran(given, plan, more, { atEvent, control: "abort" });
          recorded = new Remains(plan, recorded, events.slice(0, atEvent), atEvent);
        }
        expect(new Set(before).size).to.equal(before.length);
        expect(new Set(made).size).to.equal(made.length);
      }),
      { numRuns: 500 },
    );
  }).timeout(120_000);
});

/** Whether a row of the graph says that it was stopped. */
function isOfGraph(plan: Plan, { results }: Recorded, reasons: readonly string[]): boolean {
  return plan.steps.slice(0, plan.finallyFrom).some(({ name }) => {
    const result = results.get(name);
    return (result?.state === "Skipped" || result?.state === "Cancelled") && reasons.includes(result.reason);
  });
}

/** The roots of `finally` have had their chance. */
function expectFinallyRan(given: Scenario, plan: Plan, outcome: Outcome): void {
  for (const { index, name, dependencies } of plan.steps.slice(plan.finallyFrom)) {
    const result = outcome.steps[index];
    if (dependencies.length > 0 || result === undefined) continue;
    const reason = "reason" in result ? result.reason : undefined;
    if (behaviourAt(given, name).when === "false") expect(reason).to.be.oneOf(["WhenFalse", "PipelineTimeout"]);
    else expect([reason, result.state]).not.to.deep.equal(["Cancelled", "Skipped"]);
  }
}
