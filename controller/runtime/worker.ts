import type { Clock } from "../../engine/clock.ts";
import { isConflict } from "./api-errors.ts";
import type { Logger } from "./logger.ts";
import { type Metrics, noMetrics, type ReconcileOutcome } from "./metrics.ts";
import type { ObjectKey } from "./object-key.ts";
import type { WorkQueue } from "./work-queue.ts";

export interface ReconcileResult {
  /** Reconcile again after that long, whatever happens; absent: only when something changes. */
  readonly requeueAfterMs?: number;
}

/** Brings one object nearer to its spec. Reads the level, never the event: the key is all it is told. */
export interface Reconciler {
  reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult>;
}

export interface WorkersOptions {
  readonly queue: WorkQueue;
  readonly reconciler: Reconciler;
  /** Reconciles at once. */
  readonly concurrency: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: Metrics;
}

/** Loops that reconcile what the queue hands out. Disposing is draining with no patience. */
export interface Workers extends AsyncDisposable {
  /** Takes no more keys and waits for the reconciles under way; once `impatience` aborts, their signals abort too. Idempotent. */
  drain(impatience: AbortSignal): Promise<void>;
}

/** Starts at once. A conflict is requeued silently; any other error is logged and retried with the queue's backoff. */
export function runWorkers(options: WorkersOptions): Workers {
  return new WorkerLoops(options);
}

class WorkerLoops implements Workers {
  readonly #options: WorkersOptions;
  readonly #metrics: Metrics;
  readonly #abort = new AbortController();
  readonly #loops: Promise<unknown>;

  constructor(options: WorkersOptions) {
    this.#options = options;
    this.#metrics = options.metrics ?? noMetrics;
    this.#loops = Promise.all(Array.from({ length: options.concurrency }, () => this.#loop()));
  }

  async drain(impatience: AbortSignal): Promise<void> {
    const onAbort = () => this.#abort.abort(impatience.reason);
    if (impatience.aborted) onAbort();
    else impatience.addEventListener("abort", onAbort, { once: true });
    this.#options.queue.close();
    await this.#loops;
    impatience.removeEventListener("abort", onAbort);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.drain(AbortSignal.abort(new Error("the workers are being shut down")));
  }

  async #loop(): Promise<void> {
    const { queue } = this.#options;
    for (let key = await queue.take(); key !== undefined; key = await queue.take()) await this.#process(key);
  }

  async #process(key: ObjectKey): Promise<void> {
    const { queue, clock } = this.#options;
    const startedMs = clock.monotonic();
    const outcome = await this.#reconcile(key);
    this.#metrics.reconciled(queue.name, outcome, clock.monotonic() - startedMs);
    queue.done(key);
  }

  async #reconcile(key: ObjectKey): Promise<ReconcileOutcome> {
    const { queue, reconciler } = this.#options;
    try {
      const { requeueAfterMs } = await reconciler.reconcile(key, this.#abort.signal);
      queue.forget(key);
      if (requeueAfterMs === undefined) return "Success";
      queue.addAfter(key, requeueAfterMs);
      return "Requeue";
    } catch (error) {
      return this.#failed(key, error);
    }
  }

  #failed(key: ObjectKey, error: unknown): ReconcileOutcome {
    const { queue, logger } = this.#options;
    if (this.#abort.signal.aborted) return "Aborted";
    queue.retry(key);
    if (isConflict(error)) return "Conflict";
    logger.error({ controller: queue.name, object: key, err: error }, "reconcile failed and will be retried");
    return "Error";
  }
}
