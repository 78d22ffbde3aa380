import type { PlanStep } from "../plan.ts";

/** The steps that one schedule orders: those of the graph, or those of `finally`. */
export interface PlanPart {
  /** Their indices follow each other. */
  readonly steps: readonly PlanStep[];
  /** Of the whole plan: step indices are below it. */
  readonly count: number;
  readonly maxParallelSteps: number;
}

/**
 * Decides in which order the steps of a run start. It knows the graph, and of backends only the names of their lanes.
 * Every strategy must offer each step exactly once, after all of its dependencies, and again each time that it is `ready`
 * again, and nothing else: then all of them give the same results.
 */
export interface ExecutionStrategy {
  readonly name: string;
  /** The order of one run's part. `settled(step)` says which steps an earlier part of the run already ended. */
  schedule(part: PlanPart, settled: (step: number) => boolean): Schedule;
}

/** The order of one run, driven by the run's events. Synchronous; gives out at most `maxParallelSteps` slots. */
export interface Schedule {
  /** The next step to give a slot to, or -1 while there is none or no slot is free. */
  next(): number;
  /** One slot of the step is free again. */
  released(step: number): void;
  /** The step wants a slot again: for its next attempt, or for another item of its fan-out. */
  ready(step: number): void;
  /** The step has ended, whatever its state: its dependents may have become ready. Its slots are released apart. */
  ended(step: number): void;
}
