import { availableParallelism } from "node:os";
import { MillraceError } from "../../engine/errors.ts";
import type { Backend, BackendOptions, LoadedProcessor, LocalModule, ProcessorSpec } from "../backend.ts";
import type { PoolStats } from "../pool.ts";
import { WorkerPool, workerEntry } from "../worker-pool.ts";
import { loadBuiltin } from "./builtin-processor.ts";
import { loadInlineModule, loadThreadModule, type ModuleOptions } from "./module.ts";

/** How {@link createLocalBackend} finds and holds what it runs. */
export interface LocalBackendOptions extends BackendOptions {
  /** Of Millrace: built-ins change with it, and their digests tell. */
  readonly version: string;
  /** Where ES modules are. Absent: no module can be loaded. */
  readonly pluginsDir?: string;
  /** Isolations beyond the default that this installation allows; default none. `Inline` for modules in this thread. */
  readonly allowIsolation?: readonly string[];
  /** Worker threads for all modules together, of which one Processor gets at most half; default twice the CPUs, at least 4. */
  readonly maxWorkers?: number;
  /** V8's heap of one worker, in MiB; default 256. Typed arrays are outside of it. */
  readonly maxHeapMiB?: number;
  /** How long a module may take to load, in milliseconds; default 10,000. */
  readonly loadTimeoutMs?: number;
  /** How long an aborted module may take to end by itself before its worker is terminated, in milliseconds; default 100. */
  readonly abortGraceMs?: number;
}

const defaultMaxHeapMiB = 256;
const defaultLoadTimeoutMs = 10_000;
const defaultAbortGraceMs = 100;

/** Built-ins and ES modules. Starts no worker before the first one is needed; disposing it ends them all. */
export function createLocalBackend(options: LocalBackendOptions): Backend {
  return new LocalBackend(options);
}

class LocalBackend implements Backend {
  readonly kind = "Local";
  readonly #options: LocalBackendOptions;
  readonly #pool: WorkerPool;
  #loads = 0;

  constructor(options: LocalBackendOptions) {
    this.#options = options;
    this.#pool = new WorkerPool({
      name: "local modules",
      entry: workerEntry(import.meta.url, "module-worker"),
      ports: options.ports,
      maxWorkers: options.maxWorkers ?? Math.max(4, 2 * availableParallelism()),
      abortGraceMs: options.abortGraceMs ?? defaultAbortGraceMs,
      resourceLimits: { maxOldGenerationSizeMb: options.maxHeapMiB ?? defaultMaxHeapMiB },
    });
  }

  pools(): ReadonlyMap<string, PoolStats> {
    return new Map([["local-workers", this.#pool.stats]]);
  }

  async load(spec: ProcessorSpec, signal: AbortSignal): Promise<LoadedProcessor> {
    signal.throwIfAborted();
    const { implementation } = spec;
    switch (implementation.kind) {
      case "Builtin":
        return loadBuiltin(spec, implementation, this.#pool, this.#options.ports, this.#options.version);
      case "Module":
        return this.#loadModule(spec, implementation, signal);
      default:
        throw new MillraceError(
          "Internal",
          `the Local backend was given ${spec.name}, which is ${implementation.kind}`,
        );
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#pool[Symbol.asyncDispose]();
  }

  async #loadModule(spec: ProcessorSpec, module: LocalModule, signal: AbortSignal): Promise<LoadedProcessor> {
    const { pluginsDir, allowIsolation, ports, loadTimeoutMs } = this.#options;
    if (pluginsDir === undefined) {
      throw new MillraceError(
        "NotFound",
        `local.module.file: ${module.file} is looked for in the plugins directory, and there is none; start with --plugins-dir`,
      );
    }
    this.#loads += 1;
    const options: ModuleOptions = {
      pluginsDir,
      ports,
      pool: this.#pool,
      loadTimeoutMs: loadTimeoutMs ?? defaultLoadTimeoutMs,
      key: `load-${this.#loads}`,
    };
    if (module.isolation === "Thread") return loadThreadModule(spec, module, options, signal);
    if (allowIsolation?.includes("Inline") === true) return loadInlineModule(spec, module, options, signal);
    throw new MillraceError(
      "InvalidInput",
      `local.module.isolation: Inline runs ${module.file} in Millrace's own thread, which this installation does not allow; use Thread, or start with --allow-isolation=Inline`,
    );
  }
}
