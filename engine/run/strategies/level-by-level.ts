import type { ExecutionStrategy } from "../strategy.ts";
import type { ReadyQueue } from "./counting-schedule.ts";
import { CountingSchedule } from "./counting-schedule.ts";

/** Kahn's levels: the steps that all paths reach together start together, and the next level when all of this one have ended. */
export const levelByLevel: ExecutionStrategy = {
  name: "LevelByLevel",
  schedule: (part, settled) => new CountingSchedule(part, settled, new Levels(part.count)),
};

class Levels implements ReadyQueue {
  /** By step: whether its level has begun, so that it is ready again. */
  readonly #begun: Uint8Array;
  /** Ready steps of the level that has begun; those before `#head` have been given out. */
  #level: number[] = [];
  #head = 0;
  /** Steps of this level that have not ended. */
  #open = 0;
  #nextLevel: number[] = [];

  constructor(count: number) {
    this.#begun = new Uint8Array(count);
  }

  push(step: number): void {
    if (this.#begun[step] === 1) this.#level.push(step);
    else this.#nextLevel.push(step);
  }

  pop(): number {
    if (this.#open === 0) this.#begin();
    return this.#head < this.#level.length ? (this.#level[this.#head++] ?? -1) : -1;
  }

  ended(): void {
    this.#open--;
  }

  #begin(): void {
    this.#level = this.#nextLevel;
    this.#nextLevel = [];
    this.#head = 0;
    this.#open = this.#level.length;
    for (const step of this.#level) this.#begun[step] = 1;
  }
}
