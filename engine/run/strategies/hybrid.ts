import type { BackendLane } from "../../pipeline.ts";
import type { ExecutionStrategy, PlanPart } from "../strategy.ts";
import type { ReadyQueue } from "./counting-schedule.ts";
import { CountingSchedule } from "./counting-schedule.ts";
import { LongestPathFirst } from "./longest-path-first.ts";

/**
 * A lane for each kind of backend. Lanes take turns, within one the longest path comes first. Each lane that still has steps
 * that have not ended has a slot that no other lane takes, as far as there are slots: one that is slow starves none.
 */
export const hybrid: ExecutionStrategy = {
  name: "Hybrid",
  schedule: (part, settled) => new CountingSchedule(part, settled, new Lanes(part, settled)),
};

interface Lane {
  readonly ready: LongestPathFirst;
  /** Slots that its steps hold. */
  held: number;
  /** Steps that have not ended. */
  open: number;
}

class Lanes implements ReadyQueue {
  /** By step; none for an Enter or Exit, which no backend runs. */
  readonly #laneOf: (Lane | undefined)[];
  readonly #lanes: readonly Lane[];
  /** What no backend runs ends at once: it comes first and is not counted. */
  readonly #passages: LongestPathFirst;
  readonly #slots: number;
  /** Lanes with steps that have not ended. */
  #openLanes: number;
  /** The lane whose turn it is, if it can use it. */
  #turn = 0;

  constructor(part: PlanPart, settled: (step: number) => boolean) {
    const lanes = new Map<BackendLane, Lane>();
    this.#passages = new LongestPathFirst(part);
    this.#laneOf = Array.from({ length: part.count }, () => undefined);
    this.#slots = part.maxParallelSteps;
    for (const { index, kind, lane: name } of part.steps) {
      if (kind !== "Processor" || settled(index)) continue;
      const lane = lanes.get(name) ?? { ready: new LongestPathFirst(part), held: 0, open: 0 };
      lanes.set(name, lane);
      lane.open++;
      this.#laneOf[index] = lane;
    }
    this.#lanes = [...lanes.values()];
    this.#openLanes = lanes.size;
  }

  push(step: number): void {
    (this.#laneOf[step]?.ready ?? this.#passages).push(step);
  }

  pop(): number {
    if (this.#passages.length > 0) return this.#passages.pop();
    const most = Math.max(1, this.#slots - this.#openLanes + 1);
    for (let offset = 0; offset < this.#lanes.length; offset++) {
      const at = (this.#turn + offset) % this.#lanes.length;
      const lane = this.#lanes[at];
      if (lane === undefined || lane.ready.length === 0 || lane.held >= most) continue;
      this.#turn = at + 1;
      lane.held++;
      return lane.ready.pop();
    }
    return -1;
  }

  released(step: number): void {
    const lane = this.#laneOf[step];
    if (lane !== undefined) lane.held--;
  }

  ended(step: number): void {
    const lane = this.#laneOf[step];
    if (lane === undefined) return;
    lane.open--;
    if (lane.open === 0) this.#openLanes--;
  }
}
