// Engine time per step: no-op steps through a compiled plan, that is everything but the processors themselves: order, rows,
// events, metadata, requests. The baseline is the same graph written by hand, each step an async function that awaits the
// promises of its dependencies and calls the same no-op: what one would write without an engine. It has no rows, events,
// retries, timeouts or cancellation, so it shows the price of those; the bar is absolute (5 µs a step). Each strategy has a row
// of its own over the random DAG. Two rows are about flatness from 10 to 10,000: of steps, and of one step's items. They tell
// how much more the cost of each grows with their number than the hand-written graph's does. Both sides grow at 10,000, where
// the graph itself no longer fits the processor's caches; a cost of the engine's own in O(n) for each would show as growth
// beyond that. A Pipeline has at most 1,032 rows: the plan of 10,000 steps is ten compiled ones of 1,000 beside each other.
import { systemPorts } from "../../engine/clock.ts";
import { jsonPayload, type Payload } from "../../engine/payload.ts";
import type { StepDefinition, StrategyName } from "../../engine/pipeline.ts";
import type { Plan } from "../../engine/plan.ts";
import type { ProcessorResponse } from "../../engine/processor.ts";
import { run } from "../../engine/run/run.ts";
import type { Invoke } from "../../engine/run/run-options.ts";
import { pipeline, planOf, runOptions, step } from "../support/pipelines.ts";
import { seededRandom } from "../support/virtual-time.ts";
import type { Bench, Row, Side } from "./bench.ts";
import { compare, median } from "./bench.ts";

const maxUsPerStep = 5;
const maxGrowth = 1.2;
const sizes = [10, 100, 1_000, 10_000] as const;
/** A Pipeline may have not many more. */
const mostCompiled = 1_000;
const strategies: readonly StrategyName[] = ["WorkQueue", "LevelByLevel", "Reactive", "Hybrid"];
const never = new AbortController().signal;
const response: ProcessorResponse = { ok: true, payload: jsonPayload(null), metadata: {} };

function chain(length: number): StepDefinition[] {
  return Array.from({ length }, (_, index) => step(`s${index}`, index === 0 ? [] : [`s${index - 1}`]));
}

function fan(width: number): StepDefinition[] {
  const middle = Array.from({ length: width }, (_, index) => step(`m${index}`, ["first"], { processor: "analyze" }));
  return [
    step("first"),
    ...middle,
    step(
      "last",
      middle.map(({ name }) => name),
    ),
  ];
}

/** Up to three dependencies among the twenty steps before. Analyze steps, so that no input has to be chosen. */
function random(length: number): StepDefinition[] {
  const next = seededRandom(42);
  return Array.from({ length }, (_, index) => {
    const count = Math.min(index, Math.floor(next() * 4));
    const dependsOn = new Set(
      Array.from({ length: count }, () => `s${index - 1 - Math.floor(next() * Math.min(index, 20))}`),
    );
    return step(`s${index}`, [...dependsOn], { processor: "analyze" });
  });
}

function planFor(steps: readonly StepDefinition[], strategy: StrategyName = "WorkQueue"): Plan {
  return planOf(pipeline(steps, { maxParallelSteps: 1_000, strategy }));
}

function randomPlan(length: number): Plan {
  const times = Math.ceil(length / mostCompiled);
  return beside(planFor(random(length / times)), times);
}

/** A plan of more steps than a Pipeline may have: this many of it side by side. */
function beside(plan: Plan, times: number): Plan {
  const { length } = plan.steps;
  const starts = Array.from({ length: times }, (_, index) => index * length);
  const steps = starts.flatMap((start) =>
    plan.steps.map((step) => ({
      ...step,
      index: step.index + start,
      name: `${step.name}-${start}`,
      dependencies: step.dependencies.map((index) => index + start),
      dependents: step.dependents.map((index) => index + start),
      origin: step.origin < 0 ? step.origin : step.origin + start,
    })),
  );
  const order = starts.flatMap((start) => plan.order.map((index) => index + start));
  return { ...plan, steps, order, finallyFrom: steps.length };
}

function engineSide(plan: Plan, runs: number, input: Payload = jsonPayload("in")): Side {
  return async () => {
    let done = 0;
    const invoke: Invoke = () => {
      done++;
      return Promise.resolve(response);
    };
    const options = runOptions({ input, invoke, ports: systemPorts, onEvent: () => undefined });
    for (let i = 0; i < runs; i++) {
      const outcome = await run(plan, options);
      if (outcome.state !== "Succeeded") throw new Error(`the run ended ${outcome.state}`);
    }
    return done;
  };
}

function handSide(plan: Plan, runs: number): Side {
  return async () => {
    let done = 0;
    const process = () => {
      done++;
      return Promise.resolve(response);
    };
    for (let i = 0; i < runs; i++) {
      const results: Promise<ProcessorResponse>[] = [];
      for (const { index, dependencies } of plan.steps) {
        results[index] = (async () => {
          await Promise.all(
            dependencies.map((dependency) => results[dependency] ?? Promise.reject(new Error("not started yet"))),
          );
          return process();
        })();
      }
      await Promise.all(results);
    }
    return done;
  };
}

async function graphRow(
  name: string,
  steps: readonly StepDefinition[],
  strategy: StrategyName = "WorkQueue",
): Promise<Row> {
  const plan = planFor(steps, strategy);
  const runs = Math.ceil(20_000 / steps.length);
  const units = runs * steps.length;
  const { oursUs, baselineUs } = await compare({ units, ours: engineSide(plan, runs), baseline: handSide(plan, runs) });
  return {
    name: `engine-steps/${name}`,
    ratio: oursUs / baselineUs,
    bar: `<= ${maxUsPerStep} us a step`,
    ok: oursUs <= maxUsPerStep,
    metrics: { usPerStep: oursUs, stepsPerSecond: 1e6 / oursUs },
    baseline: { usPerStep: baselineUs },
  };
}

/** Two ways of doing the same number of units. */
interface Sized {
  readonly ours: Side;
  readonly byHand: Side;
}

/** The sizes take turns, ours and by hand, so that a machine that slows down slows all of them. */
async function flatnessRow(name: string, sized: (size: number, runs: number) => Sized): Promise<Row> {
  const units = 20_000;
  const sides = sizes.map((size) => sized(size, units / size));
  const ours = sizes.map((): number[] => []);
  const byHand = sizes.map((): number[] => []);
  for (let round = 0; round < 18; round++) {
    for (const [index, side] of sides.entries()) {
      const oursUs = await usPerUnit(side.ours, units);
      const handUs = await usPerUnit(side.byHand, units);
      if (round < 3) continue;
      ours[index]?.push(oursUs);
      byHand[index]?.push(handUs);
    }
  }
  const oursUs = ours.map(median);
  const handUs = byHand.map(median);
  const growthOf = (us: readonly number[], index: number) => (us[index] ?? 0) / (us[0] ?? 1);
  const growth = Math.max(...sizes.map((_, index) => growthOf(oursUs, index) / growthOf(handUs, index)));
  const named = (us: readonly number[]) =>
    Object.fromEntries(sizes.map((size, index) => [`usOf${size}`, us[index] ?? Number.NaN]));
  return {
    name: `engine-steps/${name}`,
    ratio: growth,
    bar: `grows <= ${maxGrowth}x the baseline, 10 to 10,000, each <= ${maxUsPerStep} us`,
    ok: growth <= maxGrowth && oursUs.every((us) => us <= maxUsPerStep),
    metrics: named(oursUs),
    baseline: named(handUs),
  };
}

async function usPerUnit(side: Side, units: number): Promise<number> {
  const startMs = performance.now();
  if ((await side()) !== units) throw new Error("the bench is unfair: units are missing");
  return ((performance.now() - startMs) * 1000) / units;
}

function sizedSteps(size: number, runs: number): Sized {
  const plan = randomPlan(size);
  return { ours: engineSide(plan, runs), byHand: handSide(plan, runs) };
}

/** By hand: the list is read, each item's own payload is made and processed, the outputs are put together as JSON. */
function sizedItems(size: number, runs: number): Sized {
  const plan = planFor([step("each", [], { forEach: "input" })]);
  const input = jsonPayload(Array.from({ length: size }, (_, index) => index));
  return { ours: engineSide(plan, runs, input), byHand: itemsByHand(input, runs) };
}

function itemsByHand(input: Payload, runs: number): Side {
  return async () => {
    let done = 0;
    const process = async (payload: Payload) => {
      done++;
      await payload.bytes(never);
      return response;
    };
    for (let i = 0; i < runs; i++) {
      const list: unknown[] = JSON.parse(new TextDecoder().decode(await input.bytes(never)));
      await Promise.all(list.map((item) => process(jsonPayload(item as number))));
      jsonPayload(list.map(() => null));
    }
    return done;
  };
}

export const bench: Bench = async () => {
  const rows = [
    await graphRow("chain-100", chain(100)),
    await graphRow("fan-1x100x1", fan(100)),
    await graphRow("random-1000", random(1_000)),
  ];
  for (const strategy of strategies) rows.push(await graphRow(strategy, random(1_000), strategy));
  return [...rows, await flatnessRow("flat", sizedSteps), await flatnessRow("flat-items", sizedItems)];
};
