import type { Ports } from "../engine/clock.ts";
import { Places } from "./places.ts";
import { KeyedPool, type PoolStats } from "./pool.ts";
import type { Owner } from "./turns.ts";
import type { WorkerJob } from "./worker-message.ts";
import { type TakeLog, WorkerThread, type WorkerThreadOptions } from "./worker-thread.ts";

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

/** Whose job it is. */
export interface WorkerUse {
  /** Jobs of different keys never share a worker (its module state); default: all jobs are alike. */
  readonly key?: string;
  /** Whose turn a job takes, and whose share ({@link Places}). Absent: it goes before all that have one. */
  readonly owner?: Owner;
  /** Takes what the job logs. Absent: nobody listens. */
  readonly log?: TakeLog;
  /** What the same worker is to do after this answer, whose answer is then the job's. Undefined: nothing. */
  next?(answer: unknown): WorkerJob | undefined;
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
  /** The most workers that the jobs of one Processor have at a time. */
  readonly maxPerProcessor: number;
  readonly #pool: KeyedPool<WorkerThread>;
  readonly #places: Places;

  constructor(options: WorkerPoolOptions) {
    const { name, ports, maxWorkers } = options;
    const maxWaiters = options.maxWaiters ?? defaultMaxWaiters;
    this.#places = new Places({ name, capacity: maxWorkers, maxWaiters, clock: ports.clock });
    this.maxPerProcessor = this.#places.maxPerProcessor;
    this.#pool = new KeyedPool({
      name,
      maxItems: maxWorkers,
      maxWaiters,
      spares: options.spares ?? 1,
      ...(options.idleMs === undefined ? {} : { idleMs: options.idleMs }),
      scheduler: ports.scheduler,
      create: () => WorkerThread.start(options, ports.scheduler),
      destroy: (worker) => worker.terminate(),
      isBroken: (worker) => worker.isBroken,
    });
  }

  get stats(): PoolStats {
    const { waiting, rejected, ...rest } = this.#pool.stats;
    return { ...rest, waiting: waiting + this.#places.waiting, rejected: rejected + this.#places.rejected };
  }

  /**
   * Runs one job and gives the `body` that the worker's handler answered with. Rejects with `signal`'s reason when it
   * aborts (at once while waiting for a worker; else when the worker has answered or is gone), ProcessorCrashed when the
   * worker died or its handler threw, SandboxViolation when it ran out of its heap, ResourceExhausted when too many wait,
   * Unavailable when no worker could be started.
   */
  async run(job: WorkerJob, signal: AbortSignal, use: WorkerUse = {}): Promise<unknown> {
    signal.throwIfAborted();
    const { owner } = use;
    if (owner === undefined) return await this.#use(job, signal, use);
    await this.#places.enter(owner, signal);
    try {
      return await this.#use(job, signal, use);
    } finally {
      this.#places.leave(owner);
    }
  }

  /** Ends the workers that ran jobs of this key: idle ones now, busy ones after their job. */
  retire(key: string): void {
    this.#pool.retire(key);
  }

  /** Waits for the running jobs up to 5 s, then terminates; rejects with Internal when a thread has not ended 5 s later. Idempotent. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#places.close();
    return this.#pool[Symbol.asyncDispose]();
  }

  #use(job: WorkerJob, signal: AbortSignal, use: WorkerUse): Promise<unknown> {
    const work = async (worker: WorkerThread): Promise<unknown> => {
      const answer = await worker.run(job, signal, use.log);
      const next = use.next?.(answer);
      return next === undefined ? answer : await worker.run(next, signal, use.log);
    };
    return this.#pool.use(work, signal, use.key);
  }
}

/** The file `name` beside the module `base` (its `import.meta.url`), as TypeScript in development and as JavaScript in the published package. */
export function workerEntry(base: string, name: string): URL {
  return new URL(`./${name}${base.endsWith(".ts") ? ".ts" : ".js"}`, base);
}
