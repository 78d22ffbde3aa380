import { availableParallelism } from "node:os";
import type { Ports } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import type { AttemptTime } from "../backend.ts";
import type { PoolStats } from "../pool.ts";
import type { Owner } from "../turns.ts";
import { postable, type WorkerBody } from "../worker-message.ts";
import { WorkerPool, workerEntry } from "../worker-pool.ts";
import type { TakeLog } from "../worker-thread.ts";
import type { DirectRequest, DirectResult } from "./abis/direct.ts";
import type { AdmissionRequest, AdmittedModule } from "./admit.ts";
import type { CachedModule } from "./module-cache.ts";
import type { CallJob, WasmAnswer, WasmJob } from "./worker-messages.ts";

/** How many threads there may be for calls; one that spins holds its own until its deadline. */
export interface WasmWorkersOptions {
  readonly ports: Ports;
  /** Of which one Processor gets at most half; default: twice the cores, at least 4. */
  readonly maxWorkers?: number;
  /** Calls that may wait for a worker; default 10,000. */
  readonly maxWaiters?: number;
}

/** Of a worker's heap, which holds no module's memory; and the stack that its modules' calls share with it. In MiB. */
const callLimits = { maxOldGenerationSizeMb: 128, stackSizeMb: 4 };
/** Parsing the largest module takes more than calling it. */
const admissionLimits = { maxOldGenerationSizeMb: 512, stackSizeMb: 4 };

const minWorkers = 4;

/** An admitted module, its entrypoint and its limit. */
export interface CallTarget {
  readonly module: CachedModule;
  readonly entrypoint: string;
  readonly maxMemoryBytes: number;
}

/** One call. */
export interface WasmCall {
  readonly target: CallTarget;
  readonly request: DirectRequest;
  readonly owner: Owner;
  readonly signal: AbortSignal;
  /** Goes on when a worker takes the call. Absent: nobody keeps the time. */
  readonly time: AttemptTime | undefined;
  readonly log: TakeLog;
}

/**
 * The threads in which modules are admitted and called, apart from each other: a module that is slow to compile holds
 * up no call. When `signal` aborts, the worker is terminated, whatever its module does; a warm spare takes its place.
 */
export class WasmWorkers implements AsyncDisposable {
  /** How many of the workers one Processor's calls may hold at a time. */
  readonly maxPerProcessor: number;
  readonly #calls: WorkerPool;
  readonly #admissions: WorkerPool;

  constructor(options: WasmWorkersOptions) {
    const { ports, maxWaiters } = options;
    const maxWorkers = options.maxWorkers ?? Math.max(minWorkers, 2 * availableParallelism());
    const entry = workerEntry(import.meta.url, "worker");
    this.#calls = new WorkerPool({
      name: "wasm",
      entry,
      ports,
      maxWorkers,
      resourceLimits: callLimits,
      ...(maxWaiters === undefined ? {} : { maxWaiters }),
    });
    this.maxPerProcessor = this.#calls.maxPerProcessor;
    this.#admissions = new WorkerPool({
      name: "wasm-admission",
      entry,
      ports,
      maxWorkers: 2,
      spares: 0,
      resourceLimits: admissionLimits,
    });
  }

  get stats(): PoolStats {
    return this.#calls.stats;
  }

  /** @throws what `admit` throws */
  async admit(request: AdmissionRequest, signal: AbortSignal): Promise<AdmittedModule> {
    if (this.#calls.stats.size === 0) this.#warmUp(signal);
    const { bytes, transfer } = postable(request.bytes);
    const { abi, entrypoint, maxMemoryBytes } = request;
    const job: WasmJob = { kind: "Admit", request: { bytes, abi, entrypoint, maxMemoryBytes } };
    const answer = (await this.#admissions.run({ body: job, transfer }, signal)) as WasmAnswer;
    if (answer.kind === "Admitted") return answer.module;
    throw errorOf(answer);
  }

  /** @throws what `DirectModule.call` throws, and what `WorkerPool.run` does */
  async call(call: WasmCall): Promise<DirectResult> {
    const { target, owner, signal, time, log } = call;
    const next = (answer: unknown) =>
      (answer as WasmAnswer).kind === "UnknownModule" ? () => bodyOf(call, target.module.module) : undefined;
    time?.pause();
    const answer = (await this.#calls.run(() => bodyOf(call, undefined), signal, { owner, next, log })) as WasmAnswer;
    if (answer.kind === "Called") return answer.result;
    throw errorOf(answer);
  }

  /** Waits for running calls up to 5 s, then ends the threads. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#calls[Symbol.asyncDispose](), this.#admissions[Symbol.asyncDispose]()]);
  }

  /** A module that is admitted will be called: the first worker starts meanwhile. Whether it does, the first call will say. */
  #warmUp(signal: AbortSignal): void {
    const job: WasmJob = { kind: "WarmUp" };
    this.#calls.run({ body: job }, signal).catch(() => undefined);
  }
}

/** The call as a job, made when a worker takes it: its time goes on. */
function bodyOf({ target, request, time }: WasmCall, module: WebAssembly.Module | undefined): WorkerBody {
  const { bytes, transfer } = postable(request.payload);
  const { entrypoint, maxMemoryBytes } = target;
  const context = { ...request.context, timeoutMs: time?.resume() ?? request.context.timeoutMs };
  const job: CallJob = {
    kind: "Call",
    id: target.module.id,
    entrypoint,
    maxMemoryBytes,
    module,
    request: { ...request, payload: bytes, context },
  };
  return { body: job, transfer };
}

function errorOf(answer: WasmAnswer): MillraceError {
  if (answer.kind === "Refused") return new MillraceError(answer.code, answer.message);
  return new MillraceError("Internal", `a WASM worker answered with ${answer.kind}`);
}
