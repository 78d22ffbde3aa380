import type { ActiveTime, ExecutionStatus } from "../api/types.ts";

/** How long a recorded run has been running, in milliseconds; the times that it was queued or suspended are left out. */
export function activeMs({ active, startTime }: ExecutionStatus, nowMs: number): number {
  // Without `active` it was recorded by a version that did not tell the times apart.
  const { beforeMs, since } = active ?? { beforeMs: 0, ...(startTime === undefined ? {} : { since: startTime }) };
  return beforeMs + (since === undefined ? 0 : Math.max(0, nowMs - Date.parse(since)));
}

/** `active` of a run that runs now. */
export function runningFor(elapsedMs: number, nowMs: number): ActiveTime {
  return { beforeMs: Math.round(elapsedMs), since: new Date(nowMs).toISOString() };
}

/** `active` of one that does not: it is suspended, or has ended. */
export function ranFor(elapsedMs: number): ActiveTime {
  return { beforeMs: Math.round(elapsedMs) };
}
