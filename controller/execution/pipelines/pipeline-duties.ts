import type { Execution, ExecutionCounts } from "../../api/types.ts";
import { keyFor, type ObjectKey, refOf } from "../../runtime/object-key.ts";
import { WorkQueue } from "../../runtime/work-queue.ts";
import { runWorkers, type Workers } from "../../runtime/worker.ts";
import type { ExecutionDependencies } from "../controller.ts";
import type { ExecutionWriter } from "../execution-writer.ts";
import { HistoryReconciler, historyDelayMs } from "./history.ts";
import { PipelineCounts } from "./pipeline-counts.ts";

/** Passes at once, over different Pipelines, of one namespace at most half. */
const concurrency = 4;

/** What is done for a Pipeline as a whole when its Executions change: its history is kept to its limit, its numbers are written. */
export class PipelineDuties {
  readonly #deps: ExecutionDependencies;
  readonly #history: { readonly queue: WorkQueue; readonly reconciler: HistoryReconciler };
  readonly #counts: { readonly queue: WorkQueue; readonly reconciler: PipelineCounts };
  /** Changed before this process may write. */
  readonly #early = new Set<ObjectKey>();
  #workers: readonly Workers[] | undefined;

  constructor(
    deps: ExecutionDependencies,
    writer: ExecutionWriter,
    countsOf: (pipeline: ObjectKey) => ExecutionCounts,
  ) {
    const { ports, metrics, client, ofPipeline, recordedCounts, catalog } = deps;
    const observed = metrics === undefined ? { ports } : { ports, metrics };
    this.#deps = deps;
    const limitOf = (pipeline: ObjectKey) => {
      const { namespace = "", name } = refOf(pipeline);
      const state = catalog.pipelines.get(namespace, name)?.state;
      return state?.ready === true ? state.pipeline.historyLimit : undefined;
    };
    const remove = writer.delete.bind(writer);
    this.#history = {
      queue: new WorkQueue({ name: "history", ...observed }),
      reconciler: new HistoryReconciler({ limitOf, executionsOf: ofPipeline, remove }),
    };
    const queue = new WorkQueue({ name: "pipeline-counts", ...observed });
    const recordedOf = recordedCounts;
    this.#counts = {
      queue,
      reconciler: new PipelineCounts({ clock: ports.clock, client, queue, countsOf, recordedOf }),
    };
  }

  /** This process may write from now on. */
  begin(): void {
    const { ports, logger, metrics } = this.#deps;
    const common = { concurrency, clock: ports.clock, logger, ...(metrics && { metrics }) };
    this.#workers = [this.#history, this.#counts].map((duty) => runWorkers({ ...duty, ...common }));
    for (const pipeline of this.#early) this.counted(pipeline);
    this.#early.clear();
  }

  /** Other numbers of its Executions wait or run. */
  counted(pipeline: ObjectKey): void {
    if (this.#workers === undefined) this.#early.add(pipeline);
    else this.#counts.reconciler.changed(pipeline);
  }

  /** It is new, edited or gone. */
  changed(pipeline: ObjectKey): void {
    this.counted(pipeline);
    if (this.#workers !== undefined) this.#history.queue.addAfter(pipeline, historyDelayMs);
  }

  /** One of its Executions has ended. */
  finished({ metadata, spec }: Execution): void {
    if (spec.pipeline === undefined || this.#workers === undefined) return;
    const pipeline = keyFor({ namespace: metadata.namespace ?? "", name: spec.pipeline });
    this.#history.queue.addAfter(pipeline, historyDelayMs);
  }

  /** Aborts what is under way. Idempotent. */
  async stop(): Promise<void> {
    const now = AbortSignal.abort(new Error("the controller shuts down"));
    await Promise.all((this.#workers ?? []).map((workers) => workers.drain(now)));
  }
}
