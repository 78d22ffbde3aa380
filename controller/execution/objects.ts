import type { Condition, Execution, ExecutionOwner, ExecutionStatus } from "../api/types.ts";

/** Whether the run has ended, one way or the other: then its rows never change again. */
export function isFinished(status: ExecutionStatus | undefined): boolean {
  return conditionOf(status, "Complete")?.status === "True";
}

export function conditionOf(status: ExecutionStatus | undefined, type: string): Condition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}

/** Whether both are the same owner in the same epoch; two absent ones are. */
export function isSameOwner(a: ExecutionOwner | undefined, b: ExecutionOwner | undefined): boolean {
  return a?.replica === b?.replica && a?.epoch === b?.epoch;
}

/** The object's UID; every object that came from an API server has one. */
export function uidOf(execution: Execution): string {
  return execution.metadata.uid ?? "";
}

/** The same without its undefined members. */
export function defined<T extends object>(value: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T;
}
