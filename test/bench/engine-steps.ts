// Engine time per step: no-op steps through a compiled plan, that is everything but the processors themselves: order, rows,
// events, metadata, requests. The baseline is the same graph written by hand, each step an async function that awaits the
// promises of its dependencies and calls the same no-op: what one would write without an engine. It has no rows, events,
// retries, timeouts or cancellation, so it shows the price of those; the bar is absolute (5 µs a step), and a second one is
// flatness: the cost per step of 10, 100, 1,000 and 10,000 steps stays within 20 % of their mean.

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
const flatnessPercent = 20;
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
          await Promise.all(dependencies.map((dependency) => results[dependency]));
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

/** The sizes take turns, so that a machine that slows down slows all of them. */
async function flatnessRow(): Promise<Row> {
  const sizes = [10, 100, 1_000, 10_000] as const;
  const sides = sizes.map((size) => ({
    size,
    runs: 20_000 / size,
    side: engineSide(planFor(random(size)), 20_000 / size),
  }));
  const costs = new Map<number, number[]>(sizes.map((size) => [size, []]));
  for (let round = 0; round < 18; round++) {
    for (const { size, runs, side } of sides) {
      const startMs = performance.now();
      if ((await side()) !== size * runs) throw new Error("the bench is unfair: steps are missing");
      if (round >= 3) costs.get(size)?.push(((performance.now() - startMs) * 1000) / (size * runs));
    }
  }
  const medians = sizes.map((size) => median(costs.get(size) ?? []));
  const mean = medians.reduce((sum, cost) => sum + cost, 0) / medians.length;
  const worst = Math.max(...medians.map((cost) => Math.abs(cost - mean) / mean));
  return {
    name: "engine-steps/flat",
    ratio: 1 + worst,
    bar: `within ${flatnessPercent} % of the mean, 10 to 10,000 steps`,
    ok: worst <= flatnessPercent / 100,
    metrics: Object.fromEntries(sizes.map((size, index) => [`usPerStepOf${size}`, medians[index] ?? Number.NaN])),
    baseline: { usPerStepMean: mean },
  };
}

export const bench: Bench = async () => [
  await graphRow("chain-100", chain(100)),
  await graphRow("fan-1x100x1", fan(100)),
  await graphRow("random-1000", random(1_000)),
  await flatnessRow(),
];
