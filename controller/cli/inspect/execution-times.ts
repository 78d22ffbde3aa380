import type { ExecutionStatus } from "../../api/types.ts";

/** How long the run has been running, queued and suspended time left out, in milliseconds; undefined: it has not begun. */
export function runningTimeMs(status: ExecutionStatus | undefined, nowMs: number): number | undefined {
  const { active, startTime, completionTime } = status ?? {};
  if (active !== undefined) {
    const since = active.since === undefined ? undefined : Date.parse(active.since);
    return active.beforeMs + (since === undefined ? 0 : Math.max(0, nowMs - since));
  }
  if (startTime === undefined) return undefined;
  const endMs = completionTime === undefined ? nowMs : Date.parse(completionTime);
  return Math.max(0, endMs - Date.parse(startTime));
}

/** `2026-11-28 02:00:01 UTC`, of a time as the API has it. */
export function timeWords(time: string): string {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.test(time) ? `${time.slice(0, 10)} ${time.slice(11, 19)} UTC` : time;
}
