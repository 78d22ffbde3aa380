import { constants } from "node:buffer";
import type { Ports, Scheduler } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import { digestOf, type JsonObject } from "../../engine/payload.ts";
import type { ProcessorRequest, ProcessorResponse } from "../../engine/processor.ts";
import type { BackendContext, LoadedProcessor, LocalBuiltin, ProcessorSpec } from "../backend.ts";
import type { WorkerPool } from "../worker-pool.ts";
import { type AuthorResponse, interpret } from "./author.ts";
import { BoundedOutput, OutputOverflow, WorkOverflow } from "./builtins/bounded-output.ts";
import type { Builtin, BuiltinCall } from "./builtins/builtin.ts";
import { builtinCatalogue, unknownBuiltin } from "./builtins/catalogue.ts";
import { Options } from "./builtins/options.ts";
import { Refusal, refused } from "./builtins/refusal.ts";
import { authorContext, authorRequest, bytesOf, responseOf, runInWorker } from "./exchange.ts";

const defaultMaxInlineBytes = 64 * 1024;

/** A call that gives more, or is more work, is made in a worker thread: together, some milliseconds. */
const maxInlineOutputBytes = 256 * 1024;
const maxInlineWork = 20_000;

/** All built-ins are alike to a worker. */
const workerKey = "builtins";

/** Names the code of a built-in, which comes with Millrace and changes with it. */
function builtinDigest(version: string, name: string): string {
  return digestOf(Buffer.from(`millrace ${version} ${name}`));
}

/**
 * @param version of Millrace
 * @throws NotFound when there is no built-in of that name; the message has those that are near
 */
export function loadBuiltin(
  spec: ProcessorSpec,
  implementation: LocalBuiltin,
  pool: WorkerPool,
  ports: Ports,
  version: string,
): LoadedProcessor {
  const builtin = builtinCatalogue.get(implementation.name);
  if (builtin === undefined)
    throw new MillraceError("NotFound", `local.builtin: ${unknownBuiltin(implementation.name)}`);
  return new BuiltinProcessor(spec, builtin, pool, ports, builtinDigest(version, builtin.name));
}

/** A built-in's calls, prepared once for each options object (a plan resolves a step's options once). */
export class PreparedBuiltin {
  readonly #builtin: Builtin;
  readonly #scheduler: Scheduler;
  readonly #calls = new WeakMap<JsonObject, BuiltinCall>();
  readonly #inlineBytes = new WeakMap<JsonObject, number>();

  constructor(builtin: Builtin, scheduler: Scheduler) {
    this.#builtin = builtin;
    this.#scheduler = scheduler;
  }

  /** The largest payload that is to be worked on in the controller's thread with these options. @throws Refusal when they do not fit */
  maxInlineBytes(options: JsonObject): number {
    const { maxInlineBytes = defaultMaxInlineBytes } = this.#builtin;
    if (typeof maxInlineBytes === "number") return maxInlineBytes;
    const known = this.#inlineBytes.get(options);
    if (known !== undefined) return known;
    const found = maxInlineBytes(new Options(this.#builtin.options, options));
    this.#inlineBytes.set(options, found);
    return found;
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

/** A built-in as a processor: in this thread, or in one of the pool's where that takes long. The pool's workers have the catalogue's only. */
export class BuiltinProcessor implements LoadedProcessor {
  readonly name: string;
  readonly intent: LoadedProcessor["intent"];
  readonly digests: readonly string[];
  readonly #builtin: Builtin;
  readonly #prepared: PreparedBuiltin;
  readonly #pool: WorkerPool;
  readonly #maxOutputBytes: number;

  constructor(spec: ProcessorSpec, builtin: Builtin, pool: WorkerPool, ports: Ports, digest: string) {
    this.name = spec.name;
    this.intent = spec.intent;
    this.digests = [digest];
    this.#builtin = builtin;
    this.#prepared = new PreparedBuiltin(builtin, ports.scheduler);
    this.#pool = pool;
    this.#maxOutputBytes = spec.limits.maxOutputBytes;
  }

  /** Most payloads are in memory and most built-ins answer at once: then nothing is awaited. */
  process(request: ProcessorRequest, context: BackendContext): Promise<ProcessorResponse> {
    const bytes = bytesOf(request.payload);
    if (bytes === undefined) return this.#fetched(request, context);
    return this.#run(request, bytes, context);
  }

  async #fetched(request: ProcessorRequest, context: BackendContext): Promise<ProcessorResponse> {
    return this.#run(request, await request.payload.bytes(context.signal), context);
  }

  #run(request: ProcessorRequest, bytes: Uint8Array, context: BackendContext): Promise<ProcessorResponse> {
    try {
      if (bytes.byteLength > this.#prepared.maxInlineBytes(request.options)) {
        return this.#inWorker(request, bytes, context);
      }
      const call = this.#prepared.with(request.options);
      const output = new BoundedOutput(Math.min(this.#maxOutputBytes, maxInlineOutputBytes), maxInlineWork);
      const response = call(authorRequest(request, bytes), authorContext(context), output);
      if (response instanceof Promise) return answered(response, request);
      return Promise.resolve(responseOf(interpret(response), request));
    } catch (thrown) {
      if (this.#isMoreInWorker(thrown)) return this.#inWorker(request, bytes, context);
      return answered(Promise.reject(this.#translated(thrown)), request);
    }
  }

  async #inWorker(request: ProcessorRequest, bytes: Uint8Array, context: BackendContext): Promise<ProcessorResponse> {
    const task = { kind: "Builtin", name: this.#builtin.name, maxOutputBytes: this.#maxOutputBytes } as const;
    const call = { request, bytes, context, processor: this.name };
    try {
      return responseOf(await runInWorker(this.#pool, workerKey, task, call), request);
    } catch (thrown) {
      throw this.#translated(thrown);
    }
  }

  /** What went over this thread's limits and may still be within the Processor's. */
  #isMoreInWorker(thrown: unknown): boolean {
    if (thrown instanceof WorkOverflow) return true;
    return thrown instanceof OutputOverflow && this.#maxOutputBytes > maxInlineOutputBytes;
  }

  #translated(thrown: unknown): unknown {
    const stopped = overflow(thrown);
    if (stopped === undefined) return thrown;
    return new MillraceError(
      "PayloadTooLarge",
      `the output of ${this.name}: at least ${stopped.bytes} bytes, over the limit of ${this.#maxOutputBytes} bytes (maxOutputSize)`,
    );
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
  if (thrown instanceof MillraceError) throw thrown;
  if (thrown instanceof Refusal) return refused(thrown);
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (thrown instanceof RangeError && message.startsWith("Maximum call stack size"))
    return refused(new Refusal(`the payload is nested too deeply: ${message}`));
  throw new MillraceError("ProcessorCrashed", message, { cause: thrown });
}

/** What a built-in threw because its output is too long: for its Processor, or for a string. */
export function overflow(thrown: unknown): OutputOverflow | undefined {
  if (thrown instanceof OutputOverflow) return thrown;
  if (!(thrown instanceof Error)) return undefined;
  const isTooLong =
    (thrown instanceof RangeError && thrown.message === "Invalid string length") ||
    ("code" in thrown && thrown.code === "ERR_STRING_TOO_LONG");
  return isTooLong ? new OutputOverflow(constants.MAX_STRING_LENGTH) : undefined;
}
