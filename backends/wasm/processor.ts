import { MillraceError } from "../../engine/errors.ts";
import { BytesPayload } from "../../engine/payload.ts";
import type { Intent, ProcessorRequest, ProcessorResponse } from "../../engine/processor.ts";
import type { BackendContext, LoadedModule, LoadedProcessor, ProcessorSpec } from "../backend.ts";
import type { GuestCapabilities, GuestRequest, GuestResult } from "./abis/guest.ts";
import type { Calls, CallTarget } from "./calls/call.ts";

/** What a {@link WasmProcessor} is made of. */
export interface WasmProcessorParts {
  readonly calls: Calls;
  readonly target: CallTarget;
  readonly capabilities: GuestCapabilities;
  readonly module: LoadedModule;
  /** Keeps the module on disk as long as the processor is loaded. Absent: it is not there. */
  readonly pin?: Disposable;
}

/** What the names of secrets begin with that are meant for the module's environment: `env:NAME`. */
const envPrefix = "env:";

/** One loaded module as a processor. */
export class WasmProcessor implements LoadedProcessor {
  readonly name: string;
  readonly intent: Intent;
  readonly module: LoadedModule;
  readonly digests: readonly string[];
  readonly maxConcurrency?: number;
  readonly #parts: WasmProcessorParts;
  readonly #maxOutputBytes: number;
  readonly #running = new Set<Promise<ProcessorResponse>>();

  constructor(spec: ProcessorSpec, parts: WasmProcessorParts) {
    const { calls, module } = parts;
    this.name = spec.name;
    this.intent = spec.intent;
    this.module = module;
    this.digests = [module.digest];
    if (calls.maxPerProcessor !== undefined) this.maxConcurrency = calls.maxPerProcessor;
    this.#parts = parts;
    this.#maxOutputBytes = spec.limits.maxOutputBytes;
  }

  process(request: ProcessorRequest, context: BackendContext): Promise<ProcessorResponse> {
    const call = this.#run(request, context).finally(() => this.#running.delete(call));
    this.#running.add(call);
    return call;
  }

  /** Waits for the calls in flight. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#running);
    this.#parts.pin?.[Symbol.dispose]();
  }

  async #run(request: ProcessorRequest, context: BackendContext): Promise<ProcessorResponse> {
    const { calls, target } = this.#parts;
    const payload = await request.payload.bytes(context.signal);
    const plain = this.#plain(payload, request, context);
    const { execution, signal, time, log } = context;
    const owner = { namespace: execution.namespace, processor: this.name };
    const answer = await calls.call({ kind: "Call", target, request: plain, owner, signal, time, log });
    context.reportFuel?.(answer.fuel);
    return this.#response(answer.result);
  }

  #plain(payload: Uint8Array, request: ProcessorRequest, context: BackendContext): GuestRequest {
    const { execution, step, item, attempt, idempotencyKey, timeoutMs, traceparent } = context;
    return {
      payload,
      contentType: request.payload.contentType,
      metadata: request.metadata,
      options: request.options,
      context: {
        execution,
        step,
        ...(item === undefined ? {} : { item }),
        attempt,
        idempotencyKey,
        timeoutMs,
        ...(traceparent === undefined ? {} : { traceparent }),
      },
      ...divided(context.secrets, this.#parts.capabilities),
      maxOutputBytes: this.#maxOutputBytes,
    };
  }

  #response(result: GuestResult): ProcessorResponse {
    if (result.kind === "Output") {
      return { ok: true, payload: new BytesPayload(result.payload, result.contentType), metadata: result.metadata };
    }
    if (result.kind === "Error") throw new MillraceError(result.code, result.message);
    if (result.kind === "Failure") return { ok: false, error: result.error, metadata: result.metadata };
    // In the words of call.ts, which would say the same of a result that had been copied out.
    throw new MillraceError(
      "PayloadTooLarge",
      `the output of ${this.name}: ${result.bytes} bytes, over the limit of ${this.#maxOutputBytes} bytes (maxOutputSize)`,
    );
  }
}

/** The secrets that are for the module's environment go there, where their names say so; the others are the module's to ask for. */
function divided(
  all: Readonly<Record<string, string>>,
  capabilities: GuestCapabilities,
): Pick<GuestRequest, "secrets" | "capabilities"> {
  const entries = Object.entries(all);
  const isEnv = ([name]: readonly [string, string]) => name.startsWith(envPrefix);
  if (!entries.some(isEnv)) return { secrets: all, capabilities };
  const env = entries.filter(isEnv).map(([name, value]) => [name.slice(envPrefix.length), value]);
  return {
    secrets: Object.fromEntries(entries.filter((entry) => !isEnv(entry))),
    capabilities: { ...capabilities, env: { ...capabilities.env, ...Object.fromEntries(env) } },
  };
}
