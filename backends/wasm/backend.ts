import type { Ports } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import { BytesPayload } from "../../engine/payload.ts";
import type { Intent, ProcessorRequest, ProcessorResponse } from "../../engine/processor.ts";
import type { Backend, BackendContext, LoadedModule, LoadedProcessor, ProcessorSpec, WasmModule } from "../backend.ts";
import type { PoolStats } from "../pool.ts";
import type { DirectRequest, DirectResult } from "./abis/direct.ts";
import { ModuleCache, type ModuleCacheStats } from "./module-cache.ts";
import { type ReadConfigMapKey, readModuleKey } from "./sources/config-map.ts";
import { readModuleFile } from "./sources/file.ts";
import type { SourcedModule } from "./sources/source.ts";
import { type CallTarget, WasmWorkers } from "./worker-pool.ts";

/** What {@link createWasmBackend} is given. */
export interface WasmBackendOptions {
  readonly ports: Ports;
  /** Where `source.file` is looked for; absolute. Absent: there are no files. */
  readonly modulesDir?: string;
  readonly readConfigMapKey: ReadConfigMapKey;
  /** The largest module that is accepted, in bytes; default 32 MiB. */
  readonly maxModuleBytes?: number;
  /** Of compiled modules, counted by the bytes of their binaries; default 128 MiB. */
  readonly cacheBytes?: number;
  /** Threads for calls, of which one Processor gets at most half; default: twice the cores, at least 4. */
  readonly maxWorkers?: number;
  /** Calls that may wait for a thread; default 10,000. */
  readonly maxWaiters?: number;
}

const defaultMaxModuleBytes = 32 * 1024 * 1024;
const defaultCacheBytes = 128 * 1024 * 1024;

/** How the WASM backend is doing, for metrics. */
export interface WasmBackendStats {
  readonly workers: PoolStats;
  readonly modules: ModuleCacheStats;
}

/** Runs WASM modules that nobody here trusts: admitted once, compiled once, each call in a fresh instance in a worker thread. */
export function createWasmBackend(options: WasmBackendOptions): WasmBackend {
  return new WasmBackend(options);
}

/** See {@link createWasmBackend}. */
export class WasmBackend implements Backend {
  readonly kind = "WASM";
  readonly #options: WasmBackendOptions;
  readonly #workers: WasmWorkers;
  readonly #cache: ModuleCache;

  constructor(options: WasmBackendOptions) {
    this.#options = options;
    this.#workers = new WasmWorkers(options);
    this.#cache = new ModuleCache(
      (request, signal) => this.#workers.admit(request, signal),
      options.cacheBytes ?? defaultCacheBytes,
    );
  }

  pools(): ReadonlyMap<string, PoolStats> {
    return new Map([["wasm-workers", this.#workers.stats]]);
  }

  get stats(): WasmBackendStats {
    return { workers: this.#workers.stats, modules: this.#cache.stats };
  }

  /**
   * Fetches, verifies and compiles.
   * @throws NotFound (file, ConfigMap, key, entrypoint), PayloadTooLarge, InvalidInput (no module, malformed, another
   * digest than the pin, fits no ABI), SandboxViolation (path, feature, import, more memory from the start than allowed)
   */
  async load(spec: ProcessorSpec, signal: AbortSignal): Promise<LoadedProcessor> {
    const { implementation } = spec;
    if (implementation.kind !== "WASM") {
      throw new MillraceError("Internal", `the WASM backend was given a processor of kind ${implementation.kind}`);
    }
    const sourced = await this.#read(spec.namespace, implementation, signal);
    const digest = await digestOffThread(sourced.bytes);
    checkPin(implementation.digest, digest, sourced.source);
    const { abi, entrypoint, maxMemoryBytes } = implementation;
    const module = await this.#cache.get({ bytes: sourced.bytes, digest, abi, entrypoint, maxMemoryBytes }, signal);
    return new WasmProcessor(
      spec,
      this.#workers,
      { module, entrypoint, maxMemoryBytes },
      {
        digest,
        bytes: sourced.bytes.byteLength,
        source: sourced.source,
        abi: module.abi,
        imports: module.imports,
        exports: module.exports,
      },
    );
  }

  /** Waits for running calls up to 5 s, then ends all threads. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cache[Symbol.asyncDispose]();
    await this.#workers[Symbol.asyncDispose]();
  }

  #read(namespace: string, implementation: WasmModule, signal: AbortSignal): Promise<SourcedModule> {
    const { source } = implementation;
    const maxBytes = this.#options.maxModuleBytes ?? defaultMaxModuleBytes;
    return source.kind === "File"
      ? readModuleFile(this.#options.modulesDir, source.file, maxBytes, signal)
      : readModuleKey(this.#options.readConfigMapKey, namespace, source, maxBytes, signal);
  }
}

/** `sha256:…`, on a thread of the platform's pool: a large module takes tens of milliseconds. */
async function digestOffThread(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return `sha256:${Buffer.from(digest).toString("hex")}`;
}

function checkPin(pin: string | undefined, digest: string, source: string): void {
  if (pin === undefined || pin === digest) return;
  throw new MillraceError(
    "InvalidInput",
    `The WASM module of ${source} has the digest ${digest}, but spec.wasm.digest pins ${pin}. Pin the new one if the change is meant.`,
  );
}

/** One loaded module as a processor. */
class WasmProcessor implements LoadedProcessor {
  readonly name: string;
  readonly intent: Intent;
  readonly module: LoadedModule;
  readonly digests: readonly string[];
  readonly maxConcurrency: number;
  readonly #workers: WasmWorkers;
  readonly #target: CallTarget;
  readonly #maxOutputBytes: number;
  readonly #calls = new Set<Promise<ProcessorResponse>>();

  constructor(spec: ProcessorSpec, workers: WasmWorkers, target: CallTarget, module: LoadedModule) {
    this.name = spec.name;
    this.intent = spec.intent;
    this.module = module;
    this.digests = [module.digest];
    this.maxConcurrency = workers.maxPerProcessor;
    this.#workers = workers;
    this.#target = target;
    this.#maxOutputBytes = spec.limits.maxOutputBytes;
  }

  process(request: ProcessorRequest, context: BackendContext): Promise<ProcessorResponse> {
    const call = this.#run(request, context).finally(() => this.#calls.delete(call));
    this.#calls.add(call);
    return call;
  }

  /** Waits for the calls in flight. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#calls);
  }

  async #run(request: ProcessorRequest, context: BackendContext): Promise<ProcessorResponse> {
    const payload = await request.payload.bytes(context.signal);
    const plain = this.#plain(payload, request, context);
    const { execution, signal, time, log } = context;
    const owner = { namespace: execution.namespace, processor: this.name };
    const call = { target: this.#target, request: plain, owner, signal, time, log };
    return this.#response(await this.#workers.call(call));
  }

  #plain(payload: Uint8Array, request: ProcessorRequest, context: BackendContext): DirectRequest {
    const { execution, step, item, attempt, idempotencyKey, timeoutMs, traceparent, secrets } = context;
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
      secrets,
      maxOutputBytes: this.#maxOutputBytes,
    };
  }

  #response(result: DirectResult): ProcessorResponse {
    if (result.kind === "Output") {
      return { ok: true, payload: new BytesPayload(result.payload, result.contentType), metadata: result.metadata };
    }
    if (result.kind === "Failure") return { ok: false, error: result.error, metadata: result.metadata };
    // In the words of call.ts, which would say the same of a result that had been copied out.
    throw new MillraceError(
      "PayloadTooLarge",
      `the output of ${this.name}: ${result.bytes} bytes, over the limit of ${this.#maxOutputBytes} bytes (maxOutputSize)`,
    );
  }
}
