// Engine time per step: no-op steps through a compiled plan, that is everything but the processors themselves: order, rows,
// events, metadata, requests. The baseline is the same graph written by hand, each step an async function that awaits the
// promises of its dependencies and calls the same no-op: what one would write without an engine. It has no rows, events,
// retries, timeouts or cancellation, so it shows the price of those; the bar is absolute (5 µs a step). The last row is
// flatness from 10 to 10,000 steps: how much more the cost per step grows with size than the hand-written graph's does. Both
// grow at 10,000, where the graph itself no longer fits the processor's caches; a cost of the engine's own in O(steps) for each
// step would show as growth beyond that.
import { systemPorts } from "../../engine/clock.ts";
import { jsonPayload } from "../../engine/payload.ts";
import type { StepDefinition } from "../../engine/pipeline.ts";
import type { Plan } from "../../engine/plan.ts";
import type { ProcessorResponse } from "../../engine/processor.ts";
import type { Invoke } from "../../engine/run.ts";
import { run } from "../../engine/run.ts";
import { pipeline, planOf, runOptions, step } from "../support/pipelines.ts";
import { seededRandom } from "../support/virtual-time.ts";
import type { Bench, Row, Side } from "./bench.ts";
import { compare, median } from "./bench.ts";

const maxUsPerStep = 5;
const maxGrowth = 1.2;
const sizes = [10, 100, 1_000, 10_000] as const;
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

function planFor(steps: readonly StepDefinition[]): Plan {
  return planOf(pipeline(steps, { maxParallelSteps: 1_000 }));
}

function engineSide(plan: Plan, runs: number): Side {
  return async () => {
    let done = 0;
    const invoke: Invoke = () => {
      done++;
      return Promise.resolve(response);
    };
    const options = runOptions({ invoke, ports: systemPorts, onEvent: () => undefined });
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

async function graphRow(name: string, steps: readonly StepDefinition[]): Promise<Row> {
  const plan = planFor(steps);
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

/** The sizes take turns, ours and by hand, so that a machine that slows down slows all of them. */
async function flatnessRow(): Promise<Row> {
  const sides = sizes.map((size) => ({ size, plan: planFor(random(size)), runs: 20_000 / size }));
  const ours = new Map<number, number[]>(sizes.map((size) => [size, []]));
  const byHand = new Map<number, number[]>(sizes.map((size) => [size, []]));
  for (let round = 0; round < 18; round++) {
    for (const { size, plan, runs } of sides) {
      const oursUs = await usPerStep(engineSide(plan, runs), size * runs);
      const handUs = await usPerStep(handSide(plan, runs), size * runs);
      if (round < 3) continue;
      ours.get(size)?.push(oursUs);
      byHand.get(size)?.push(handUs);
    }
  }
  const oursUs = sizes.map((size) => median(ours.get(size) ?? []));
  const handUs = sizes.map((size) => median(byHand.get(size) ?? []));
  const growth = Math.max(
    ...sizes.map((_, index) => (oursUs[index] ?? 0) / (oursUs[0] ?? 1) / ((handUs[index] ?? 0) / (handUs[0] ?? 1))),
  );
  return {
    name: "engine-steps/flat",
    ratio: growth,
    bar: `grows <= ${maxGrowth}x the baseline, 10 to 10,000 steps, each <= ${maxUsPerStep} us`,
    ok: growth <= maxGrowth && oursUs.every((us) => us <= maxUsPerStep),
    metrics: Object.fromEntries(sizes.map((size, index) => [`usPerStepOf${size}`, oursUs[index] ?? Number.NaN])),
    baseline: Object.fromEntries(sizes.map((size, index) => [`usPerStepOf${size}`, handUs[index] ?? Number.NaN])),
  };
}

async function usPerStep(side: Side, steps: number): Promise<number> {
  const startMs = performance.now();
  if ((await side()) !== steps) throw new Error("the bench is unfair: steps are missing");
  return ((performance.now() - startMs) * 1000) / steps;
}

export const bench: Bench = async () => [
  await graphRow("chain-100", chain(100)),
  await graphRow("fan-1x100x1", fan(100)),
  await graphRow("random-1000", random(1_000)),
  await flatnessRow(),
];
