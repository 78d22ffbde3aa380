import type { ExecutionStrategy } from "../strategy.ts";
import { CountingSchedule } from "./counting-schedule.ts";
import { LongestPathFirst } from "./longest-path-first.ts";

/** A step is ready as soon as its last dependency has ended; the one that the longest path hangs on starts first. */
export const workQueue: ExecutionStrategy = {
  name: "WorkQueue",
  schedule: (part, settled) => new CountingSchedule(part, settled, new LongestPathFirst(part)),
};
