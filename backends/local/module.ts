import { pathToFileURL } from "node:url";
import type { Ports, Timer } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import type { ProcessorRequest, ProcessorResponse } from "../../engine/processor.ts";
import type { BackendContext, LoadedModule, LoadedProcessor, LocalModule, ProcessorSpec } from "../backend.ts";
import { Secrets } from "../secrets.ts";
import type { WorkerPool } from "../worker-pool.ts";
import { type Answer, type AuthorProcess, type AuthorRequest, InvalidAnswer, interpret } from "./author.ts";
import {
  authorContext,
  authorRequest,
  bytesOf,
  type ModuleSource,
  responseOf,
  runInWorker,
  type WorkerAnswer,
  type WorkerCall,
} from "./exchange.ts";
import { crashMessage } from "./module-errors.ts";
import { type PluginFile, readPluginFile } from "./plugin-file.ts";

/** What loading a module takes. */
export interface ModuleOptions {
  readonly pluginsDir: string;
  readonly pool: WorkerPool;
  readonly ports: Ports;
  /** How long a module may take to load (its top-level code, its imports), in milliseconds. */
  readonly loadTimeoutMs: number;
  /** What the workers bind themselves to: different for each load. */
  readonly key: string;
}

/** One load, in a worker. */
interface ModuleLoad {
  readonly spec: ProcessorSpec;
  readonly options: ModuleOptions;
  readonly source: ModuleSource;
  /** Called when a worker has taken it. */
  readonly start: () => void;
}

/** What a module was found to be, when it was loaded. */
interface Inspection {
  readonly exports: readonly string[];
  readonly exportType: string;
}

/**
 * Loads a module into a worker thread and keeps it there; others load it when they are needed.
 * @throws NotFound, InvalidInput (see {@link readPluginFile}; it throws when loaded; the export is no function),
 * DeadlineExceeded when it does not finish loading
 */
export async function loadThreadModule(
  spec: ProcessorSpec,
  module: LocalModule,
  options: ModuleOptions,
  signal: AbortSignal,
): Promise<LoadedProcessor> {
  const plugin = await readPluginFile(options.pluginsDir, module.file, module.digest, signal);
  const source = sourceOf(plugin, module.export);
  try {
    const inspection = await within(signal, module, options, (limited, start) =>
      inspect({ spec, options, source, start }, limited),
    );
    checkExport(module, inspection);
    return new ThreadModule(spec, loadedModule(plugin, inspection), source, options);
  } catch (error) {
    options.pool.retire(options.key);
    throw named(error, module.file);
  }
}

/** Loads a module into this thread: its code can do what Millrace can, and one that spins stops everything. */
export async function loadInlineModule(
  spec: ProcessorSpec,
  module: LocalModule,
  options: ModuleOptions,
  signal: AbortSignal,
): Promise<LoadedProcessor> {
  const plugin = await readPluginFile(options.pluginsDir, module.file, module.digest, signal);
  const { url } = sourceOf(plugin, module.export);
  const namespace = await within(signal, module, options, (_limited, start) => {
    start();
    return importInline(url, module);
  });
  const after = await readPluginFile(options.pluginsDir, module.file, module.digest, signal);
  if (after.digest !== plugin.digest) {
    throw new MillraceError("Unavailable", `local.module.file: ${module.file} was changed while it was loaded`);
  }
  const inspection = { exports: Object.keys(namespace), exportType: typeof namespace[module.export] };
  checkExport(module, inspection);
  return new InlineModule(spec, loadedModule(plugin, inspection), namespace[module.export] as AuthorProcess, url);
}

function sourceOf(plugin: PluginFile, exportName: string): ModuleSource {
  const source = new SharedArrayBuffer(plugin.bytes.byteLength);
  new Uint8Array(source).set(plugin.bytes);
  const url = `${pathToFileURL(plugin.path).href}?sha256=${plugin.digest.slice("sha256:".length)}`;
  return { url, source, typescript: /\.m?ts$/.test(plugin.path), export: exportName };
}

/** All loads of a namespace share a turn, so that they neither wait for an old version's calls nor hold all workers. */
const loading = "(loading)";

async function inspect(load: ModuleLoad, signal: AbortSignal): Promise<Inspection> {
  const { spec, options, source, start } = load;
  const body: WorkerCall = { task: { kind: "Load", module: source } };
  const job = () => {
    start();
    return { body };
  };
  const owner = { namespace: spec.namespace, processor: loading };
  const answer = (await options.pool.run(job, signal, { key: options.key, owner })) as WorkerAnswer;
  if (answer.kind === "Loaded") return answer;
  throw new Error(answer.kind === "Threw" ? answer.message : "a worker answered another question");
}

async function importInline(url: string, module: LocalModule): Promise<Record<string, unknown>> {
  try {
    return (await import(url)) as Record<string, unknown>;
  } catch (thrown) {
    throw new MillraceError(
      "InvalidInput",
      `local.module.file: ${module.file} cannot be loaded: it ${crashMessage(thrown, url)}`,
      { cause: thrown },
    );
  }
}

/** Rejects when the time to load, from when `load` calls `start`, is over, whatever the module does. */
async function within<R>(
  signal: AbortSignal,
  module: LocalModule,
  options: ModuleOptions,
  load: (signal: AbortSignal, start: () => void) => Promise<R>,
): Promise<R> {
  signal.throwIfAborted();
  const limit = new AbortController();
  const stop = () => limit.abort(signal.reason);
  signal.addEventListener("abort", stop);
  let timer: Timer | undefined;
  const start = () => {
    timer = options.ports.scheduler.after(options.loadTimeoutMs, () => limit.abort(tooSlow(module, options)));
  };
  const aborted = new Promise<never>((_resolve, reject) => {
    limit.signal.addEventListener("abort", () => reject(limit.signal.reason));
  });
  try {
    return await Promise.race([load(limit.signal, start), aborted]);
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw new MillraceError("InvalidInput", `local.module.file: ${module.file} cannot be loaded: it ${message}`, {
      cause: error,
    });
  } finally {
    timer?.cancel();
    signal.removeEventListener("abort", stop);
  }
}

function tooSlow(module: LocalModule, { loadTimeoutMs }: ModuleOptions): MillraceError {
  return new MillraceError(
    "DeadlineExceeded",
    `local.module.file: ${module.file} was not loaded after ${loadTimeoutMs} ms; does it await something at its top level?`,
  );
}

function checkExport(module: LocalModule, { exports, exportType }: Inspection): void {
  if (exportType === "function") return;
  const exported = exports.length === 0 ? "nothing" : exports.join(", ");
  if (exports.includes(module.export)) {
    throw new MillraceError(
      "InvalidInput",
      `local.module.export: ${module.export} of ${module.file} is of type ${exportType}, not a function; it exports ${exported}`,
    );
  }
  throw new MillraceError(
    "NotFound",
    `local.module.export: ${module.file} does not export ${module.export}; it exports ${exported}`,
  );
}

function loadedModule(plugin: PluginFile, inspection: Inspection): LoadedModule {
  return {
    digest: plugin.digest,
    bytes: plugin.bytes.byteLength,
    source: plugin.file,
    exports: [...inspection.exports],
  };
}

class ThreadModule implements LoadedProcessor {
  readonly name: string;
  readonly intent: LoadedProcessor["intent"];
  readonly module: LoadedModule;
  readonly digests: readonly string[];
  readonly maxConcurrency: number;
  readonly #source: ModuleSource;
  readonly #pool: WorkerPool;
  readonly #key: string;
  readonly #inFlight = new Set<Promise<unknown>>();

  constructor(spec: ProcessorSpec, module: LoadedModule, source: ModuleSource, options: ModuleOptions) {
    this.name = spec.name;
    this.intent = spec.intent;
    this.module = module;
    this.digests = [module.digest];
    this.maxConcurrency = options.pool.maxPerProcessor;
    this.#source = source;
    this.#pool = options.pool;
    this.#key = options.key;
  }

  async process(request: ProcessorRequest, context: BackendContext): Promise<ProcessorResponse> {
    const bytes = bytesOf(request.payload) ?? (await request.payload.bytes(context.signal));
    const task = { kind: "Module", module: this.#source } as const;
    const running = runInWorker(this.#pool, this.#key, task, { request, bytes, context, processor: this.name });
    this.#inFlight.add(running);
    try {
      return responseOf(await running, request);
    } catch (error) {
      throw named(error, this.module.source);
    } finally {
      this.#inFlight.delete(running);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#inFlight);
    this.#pool.retire(this.#key);
  }
}

class InlineModule implements LoadedProcessor {
  readonly name: string;
  readonly intent: LoadedProcessor["intent"];
  readonly module: LoadedModule;
  readonly digests: readonly string[];
  readonly #process: AuthorProcess;
  readonly #url: string;

  constructor(spec: ProcessorSpec, module: LoadedModule, process: AuthorProcess, url: string) {
    this.name = spec.name;
    this.intent = spec.intent;
    this.module = module;
    this.digests = [module.digest];
    this.#process = process;
    this.#url = url;
  }

  async process(request: ProcessorRequest, context: BackendContext): Promise<ProcessorResponse> {
    const bytes = bytesOf(request.payload) ?? (await request.payload.bytes(context.signal));
    try {
      const response = await this.#process(ownRequest(request, bytes), authorContext(context));
      return responseOf(own(interpret(response)), request);
    } catch (thrown) {
      const secrets = new Secrets(context.secrets);
      const message = thrown instanceof InvalidAnswer ? thrown.message : crashMessage(thrown, this.#url, secrets);
      throw named(new MillraceError("ProcessorCrashed", message, { cause: thrown }), this.module.source);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/** Copies, as a thread gets them: what the module writes to is its own, and never a payload or a plan that others read. */
function ownRequest(request: ProcessorRequest, bytes: Uint8Array): AuthorRequest {
  const { metadata, options } = request;
  return {
    ...authorRequest(request, new Uint8Array(bytes)),
    metadata: { ...metadata },
    options: structuredClone(options),
  };
}

/** The module may go on writing to the bytes that it gave. */
function own(answer: Answer): Answer {
  return answer.ok ? { ...answer, bytes: new Uint8Array(answer.bytes) } : answer;
}

/** A crash says which module it was. */
function named(error: unknown, file: string): unknown {
  if (!(error instanceof MillraceError) || error.code !== "ProcessorCrashed") return error;
  return new MillraceError("ProcessorCrashed", `${file}: ${error.message}`, { cause: error });
}
