import type { KubernetesObject } from "../../api/client.ts";
import type { Execution } from "../../api/types.ts";
import type { CompiledPipeline } from "../../catalog.ts";
import { isConflict } from "../../runtime/api-errors.ts";
import type { ObjectKey } from "../../runtime/object-key.ts";
import type { ReconcileResult, Reconciler } from "../../runtime/worker.ts";
import { conditionOf, isFinished } from "../objects.ts";

/** How long after an Execution has finished its Pipeline's history is looked at, so that many make one pass; in milliseconds. */
export const historyDelayMs = 250;

/** Deletions in flight, of one pass. */
const atOnce = 8;

export interface HistoryOptions {
  /** Of a Pipeline as it is now; absent: all stay. */
  readonly limitOf: (pipeline: ObjectKey) => CompiledPipeline["historyLimit"];
  /** All Executions that name the Pipeline. */
  readonly executionsOf: (pipeline: ObjectKey) => Iterable<KubernetesObject>;
  /** On condition of the version that was looked at. Throws ApiError. */
  readonly remove: (execution: Execution, signal: AbortSignal) => Promise<void>;
}

/** Keeps to each Pipeline's `historyLimit`: of its finished Executions the oldest beyond it are deleted. A key is a Pipeline's. */
export class HistoryReconciler implements Reconciler {
  readonly #options: HistoryOptions;

  constructor(options: HistoryOptions) {
    this.#options = options;
  }

  async reconcile(pipeline: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const limit = this.#options.limitOf(pipeline);
    if (limit === undefined) return {};
    const surplus = surplusOf(this.#options.executionsOf(pipeline) as Iterable<Execution>, limit);
    for (let from = 0; from < surplus.length; from += atOnce) {
      signal.throwIfAborted();
      const batch = surplus.slice(from, from + atOnce);
      await Promise.all(batch.map((execution) => this.#remove(execution, signal)));
    }
    return {};
  }

  /** An edit came in between: its event leads to the next pass. */
  async #remove(execution: Execution, signal: AbortSignal): Promise<void> {
    try {
      await this.#options.remove(execution, signal);
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
  }
}

/** Those beyond the limit of their outcome, the oldest first. */
export function surplusOf(
  executions: Iterable<Execution>,
  limit: NonNullable<CompiledPipeline["historyLimit"]>,
): readonly Execution[] {
  const kept = { succeeded: [] as Execution[], failed: [] as Execution[] };
  for (const execution of executions) {
    if (!isFinished(execution.status) || execution.metadata.deletionTimestamp !== undefined) continue;
    kept[conditionOf(execution.status, "Succeeded")?.status === "True" ? "succeeded" : "failed"].push(execution);
  }
  return (["succeeded", "failed"] as const).flatMap((outcome) => {
    const most = limit[outcome];
    const all = kept[outcome];
    if (most === undefined || all.length <= most) return [];
    return all.toSorted(byCompletion).slice(0, all.length - most);
  });
}

function byCompletion(a: Execution, b: Execution): number {
  return finishedAt(a).localeCompare(finishedAt(b)) || a.metadata.name.localeCompare(b.metadata.name);
}

function finishedAt({ status }: Execution): string {
  return status?.completionTime ?? "";
}
