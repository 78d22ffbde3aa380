import { availableParallelism } from "node:os";
import type { Ports } from "../../../engine/clock.ts";
import { MillraceError } from "../../../engine/errors.ts";
import type { PoolStats } from "../../pool.ts";
import type { Owner } from "../../turns.ts";
import { postable, type WorkerBody } from "../../worker-message.ts";
import { WorkerPool, workerEntry } from "../../worker-pool.ts";
import type { GuestAnswer } from "../abis/guest.ts";
import type { AdmissionRequest, AdmittedModule } from "../admission/admit.ts";
import type { Calls, CallTarget, WasmCall } from "./call.ts";
import { GuestNetwork, type GuestNetworkOptions } from "./guest-network.ts";
import { MemoryBudget } from "./memory-budget.ts";
import type { CallJob, WasmAnswer, WasmJob } from "./messages.ts";

/** How many threads there may be for calls; one that spins holds its own until its deadline. */
export interface WasmWorkersOptions {
  readonly ports: Ports;
  /** What guests reach who may. */
  readonly network: GuestNetworkOptions["network"];
  /** Of which one Processor gets at most half; default: twice the cores, at least 4. */
  readonly maxWorkers?: number;
  /** Calls that may wait for a worker; default 10,000. */
  readonly maxWaiters?: number;
  /** Of all calls at a time, each counted as its limit; default: half of the memory that there is. */
  readonly callMemoryBytes?: number;
}

/** Of a worker's heap, which holds no module's memory; and the stack that its modules' calls share with it. In MiB. */
const callLimits = { maxOldGenerationSizeMb: 128, stackSizeMb: 4 };
/** Parsing the largest module takes more than calling it. */
const admissionLimits = { maxOldGenerationSizeMb: 512, stackSizeMb: 4 };

const minWorkers = 4;

/**
 * The threads in which modules are admitted and called, apart from each other: a module that is slow to compile holds
 * up no call. When `signal` aborts, the worker is terminated, whatever its module does; a warm spare takes its place.
 */
export class WasmWorkers implements Calls, AsyncDisposable {
  /** How many of the workers one Processor's calls may hold at a time. */
  readonly maxPerProcessor: number;
  readonly #calls: WorkerPool;
  readonly #memory: MemoryBudget;
  readonly #network: GuestNetworkOptions["network"];
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
    this.#network = options.network;
    this.#memory = new MemoryBudget(options.callMemoryBytes);
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

  /** The most memory of one call: that of all. */
  get callMemoryBytes(): number {
    return this.#memory.totalBytes;
  }

  /**
   * By turns, as calls are: a namespace that holds one of the two threads never gets the other.
   * @throws what `admit` throws
   */
  async admit(request: AdmissionRequest, owner: Owner, signal: AbortSignal): Promise<AdmittedModule> {
    if (this.#calls.stats.size === 0) this.#warmUp(signal);
    const { bytes, transfer } = postable(request.bytes);
    const { abi, entrypoint, maxMemoryBytes } = request;
    const job: WasmJob = { kind: "Admit", request: { bytes, abi, entrypoint, maxMemoryBytes } };
    const answer = (await this.#admissions.run({ body: job, transfer }, signal, { owner })) as WasmAnswer;
    if (answer.kind === "Admitted") return answer.module;
    throw errorOf(answer);
  }

  /** @throws what `WorkerPool.run` does; what the module does wrong is in the answer */
  async call(call: WasmCall): Promise<GuestAnswer> {
    const { target, owner, signal, time, log } = call;
    using network = this.#networkOf(call);
    const next = (answer: unknown) =>
      (answer as WasmAnswer).kind === "UnknownModule" ? () => bodyOf(call, target, network) : undefined;
    const { maxMemoryBytes } = target.limits;
    const run = () => this.#calls.run(() => bodyOf(call, undefined, network), signal, { owner, next, log });
    const answer = (await this.#memory.use(maxMemoryBytes, owner, { signal, time }, run)) as WasmAnswer;
    if (answer.kind === "Called") return answer.answer;
    throw errorOf(answer);
  }

  /** Waits for running calls up to 5 s, then ends the threads. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#calls[Symbol.asyncDispose](), this.#admissions[Symbol.asyncDispose]()]);
  }

  /** Undefined: the module may reach nobody. */
  #networkOf({ target, request, signal }: WasmCall): GuestNetwork | undefined {
    const { allowedHosts } = request.capabilities;
    if (allowedHosts.length === 0) return undefined;
    // What is larger than its memory it could not take.
    return new GuestNetwork({ network: this.#network, allowedHosts, signal, maxBytes: target.limits.maxMemoryBytes });
  }

  /** A module that is admitted will be called: the first worker starts meanwhile. Whether it does, the first call will say. */
  #warmUp(signal: AbortSignal): void {
    const job: WasmJob = { kind: "WarmUp" };
    this.#calls.run({ body: job }, signal).catch(() => undefined);
  }
}

/** The call as a job, made when a worker takes it: its time goes on. */
function bodyOf(
  { kind, target: { id }, request, time }: WasmCall,
  target: CallTarget | undefined,
  network: GuestNetwork | undefined,
): WorkerBody {
  const { bytes, transfer } = postable(request.payload);
  const context = { ...request.context, timeoutMs: time?.resume() ?? request.context.timeoutMs };
  const known = target === undefined ? {} : { target };
  const job: CallJob = { kind, id, ...known, request: { ...request, payload: bytes, context } };
  if (network === undefined) return { body: job, transfer };
  const link = network.open();
  return { body: { ...job, link }, transfer: [...transfer, link.port] };
}

function errorOf(answer: WasmAnswer): MillraceError {
  if (answer.kind === "Refused") return new MillraceError(answer.code, answer.message);
  return new MillraceError("Internal", `a WASM worker answered with ${answer.kind}`);
}
