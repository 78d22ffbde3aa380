import type { PlanStep } from "../../plan.ts";
import type { PlanPart } from "../strategy.ts";
import type { ReadyQueue } from "./counting-schedule.ts";

/** What a step of the path is worth: more than can become ready. */
const lead = 2 ** 36;

/** Ready steps by the longest path that hangs on them, longest first; among equals in the order in which they became ready. A binary heap. */
export class LongestPathFirst implements ReadyQueue {
  readonly #part: readonly PlanStep[];
  /** The index of the part's first step. */
  readonly #first: number;
  readonly #steps: number[] = [];
  /** Beside `#steps`; the smallest is first. */
  readonly #ranks: number[] = [];
  #pushed = 0;

  constructor({ steps }: PlanPart) {
    this.#part = steps;
    this.#first = steps[0]?.index ?? 0;
  }

  get length(): number {
    return this.#steps.length;
  }

  push(step: number): void {
    const rank = this.#pushed++ - (this.#part[step - this.#first]?.pathLength ?? 0) * lead;
    const steps = this.#steps;
    const ranks = this.#ranks;
    let at = steps.length;
    steps.push(step);
    ranks.push(rank);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = ranks[parent] ?? 0;
      if (above <= rank) break;
      steps[at] = steps[parent] ?? 0;
      ranks[at] = above;
      at = parent;
    }
    steps[at] = step;
    ranks[at] = rank;
  }

  pop(): number {
    const first = this.#steps[0] ?? -1;
    const step = this.#steps.pop();
    const rank = this.#ranks.pop();
    if (step !== undefined && rank !== undefined && this.#steps.length > 0) this.#sink(step, rank);
    return first;
  }

  /** Puts the step where the first was, and lets it sink to its place. */
  #sink(step: number, rank: number): void {
    const steps = this.#steps;
    const ranks = this.#ranks;
    const count = steps.length;
    let at = 0;
    for (let child = 1; child < count; child = 2 * at + 1) {
      const right = child + 1;
      if (right < count && (ranks[right] ?? 0) < (ranks[child] ?? 0)) child = right;
      const below = ranks[child] ?? 0;
      if (below >= rank) break;
      steps[at] = steps[child] ?? 0;
      ranks[at] = below;
      at = child;
    }
    steps[at] = step;
    ranks[at] = rank;
  }
}
