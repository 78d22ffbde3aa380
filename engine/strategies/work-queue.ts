import type { Plan } from "../plan.ts";
import type { ExecutionStrategy, Schedule } from "../strategy.ts";

/** Dependency counting: a step is ready as soon as its last dependency has ended; what is ready first starts first. */
export const workQueue: ExecutionStrategy = {
  name: "WorkQueue",
  schedule: (plan, settled) => new WorkQueueSchedule(plan, settled),
};

/** More dependencies than there can be: a step that has ended already is never ready again. */
const never = 2 ** 30;

class WorkQueueSchedule implements Schedule {
  readonly #plan: Plan;
  /** By step: dependencies that have not ended. */
  readonly #open: Int32Array;
  /** Steps that are or were ready; those before `#head` have been given out. */
  readonly #ready: number[] = [];
  #head = 0;
  #freeSlots: number;

  constructor(plan: Plan, settled: (step: number) => boolean) {
    this.#plan = plan;
    this.#freeSlots = plan.maxParallelSteps;
    this.#open = new Int32Array(plan.steps.length);
    for (const step of plan.steps) {
      let open = 0;
      for (const dependency of step.dependencies) if (!settled(dependency)) open++;
      const isSettled = settled(step.index);
      this.#open[step.index] = isSettled ? never : open;
      if (open === 0 && !isSettled) this.#ready.push(step.index);
    }
  }

  next(): number {
    if (this.#freeSlots === 0 || this.#head === this.#ready.length) return -1;
    this.#freeSlots--;
    return this.#ready[this.#head++] ?? -1;
  }

  finished(step: number): void {
    this.#freeSlots++;
    const open = this.#open;
    for (const dependent of this.#plan.steps[step]?.dependents ?? []) {
      const left = (open[dependent] ?? 0) - 1;
      open[dependent] = left;
      if (left === 0) this.#ready.push(dependent);
    }
  }

  paused(_step: number): void {
    this.#freeSlots++;
  }

  resumed(step: number): void {
    this.#ready.push(step);
  }
}
