import type { Plan } from "./plan.ts";

/**
 * Decides in which order the steps of a run start. It knows the graph and never calls a backend.
 * Every strategy must offer each step exactly once, after all of its dependencies, and nothing else: then all of them
 * give the same results.
 */
export interface ExecutionStrategy {
  readonly name: string;
  /** The order of one run. `settled(step)` says which steps an earlier part of the run already ended. */
  schedule(plan: Plan, settled: (step: number) => boolean): Schedule;
}

/** The order of one run, driven by the run's events. Synchronous, and bounded by the plan's `maxParallelSteps`. */
export interface Schedule {
  /** The next step to start, or -1 while there is none or no slot is free. The step holds a slot until `finished` or `paused`. */
  next(): number;
  /** The step has ended, whatever its state: its slot is free, its dependents may have become ready. */
  finished(step: number): void;
  /** The step waits for its next attempt and gives its slot away. */
  paused(step: number): void;
  /** The step's wait is over: it is ready again. */
  resumed(step: number): void;
}
