import type { Clock, Ports, Scheduler } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import type { JsonObject } from "../../engine/payload.ts";
import type { CallContext, ProcessorRequest, ProcessorResponse } from "../../engine/processor.ts";
import type { LoadedProcessor, LocalBuiltin, ProcessorSpec } from "../backend.ts";
import type { WorkerPool } from "../worker-pool.ts";
import { type AuthorResponse, interpret } from "./author.ts";
import type { Builtin, BuiltinCall } from "./builtins/builtin.ts";
import { builtinCatalogue, unknownBuiltin } from "./builtins/catalogue.ts";
import { Options } from "./builtins/options.ts";
import { Refusal, refused } from "./builtins/refusal.ts";
import { authorContext, authorRequest, bytesOf, responseOf, runInWorker } from "./exchange.ts";

const defaultMaxInlineBytes = 256 * 1024;

/** All built-ins are alike to a worker. */
const workerKey = "builtins";

/** @throws NotFound when there is no built-in of that name; the message has those that are near */
export function loadBuiltin(
  spec: ProcessorSpec,
  implementation: LocalBuiltin,
  pool: WorkerPool,
  ports: Ports,
): LoadedProcessor {
  const builtin = builtinCatalogue.get(implementation.name);
  if (builtin === undefined)
    throw new MillraceError("NotFound", `local.builtin: ${unknownBuiltin(implementation.name)}`);
  return new BuiltinProcessor(spec, builtin, pool, ports);
}

/** A built-in's calls, prepared once for each options object (a plan resolves a step's options once). */
export class PreparedBuiltin {
  readonly #builtin: Builtin;
  readonly #scheduler: Scheduler;
  readonly #calls = new WeakMap<JsonObject, BuiltinCall>();

  constructor(builtin: Builtin, scheduler: Scheduler) {
    this.#builtin = builtin;
    this.#scheduler = scheduler;
  }

  /** @throws Refusal when the options do not fit */
  with(options: JsonObject): BuiltinCall {
    const known = this.#calls.get(options);
    if (known !== undefined) return known;
    const call = this.#builtin.prepare(new Options(this.#builtin.options, options), { scheduler: this.#scheduler });
    this.#calls.set(options, call);
    return call;
  }
}

class BuiltinProcessor implements LoadedProcessor {
  readonly name: string;
  readonly intent: LoadedProcessor["intent"];
  readonly digests: readonly string[] = [];
  readonly #builtin: Builtin;
  readonly #prepared: PreparedBuiltin;
  readonly #pool: WorkerPool;
  readonly #clock: Clock;
  readonly #maxInlineBytes: number;

  constructor(spec: ProcessorSpec, builtin: Builtin, pool: WorkerPool, ports: Ports) {
    this.name = spec.name;
    this.intent = spec.intent;
    this.#builtin = builtin;
    this.#prepared = new PreparedBuiltin(builtin, ports.scheduler);
    this.#clock = ports.clock;
    this.#pool = pool;
    this.#maxInlineBytes = builtin.maxInlineBytes ?? defaultMaxInlineBytes;
  }

  /** Most payloads are in memory and most built-ins answer at once: then nothing is awaited. */
  process(request: ProcessorRequest, context: CallContext): Promise<ProcessorResponse> {
    const bytes = bytesOf(request.payload);
    if (bytes === undefined) return this.#fetched(request, context);
    if (bytes.byteLength > this.#maxInlineBytes) return this.#inWorker(request, bytes, context);
    return this.#inline(request, bytes, context);
  }

  async #fetched(request: ProcessorRequest, context: CallContext): Promise<ProcessorResponse> {
    const bytes = await request.payload.bytes(context.signal);
    if (bytes.byteLength > this.#maxInlineBytes) return this.#inWorker(request, bytes, context);
    return this.#inline(request, bytes, context);
  }

  #inline(request: ProcessorRequest, bytes: Uint8Array, context: CallContext): Promise<ProcessorResponse> {
    try {
      const call = this.#prepared.with(request.options);
      const response = call(authorRequest(request, bytes), authorContext(context));
      if (response instanceof Promise) return answered(response, request);
      return Promise.resolve(responseOf(interpret(response), request));
    } catch (thrown) {
      return answered(Promise.reject(thrown), request);
    }
  }

  async #inWorker(request: ProcessorRequest, bytes: Uint8Array, context: CallContext): Promise<ProcessorResponse> {
    const task = { kind: "Builtin", name: this.#builtin.name } as const;
    const call = { request, bytes, context, clock: this.#clock };
    return responseOf(await runInWorker(this.#pool, workerKey, task, call), request);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

async function answered(response: Promise<AuthorResponse>, request: ProcessorRequest): Promise<ProcessorResponse> {
  try {
    return responseOf(interpret(await response), request);
  } catch (thrown) {
    return responseOf(interpret(refusal(thrown)), request);
  }
}

/** What a built-in threw: a refusal is a declared failure, a value nested too deeply as well, all else a crash. */
export function refusal(thrown: unknown): ReturnType<typeof refused> {
  if (thrown instanceof Refusal) return refused(thrown);
  if (thrown instanceof RangeError) return refused(new Refusal(`the payload is nested too deeply: ${thrown.message}`));
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  throw new MillraceError("ProcessorCrashed", message, { cause: thrown });
}
