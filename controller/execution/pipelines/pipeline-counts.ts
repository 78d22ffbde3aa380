import type { Clock } from "../../../engine/clock.ts";
import type { Client } from "../../api/client.ts";
import { pipelines } from "../../api/kinds.ts";
import type { ExecutionCounts } from "../../api/types.ts";
import { isNotFound } from "../../runtime/api-errors.ts";
import { type ObjectKey, refOf } from "../../runtime/object-key.ts";
import type { WorkQueue } from "../../runtime/work-queue.ts";
import type { ReconcileResult, Reconciler } from "../../runtime/worker.ts";

/** Between two writes of one Pipeline's numbers, in milliseconds. */
const countsIntervalMs = 10_000;

/** What has changed is written after so long at the earliest: a short run leaves nothing to write. In milliseconds. */
const countsDelayMs = 1_000;

export interface PipelineCountsOptions {
  readonly clock: Clock;
  readonly client: Client;
  readonly queue: WorkQueue;
  /** As it is now. */
  readonly countsOf: (pipeline: ObjectKey) => ExecutionCounts;
  /** What the Pipeline's status says: none where it says nothing; undefined: there is no such Pipeline. */
  readonly recordedOf: (pipeline: ObjectKey) => { readonly counts?: ExecutionCounts } | undefined;
}

/**
 * Writes `status.executions` of Pipelines, and nothing else of their status, which has another writer. What is so already is
 * not written, and numbers that were never written count as 0.
 */
export class PipelineCounts implements Reconciler {
  readonly #options: PipelineCountsOptions;
  /** When a Pipeline's numbers may be written again, on the monotonic clock. */
  readonly #notBeforeMs = new Map<ObjectKey, number>();

  constructor(options: PipelineCountsOptions) {
    this.#options = options;
  }

  /** Other numbers of its Executions wait or run, or it is new. */
  changed(pipeline: ObjectKey): void {
    const { clock, queue } = this.#options;
    const waitMs = (this.#notBeforeMs.get(pipeline) ?? 0) - clock.monotonic();
    queue.addAfter(pipeline, Math.max(countsDelayMs, waitMs));
  }

  async reconcile(pipeline: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const { clock, client } = this.#options;
    const nowMs = clock.monotonic();
    const waitMs = (this.#notBeforeMs.get(pipeline) ?? 0) - nowMs;
    if (waitMs > 0) return { requeueAfterMs: waitMs };
    this.#notBeforeMs.delete(pipeline);
    const recorded = this.#options.recordedOf(pipeline);
    if (recorded === undefined) return {};
    const { queued, running } = this.#options.countsOf(pipeline);
    const { counts = { queued: 0, running: 0 } } = recorded;
    if (counts.queued === queued && counts.running === running) return {};
    const patch = { type: "Merge", body: { status: { executions: { queued, running } } } } as const;
    this.#notBeforeMs.set(pipeline, nowMs + countsIntervalMs);
    try {
      await client.patch(pipelines, refOf(pipeline), patch, "status", signal);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    return {};
  }
}
