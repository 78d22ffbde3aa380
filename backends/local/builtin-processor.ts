import type { Scheduler } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import type { JsonObject } from "../../engine/payload.ts";
import type { CallContext, ProcessorRequest, ProcessorResponse } from "../../engine/processor.ts";
import type { LoadedProcessor, LocalBuiltin, ProcessorSpec } from "../backend.ts";
import type { WorkerPool } from "../worker-pool.ts";
import { type Answer, interpret } from "./author.ts";
import type { Builtin, BuiltinCall } from "./builtins/builtin.ts";
import { builtinCatalogue } from "./builtins/catalogue.ts";
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
  scheduler: Scheduler,
): LoadedProcessor {
  const builtin = builtinCatalogue.get(implementation.name);
  if (builtin === undefined) throw notFound(implementation.name);
  return new BuiltinProcessor(spec, builtin, pool, scheduler);
}

function notFound(name: string): MillraceError {
  const group = name.split(".")[0] ?? name;
  const names = [...builtinCatalogue.keys()];
  const near = names.filter((known) => known.split(".").includes(group) || known.includes(name));
  return new MillraceError(
    "NotFound",
    `local.builtin: there is no built-in ${JSON.stringify(name)}; known: ${(near.length > 0 ? near : names).join(", ")}`,
  );
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
  readonly #maxInlineBytes: number;

  constructor(spec: ProcessorSpec, builtin: Builtin, pool: WorkerPool, scheduler: Scheduler) {
    this.name = spec.name;
    this.intent = spec.intent;
    this.#builtin = builtin;
    this.#prepared = new PreparedBuiltin(builtin, scheduler);
    this.#pool = pool;
    this.#maxInlineBytes = builtin.maxInlineBytes ?? defaultMaxInlineBytes;
  }

  async process(request: ProcessorRequest, context: CallContext): Promise<ProcessorResponse> {
    const bytes = bytesOf(request.payload) ?? (await request.payload.bytes(context.signal));
    if (request.payload.size > this.#maxInlineBytes) {
      const job = { kind: "Builtin", name: this.#builtin.name } as const;
      return responseOf(await runInWorker(this.#pool, workerKey, job, { request, bytes, context }), request);
    }
    let answer: Answer;
    try {
      answer = interpret(
        await this.#prepared.with(request.options)(authorRequest(request, bytes), authorContext(context)),
      );
    } catch (thrown) {
      answer = interpret(refusal(thrown));
    }
    return responseOf(answer, request);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/** What a built-in threw: a refusal is a declared failure, a value nested too deeply as well, all else a crash. */
export function refusal(thrown: unknown): ReturnType<typeof refused> {
  if (thrown instanceof Refusal) return refused(thrown);
  if (thrown instanceof RangeError) return refused(new Refusal(`the payload is nested too deeply: ${thrown.message}`));
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  throw new MillraceError("ProcessorCrashed", message, { cause: thrown });
}
