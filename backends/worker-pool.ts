import type { Ports } from "../engine/clock.ts";
import { KeyedPool, type PoolStats } from "./pool.ts";
import type { WorkerJob } from "./worker-message.ts";
import { WorkerThread, type WorkerThreadOptions } from "./worker-thread.ts";

/** How a {@link WorkerPool} starts and holds its workers. */
export interface WorkerPoolOptions extends WorkerThreadOptions {
  readonly ports: Ports;
  /** The most worker threads at a time. */
  readonly maxWorkers: number;
  /** Jobs that may wait for a worker; default 10,000. One more is refused with ResourceExhausted. */
  readonly maxWaiters?: number;
  /** Fresh workers kept ready once the pool has been used (a worker takes some 50 ms to start); default 1. */
  readonly spares?: number;
  /** A worker without a job for so long is ended, in milliseconds; default 60,000. */
  readonly idleMs?: number;
}

const defaultMaxWaiters = 10_000;

/**
 * Worker threads for jobs that may spin, allocate or crash. A worker has one job at a time, so that a job costs at most
 * its own worker: when `signal` aborts, the worker is told, and terminated `abortGraceMs` later if it has not answered;
 * a fresh one takes its place. Workers get an empty environment and keep the process alive only while they have a job.
 *
 * The worker's entry calls `serveJobs` of `worker-side.ts`.
 */
export class WorkerPool implements AsyncDisposable {
  readonly #pool: KeyedPool<WorkerThread>;

  constructor(options: WorkerPoolOptions) {
    this.#pool = new KeyedPool({
      name: options.name,
      maxItems: options.maxWorkers,
      maxWaiters: options.maxWaiters ?? defaultMaxWaiters,
      spares: options.spares ?? 1,
      ...(options.idleMs === undefined ? {} : { idleMs: options.idleMs }),
      scheduler: options.ports.scheduler,
      create: () => WorkerThread.start(options, options.ports.scheduler),
      destroy: (worker) => worker.terminate(),
      isBroken: (worker) => worker.isBroken,
    });
  }

  get stats(): PoolStats {
    return this.#pool.stats;
  }

  /**
   * Runs one job and gives the `body` that the worker's handler answered with. Rejects with `signal`'s reason when it
   * aborts (at once while waiting for a worker; else when the worker has answered or is gone), ProcessorCrashed when the
   * worker died or its handler threw, SandboxViolation when it ran out of its heap, ResourceExhausted when too many wait,
   * Unavailable when no worker could be started.
   *
   * @param key jobs of different keys never share a worker (its module state); default: all jobs are alike
   */
  run(job: WorkerJob, signal: AbortSignal, key?: string): Promise<unknown> {
    return this.#pool.use((worker) => worker.run(job, signal), signal, key);
  }

  /** Ends the workers that ran jobs of this key: idle ones now, busy ones after their job. */
  retire(key: string): void {
    this.#pool.retire(key);
  }

  /** Waits for the running jobs up to 5 s, then terminates. Idempotent. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#pool[Symbol.asyncDispose]();
  }
}

/** The file `name` beside the module `base` (its `import.meta.url`), as TypeScript in development and as JavaScript in the published package. */
export function workerEntry(base: string, name: string): URL {
  return new URL(`./${name}${base.endsWith(".ts") ? ".ts" : ".js"}`, base);
}
