import { type ResourceLimits, Worker } from "node:worker_threads";
import type { Scheduler, Timer } from "../engine/clock.ts";
import { MillraceError } from "../engine/errors.ts";
import type { FromWorker, ToWorker, WorkerBody, WorkerJob } from "./worker-message.ts";

/** What a worker thread is started with. */
export interface WorkerThreadOptions {
  /** For messages and for the thread's name. */
  readonly name: string;
  /** Calls `serveJobs`; see `workerEntry`. */
  readonly entry: URL;
  /** Structured-cloneable; the worker's `workerData`. */
  readonly workerData?: unknown;
  /** V8's heap limits; typed arrays are outside of them. Absent: the platform's. */
  readonly resourceLimits?: ResourceLimits;
  /** How long an aborted job may take to answer before its worker is terminated, in milliseconds; default 0: at once. */
  readonly abortGraceMs?: number;
}

/** Takes what a job logs; `cutBytes` is what was left out at the text's end. Must not throw. */
export type TakeLog = (text: string, cutBytes: number) => void;

interface Job {
  readonly id: number;
  readonly log: TakeLog | undefined;
  resolve(body: unknown): void;
  reject(error: unknown): void;
}

/** How long a worker may take until its entry serves jobs, in milliseconds. */
const startTimeoutMs = 30_000;

/** One worker thread, with at most one job. */
export class WorkerThread {
  readonly #options: WorkerThreadOptions;
  readonly #scheduler: Scheduler;
  readonly #worker: Worker;
  #job: Job | undefined;
  #lastId = 0;
  #end: MillraceError | undefined;
  #termination: Promise<void> | undefined;

  /** Resolves when the worker serves jobs; rejects with Unavailable when it cannot. */
  static async start(options: WorkerThreadOptions, scheduler: Scheduler): Promise<WorkerThread> {
    let thread: WorkerThread | undefined;
    try {
      thread = new WorkerThread(options, scheduler);
      await thread.#ready();
      return thread;
    } catch (error) {
      await thread?.terminate();
      const reason = error instanceof Error ? error.message : String(error);
      throw new MillraceError("Unavailable", `a worker thread of ${options.name} could not be started: ${reason}`, {
        cause: error,
      });
    }
  }

  private constructor(options: WorkerThreadOptions, scheduler: Scheduler) {
    this.#options = options;
    this.#scheduler = scheduler;
    this.#worker = new Worker(options.entry, {
      name: options.name,
      env: {},
      argv: [],
      execArgv: [],
      stdin: false,
      stdout: true,
      stderr: true,
      workerData: options.workerData,
      ...(options.resourceLimits === undefined ? {} : { resourceLimits: options.resourceLimits }),
    });
    // What a worker prints is read, so that it does not pile up, and dropped, so that it does not mix with our output.
    this.#worker.stdout.resume();
    this.#worker.stderr.resume();
    this.#worker.on("error", (error) => this.#broke(errorOf(error, options)));
    this.#worker.on("messageerror", () => this.#broke(this.#crash("answered with something that cannot be read")));
    this.#worker.on("exit", (code) => this.#broke(this.#crash(`ended with exit code ${code}`)));
    this.#worker.on("message", (message: FromWorker) => this.#receive(message));
  }

  /** It died, was terminated, or is about to be: to be replaced. */
  get isBroken(): boolean {
    return this.#end !== undefined;
  }

  /** One at a time. See `WorkerPool.run`. */
  run(work: WorkerJob, signal: AbortSignal, log?: TakeLog): Promise<unknown> {
    if (this.#job !== undefined) throw new Error("a worker has one job at a time");
    if (this.#end !== undefined) return Promise.reject(this.#end);
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      let grace: Timer | undefined;
      const onAbort = () => {
        grace = this.#abort(id, signal);
      };
      const settle = () => {
        grace?.cancel();
        signal.removeEventListener("abort", onAbort);
        this.#job = undefined;
        this.#worker.unref();
      };
      const job: Job = {
        id,
        log,
        resolve(body) {
          settle();
          if (signal.aborted) reject(signal.reason);
          else resolve(body);
        },
        reject(error) {
          settle();
          reject(signal.aborted ? signal.reason : error);
        },
      };
      this.#job = job;
      this.#worker.ref();
      signal.addEventListener("abort", onAbort);
      this.#post(job, work);
      if (signal.aborted) onAbort();
    });
  }

  /** Resolves when the thread is gone, whatever it was doing. Idempotent. */
  terminate(): Promise<void> {
    this.#broke(this.#crash("was terminated"));
    this.#termination ??= this.#worker.terminate().then(() => undefined);
    return this.#termination;
  }

  #post(job: Job, work: WorkerJob): void {
    try {
      const { body, transfer } = typeof work === "function" ? work() : work;
      this.#send({ type: "Job", id: job.id, body }, transfer);
    } catch (error) {
      job.reject(new MillraceError("Internal", "a job that cannot be posted to a worker", { cause: error }));
    }
  }

  /** The job is asked to stop, and the thread ended if it does not in time. */
  #abort(id: number, signal: AbortSignal): Timer | undefined {
    const graceMs = this.#options.abortGraceMs ?? 0;
    if (graceMs === 0) {
      void this.terminate();
      return undefined;
    }
    this.#send({ type: "Abort", id });
    return this.#scheduler.after(graceMs, () => {
      if (signal.aborted) void this.terminate();
    });
  }

  #send(message: ToWorker, transfer: WorkerBody["transfer"] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  /** Code in the worker can post what it likes: anything but the answer to the job is ignored. */
  #receive(message: FromWorker): void {
    const job = this.#job;
    if (job === undefined || typeof message !== "object" || message === null) return;
    if (message.type === "Done" && message.id === job.id) job.resolve(message.body);
    if (message.type === "Log" && message.id === job.id) job.log?.(String(message.text), Number(message.cutBytes));
    if (message.type === "Threw" && message.id === job.id) {
      job.reject(new MillraceError("ProcessorCrashed", String(message.message)));
    }
  }

  #ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (reason: string) => {
        timer.cancel();
        reject(new Error(reason));
      };
      const timer = this.#scheduler.after(startTimeoutMs, () => fail(`it was not ready after ${startTimeoutMs} ms`));
      this.#worker.once("message", () => {
        timer.cancel();
        this.#worker.unref();
        resolve();
      });
      this.#worker.once("error", (error: unknown) => fail(error instanceof Error ? error.message : String(error)));
      this.#worker.once("exit", (code) => fail(`it ended with exit code ${code}`));
    });
  }

  /** The first reason counts: an error is followed by an exit. */
  #broke(reason: MillraceError): void {
    this.#end ??= reason;
    this.#job?.reject(this.#end);
  }

  #crash(what: string): MillraceError {
    return new MillraceError("ProcessorCrashed", `the worker thread of ${this.#options.name} ${what}`);
  }
}

/** What an uncaught error of a worker is in the closed set. */
function errorOf(thrown: unknown, options: WorkerThreadOptions): MillraceError {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  if (code !== "ERR_WORKER_OUT_OF_MEMORY") {
    return new MillraceError("ProcessorCrashed", `the worker thread of ${options.name} crashed: ${message}`, {
      cause: thrown,
    });
  }
  const maxMiB = options.resourceLimits?.maxOldGenerationSizeMb;
  const limit = maxMiB === undefined ? "" : ` of ${maxMiB} MiB`;
  return new MillraceError(
    "SandboxViolation",
    `memory: the worker thread of ${options.name} outgrew its heap${limit}`,
    {
      cause: thrown,
    },
  );
}
