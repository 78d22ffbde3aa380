import type { ExecutionStrategy } from "../strategy.ts";
import type { ReadyQueue } from "./counting-schedule.ts";
import { CountingSchedule } from "./counting-schedule.ts";

/** Follows the data: what became ready last starts first, so that a result is used while it is warm. */
export const reactive: ExecutionStrategy = {
  name: "Reactive",
  schedule: (part, settled) => new CountingSchedule(part, settled, new LastFirst()),
};

class LastFirst implements ReadyQueue {
  readonly #steps: number[] = [];

  push(step: number): void {
    this.#steps.push(step);
  }

  pop(): number {
    return this.#steps.pop() ?? -1;
  }
}
