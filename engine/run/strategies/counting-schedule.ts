import type { PlanPart, Schedule } from "../strategy.ts";

/** Which of the steps that are ready comes next: what the strategies differ in. */
export interface ReadyQueue {
  /** The step is ready, for the first time or again. */
  push(step: number): void;
  /** Takes the next step out; -1 while none may start. */
  pop(): number;
  /** A slot of the step is free again. */
  released?(step: number): void;
  /** The step has ended; those that became ready by it have been pushed. */
  ended?(step: number): void;
}

/** More dependencies than there can be: a step that has ended already never becomes ready. */
const never = 2 ** 30;

/** Counts dependencies and slots: a step is ready as soon as its last dependency has ended. */
export class CountingSchedule implements Schedule {
  readonly #steps: PlanPart["steps"];
  /** The index of the part's first step. */
  readonly #first: number;
  /** By step: dependencies that have not ended. */
  readonly #open: Int32Array;
  readonly #queue: ReadyQueue;
  #freeSlots: number;

  constructor(part: PlanPart, settled: (step: number) => boolean, queue: ReadyQueue) {
    this.#queue = queue;
    this.#freeSlots = part.maxParallelSteps;
    this.#open = new Int32Array(part.count);
    this.#steps = part.steps;
    this.#first = part.steps[0]?.index ?? 0;
    for (const { index, dependencies } of part.steps) {
      let open = 0;
      for (const dependency of dependencies) if (!settled(dependency)) open++;
      const isSettled = settled(index);
      this.#open[index] = isSettled ? never : open;
      if (open === 0 && !isSettled) queue.push(index);
    }
  }

  next(): number {
    if (this.#freeSlots === 0) return -1;
    const step = this.#queue.pop();
    if (step >= 0) this.#freeSlots--;
    return step;
  }

  released(step: number): void {
    this.#freeSlots++;
    this.#queue.released?.(step);
  }

  ready(step: number): void {
    this.#queue.push(step);
  }

  ended(step: number): void {
    const open = this.#open;
    for (const dependent of this.#steps[step - this.#first]?.dependents ?? []) {
      const left = (open[dependent] ?? 0) - 1;
      open[dependent] = left;
      if (left === 0) this.#queue.push(dependent);
    }
    this.#queue.ended?.(step);
  }
}
