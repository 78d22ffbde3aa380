import type { Execution, ExecutionOwner, ExecutionStatus } from "../api/types.ts";
import type { StatusWriter } from "../runtime/status-writer.ts";
import { slim } from "./slim.ts";

/** Take-overs without a newly recorded step that an Execution may see; then it is taken to be what brings its owners down. */
export const maxTakeovers = 5;

/** The owner that takes over from the recorded one, or from none; undefined: it has been taken over too often. */
export function nextOwner(recorded: ExecutionOwner | undefined, replica: string): ExecutionOwner | undefined {
  if (recorded === undefined) return { replica, epoch: 1 };
  const takeovers = (recorded.takeovers ?? 0) + 1;
  if (takeovers > maxTakeovers) return undefined;
  return { replica, epoch: recorded.epoch + 1, takeovers };
}

/** A status that names its owner. */
export type OwnedStatus = ExecutionStatus & { readonly owner: ExecutionOwner };

/**
 * What became of a write: `Lost` when the Execution is no longer ours to write to. `durationMs` is that of the request that
 * succeeded; 0 when nothing had to be sent.
 */
export type Written =
  | { readonly kind: "Written"; readonly execution: Execution; readonly durationMs: number }
  | { readonly kind: "Lost"; readonly why: "Deleted" | "OwnerChanged" };

/**
 * One run's way to its Execution's status. The first write is on condition that whoever was recorded when the run began
 * is recorded still (nobody, for a run that was not recorded before), each later one on condition that we are.
 * Not for concurrent use: a write at a time.
 */
export class OwnedStatusWriter {
  readonly #writer: StatusWriter;
  /** Without its input and rows: what travels with a write besides the status. */
  #execution: Execution;
  #expected: ExecutionOwner | undefined;

  constructor(writer: StatusWriter, execution: Execution) {
    this.#writer = writer;
    this.#execution = slim(execution);
    this.#expected = execution.status?.owner;
  }

  /**
   * Writes again and again while the API server cannot be reached or is busy. Rejects with ApiError when it refuses
   * what is written, and with the signal's reason.
   */
  async write(status: OwnedStatus, signal: AbortSignal): Promise<Written> {
    const outcome = await this.#writer.put(this.#execution, { ...status }, this.#expected, signal);
    if (outcome.kind === "Gone") return { kind: "Lost", why: "Deleted" };
    if (outcome.kind === "Lost") return { kind: "Lost", why: "OwnerChanged" };
    const execution = outcome.object as Execution;
    this.#execution = slim(execution);
    this.#expected = status.owner;
    return { kind: "Written", execution, durationMs: outcome.kind === "Written" ? outcome.durationMs : 0 };
  }
}
