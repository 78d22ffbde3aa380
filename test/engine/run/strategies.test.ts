import { expect } from "chai";
import fc from "fast-check";
import type { StepDefinition } from "../../../engine/pipeline.ts";
import type { Plan } from "../../../engine/plan.ts";
import { hybrid } from "../../../engine/run/strategies/hybrid.ts";
import { levelByLevel } from "../../../engine/run/strategies/level-by-level.ts";
import { reactive } from "../../../engine/run/strategies/reactive.ts";
import { workQueue } from "../../../engine/run/strategies/work-queue.ts";
import type { ExecutionStrategy, PlanPart, Schedule } from "../../../engine/run/strategy.ts";
import { facts, pipeline, planOf, step } from "../../support/pipelines.ts";
import { seededRandom } from "../../support/virtual-time.ts";

const strategies = [workQueue, levelByLevel, reactive, hybrid];

const laned = new Map([
  ["local", facts("local")],
  ["rpc", facts("rpc", { lane: "RPC" })],
  ["wasm", facts("wasm", { lane: "WASM" })],
]);

function lanedPlan(steps: readonly StepDefinition[], maxParallelSteps: number): Plan {
  return planOf(pipeline(steps, { maxParallelSteps, output: "1" }), laned);
}

function partOf({ steps, maxParallelSteps }: Plan): PlanPart {
  return { steps, count: steps.length, maxParallelSteps };
}

function scheduleOf(strategy: ExecutionStrategy, plan: Plan, settled: readonly number[] = []): Schedule {
  return strategy.schedule(partOf(plan), (index) => settled.includes(index));
}

function allNext(schedule: Schedule): number[] {
  const given: number[] = [];
  for (let next = schedule.next(); next >= 0; next = schedule.next()) given.push(next);
  return given;
}

function end(schedule: Schedule, index: number): void {
  schedule.released(index);
  schedule.ended(index);
}

interface Shape {
  /** Which of the steps before it a step depends on, as bits; and how often it wants a slot again. */
  readonly steps: readonly { readonly before: number; readonly again: number; readonly lane: string }[];
  readonly slots: number;
  readonly settled: number;
  readonly seed: number;
}

const shape: fc.Arbitrary<Shape> = fc.record({
  steps: fc.array(
    fc.record({
      before: fc.nat({ max: 0xff }),
      again: fc.constantFrom(0, 0, 1, 3),
      lane: fc.constantFrom("local", "rpc", "wasm"),
    }),
    { minLength: 1, maxLength: 12 },
  ),
  slots: fc.integer({ min: 1, max: 5 }),
  settled: fc.nat({ max: 3 }),
  seed: fc.nat(),
});

function definitionsOf({ steps }: Shape): StepDefinition[] {
  return steps.map(({ before, lane }, index) => {
    const bits = [...Array(Math.min(index, 8)).keys()].filter((bit) => before & (1 << bit));
    return step(
      `s${index}`,
      bits.map((bit) => `s${index - 1 - bit}`),
      { processor: lane, input: "1" },
    );
  });
}

/** Drives a schedule as a run does, in a random order; gives the steps in the order in which they were offered first. */
function driven(strategy: ExecutionStrategy, given: Shape): number[] {
  const plan = lanedPlan(definitionsOf(given), given.slots);
  const settled = plan.order.slice(0, Math.min(given.settled, plan.steps.length - 1));
  const schedule = scheduleOf(strategy, plan, settled);
  const random = seededRandom(given.seed);
  const left = new Map(plan.steps.map(({ index }) => [index, 1 + (given.steps[index]?.again ?? 0)]));
  const ended = new Set(settled);
  const holding: number[] = [];
  const first: number[] = [];
  while (ended.size < plan.steps.length) {
    for (const index of allNext(schedule)) {
      const offers = left.get(index) ?? 0;
      if (offers <= 0 || ended.has(index)) throw new Error(`s${index} was offered once too often`);
      if (holding.includes(index)) throw new Error(`s${index} was offered without having asked again`);
      for (const before of plan.steps[index]?.dependencies ?? [])
        if (!ended.has(before)) throw new Error(`s${index} was offered before s${before} had ended`);
      left.set(index, offers - 1);
      holding.push(index);
      if (!first.includes(index)) first.push(index);
      if (holding.length > given.slots) throw new Error("more slots were given out than there are");
    }
    if (holding.length === 0) throw new Error("nothing is offered, and not everything has ended");
    const [index = 0] = holding.splice(Math.floor(random() * holding.length), 1);
    schedule.released(index);
    if ((left.get(index) ?? 0) > 0) schedule.ready(index);
    else {
      ended.add(index);
      schedule.ended(index);
    }
  }
  if (schedule.next() !== -1) throw new Error("something is offered after everything has ended");
  return first;
}

for (const strategy of strategies) {
  describe(`the strategy ${strategy.name}`, () => {
    it("offers each step once, after its dependencies, and again when it asks, within the slots", () => {
      fc.assert(
        fc.property(shape, (given) => {
          expect(driven(strategy, given).length).to.equal(
            given.steps.length - Math.min(given.settled, given.steps.length - 1),
          );
        }),
        { numRuns: 500 },
      );
    });

    it("gives one step as many slots as it asks for", () => {
      const schedule = scheduleOf(strategy, lanedPlan([step("a", [], { processor: "local" })], 3));
      expect(allNext(schedule)).to.deep.equal([0]);
      for (let more = 0; more < 3; more++) schedule.ready(0);
      expect(allNext(schedule)).to.deep.equal([0, 0]);
      schedule.released(0);
      expect(allNext(schedule)).to.deep.equal([0]);
    });

    it("gives a slot that is free again to another step, and the next one to the step that asks again", () => {
      const steps = ["a", "b", "c"].map((name) => step(name, [], { processor: "local" }));
      const schedule = scheduleOf(strategy, lanedPlan(steps, 1));
      const [first = -1] = allNext(schedule);
      schedule.released(first);
      const [second = -1] = allNext(schedule);
      expect(second).not.to.equal(first);
      schedule.ready(first);
      end(schedule, second);
      const rest = [...Array(2)].map(() => {
        const [next = -1] = allNext(schedule);
        end(schedule, next);
        return next;
      });
      const sorted = (steps: readonly number[]) => steps.toSorted((a, b) => a - b);
      expect(sorted([first, second, ...rest])).to.deep.equal(sorted([0, 1, 2, first]));
    });
  });
}

describe("the orders of the strategies", () => {
  const local = { processor: "local" };
  /** short; long → then → last; wide. */
  const paths = [
    step("short", [], local),
    step("long", [], local),
    step("then", ["long"], local),
    step("last", ["then"], local),
    step("wide", [], local),
  ];
  const orderOf = (strategy: ExecutionStrategy, steps: readonly StepDefinition[]): string[] => {
    const plan = lanedPlan(steps, 1);
    const schedule = scheduleOf(strategy, plan);
    const order: string[] = [];
    for (let next = schedule.next(); next >= 0; next = schedule.next()) {
      order.push(plan.steps[next]?.name ?? "");
      end(schedule, next);
    }
    return order;
  };

  it("WorkQueue: the longest path first, among equals in the order in which they became ready", () => {
    expect(orderOf(workQueue, paths)).to.deep.equal(["long", "then", "short", "wide", "last"]);
  });

  it("Reactive: what became ready last", () => {
    expect(orderOf(reactive, paths)).to.deep.equal(["wide", "long", "then", "last", "short"]);
  });

  it("LevelByLevel: a level after the other", () => {
    expect(orderOf(levelByLevel, paths)).to.deep.equal(["short", "long", "wide", "then", "last"]);
  });

  it("Hybrid: the lanes take turns, the longest path first in each", () => {
    const rpc = { processor: "rpc" };
    const steps = [step("r1", [], rpc), step("r2", [], rpc), ...paths];
    expect(orderOf(hybrid, steps)).to.deep.equal(["r1", "long", "r2", "then", "short", "wide", "last"]);
  });

  it("LevelByLevel begins no step while one of the level before runs", () => {
    const plan = lanedPlan(paths, 5);
    const schedule = scheduleOf(levelByLevel, plan);
    expect(allNext(schedule)).to.deep.equal([0, 1, 4]);
    end(schedule, 1);
    end(schedule, 0);
    expect(allNext(schedule)).to.deep.equal([]);
    end(schedule, 4);
    expect(allNext(schedule)).to.deep.equal([2]);
  });
});

describe("the lanes of Hybrid", () => {
  const many = (processor: string, count: number, dependsOn: readonly string[] = []) =>
    Array.from({ length: count }, (_, index) => step(`${processor}${index}`, dependsOn, { processor }));

  it("a slow lane with many ready steps leaves the others a slot each", () => {
    const plan = lanedPlan([...many("rpc", 50), ...many("local", 3), ...many("wasm", 3)], 5);
    const schedule = scheduleOf(hybrid, plan);
    const lanes = allNext(schedule).map((index) => plan.steps[index]?.lane);
    expect(lanes.filter((lane) => lane === "RPC").length).to.be.at.most(3);
    expect(new Set(lanes)).to.deep.equal(new Set(["RPC", "Local", "WASM"]));
  });

  it("a slow lane never holds up the steps of another, whenever they become ready", () => {
    const chain = [step("l0", [], { processor: "local" }), step("l1", ["l0"], { processor: "local" })];
    const plan = lanedPlan([...many("rpc", 50), ...chain, step("l2", ["l1"], { processor: "local" })], 4);
    const schedule = scheduleOf(hybrid, plan);
    // No step of RPC ever ends.
    let lastLocal = allNext(schedule).find((index) => plan.steps[index]?.lane === "Local");
    const local: (string | undefined)[] = [];
    while (lastLocal !== undefined) {
      local.push(plan.steps[lastLocal]?.name);
      end(schedule, lastLocal);
      lastLocal = allNext(schedule).find((index) => plan.steps[index]?.lane === "Local");
    }
    expect(local).to.deep.equal(["l0", "l1", "l2"]);
  });

  it("holds nothing back where one lane alone has steps, from the start or after the others have ended", () => {
    const alone = scheduleOf(hybrid, lanedPlan(many("rpc", 8), 4));
    expect(allNext(alone)).to.have.length(4);
    const plan = lanedPlan([...many("rpc", 8), step("l", [], { processor: "local" })], 4);
    const schedule = scheduleOf(hybrid, plan);
    const local = allNext(schedule).find((index) => plan.steps[index]?.lane === "Local") ?? -1;
    end(schedule, local);
    expect(allNext(schedule)).to.have.length(1);
    const resumed = scheduleOf(hybrid, plan, [8]);
    expect(allNext(resumed)).to.have.length(4);
  });

  it("takes turns where there are fewer slots than lanes", () => {
    const plan = lanedPlan([...many("rpc", 3), ...many("local", 3), ...many("wasm", 3)], 1);
    const schedule = scheduleOf(hybrid, plan);
    const lanes = Array.from({ length: 9 }, () => {
      const [next = -1] = allNext(schedule);
      end(schedule, next);
      return plan.steps[next]?.lane;
    });
    expect(lanes.slice(0, 3)).to.have.members(["RPC", "Local", "WASM"]);
    expect(lanes.slice(0, 3)).to.deep.equal(lanes.slice(3, 6));
  });
});
