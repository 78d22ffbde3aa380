import type { Execution } from "../../api/types.ts";
import { keyFor, keyOf, type ObjectKey } from "../../runtime/object-key.ts";

/** What decides when an unfinished Execution may run. */
export interface Ticket {
  readonly key: ObjectKey;
  readonly namespace: string;
  /** Of its Pipeline; absent for an inline spec. */
  readonly pipeline?: ObjectKey;
  /** A part of it has run: it goes before those that have not begun. */
  readonly hasBegun: boolean;
  readonly priority: number;
  /** Its creation, in milliseconds since the epoch; whole seconds. */
  readonly createdMs: number;
}

export function ticketOf(execution: Execution): Ticket {
  const { metadata, spec, status } = execution;
  const { namespace = "", creationTimestamp = "" } = metadata;
  const { pipeline, priority } = spec;
  return {
    key: keyOf(execution),
    namespace,
    ...(pipeline === undefined ? {} : { pipeline: keyFor({ namespace, name: pipeline }) }),
    hasBegun: status?.owner !== undefined,
    priority,
    createdMs: Date.parse(creationTimestamp) || 0,
  };
}

/** Those that have begun first, then by priority, then the oldest, then by name. */
export function byTurn(a: Ticket, b: Ticket): number {
  if (a.hasBegun !== b.hasBegun) return a.hasBegun ? -1 : 1;
  return b.priority - a.priority || byAge(a, b);
}

/** The oldest first; of the same second, by name. */
export function byAge(a: Ticket, b: Ticket): number {
  return a.createdMs - b.createdMs || (a.key < b.key ? -1 : Number(a.key > b.key));
}

export function isSameTicket(a: Ticket, b: Ticket): boolean {
  return byTurn(a, b) === 0 && a.pipeline === b.pipeline;
}

/**
 * Whether an unfinished Execution that does not run here holds its place by its record: it ran, its controller is gone,
 * and it is to be resumed. One that was suspended has given its place back, until it runs again.
 */
export function holdsByRecord({ metadata, status }: Execution): boolean {
  if (metadata.deletionTimestamp !== undefined) return false;
  return status?.owner !== undefined && status.phase === "Running";
}
