import type { Ports } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import type { Backend, LoadedProcessor, ModuleCaches, ProcessorSpec, ResolvedSource, WasmModule } from "../backend.ts";
import type { PoolStats } from "../pool.ts";
import type { Calls, CallTarget } from "./calls/call.ts";
import { InlineCalls, maxInlineBytes, maxInlineFuel, maxInlineMemoryBytes } from "./calls/inline.ts";
import { WasmWorkers } from "./calls/workers.ts";
import { CacheFolder } from "./modules/cache-folder.ts";
import { DiskCache, type DiskCacheStats } from "./modules/disk-cache.ts";
import { ModuleCache, type ModuleCacheStats } from "./modules/module-cache.ts";
import { type AvailableModule, ModuleLoader } from "./modules/module-loader.ts";
import { References } from "./modules/references.ts";
import { RemoteModules } from "./modules/remote-modules.ts";
import { SmokeTests } from "./modules/smoke-tests.ts";
import { ModuleNetwork, type NetworkOptions } from "./network/network.ts";
import { WasmProcessor } from "./processor.ts";
import type { ReadConfigMapKey } from "./sources/config-map.ts";
import type { ReadSecret } from "./sources/secret.ts";
import { ModuleSources } from "./sources/sources.ts";

/** What {@link createWasmBackend} is given. */
export interface WasmBackendOptions {
  readonly ports: Ports;
  /** Where `source.file` is looked for; absolute. Absent: there are no files. */
  readonly modulesDir?: string;
  readonly readConfigMapKey: ReadConfigMapKey;
  /** For pull secrets and public keys. Absent: there are no Secrets. */
  readonly readSecret?: ReadSecret;
  /** Where modules may be fetched from; default: public addresses only, over verified TLS. */
  readonly network?: NetworkOptions;
  /** Where fetched modules are kept; absolute, made if it is not there, and Millrace's own. Absent: in memory only. */
  readonly cacheDir?: string;
  /** Of the modules in `cacheDir`; default 1 GiB. */
  readonly cacheDiskBytes?: number;
  /** Once all Processors that there are have been loaded, or refused: until then nothing is evicted from `cacheDir`. Absent: nothing is waited for. */
  readonly settled?: Promise<void>;
  /** Told what does not work and fails nobody. Default: nobody is. */
  readonly warn?: (message: string) => void;
  /** Isolations beyond the default that this installation allows: `Inline`; default none. */
  readonly allowIsolation?: readonly string[];
  /** The largest module that is accepted, in bytes; default 32 MiB. */
  readonly maxModuleBytes?: number;
  /** Of compiled modules, counted by the bytes of their binaries; default 128 MiB. */
  readonly cacheBytes?: number;
  /** Threads for calls, of which one Processor gets at most half; default: twice the cores, at least 4. */
  readonly maxWorkers?: number;
  /** Calls that may wait for a thread; default 10,000. */
  readonly maxWaiters?: number;
  /** The memory of all calls at a time, each counted as its limit; default: half of the memory that there is. */
  readonly callMemoryBytes?: number;
}

const defaultMaxModuleBytes = 32 * 1024 * 1024;
const defaultCacheBytes = 128 * 1024 * 1024;
const defaultCacheDiskBytes = 1024 * 1024 * 1024;

/** How the WASM backend is doing, for metrics. */
export interface WasmBackendStats {
  readonly workers: PoolStats;
  readonly modules: ModuleCacheStats;
  /** Absent: there is no cache on disk. */
  readonly disk?: DiskCacheStats;
}

/** Runs WASM modules that nobody here trusts: admitted once, compiled once, called within limits in a worker thread. */
export function createWasmBackend(options: WasmBackendOptions): WasmBackend {
  return new WasmBackend(options);
}

/** See {@link createWasmBackend}. */
export class WasmBackend implements Backend {
  readonly kind = "WASM";
  readonly #options: WasmBackendOptions;
  /** What guests reach who may. */
  readonly #network: ModuleNetwork;
  readonly #workers: WasmWorkers;
  readonly #inline: InlineCalls;
  readonly #cache: ModuleCache;
  readonly #disk: DiskCache | undefined;
  readonly #sources: ModuleSources;
  readonly #remote: RemoteModules;
  readonly #loader: ModuleLoader;
  readonly #smokeTests: SmokeTests;
  #loads = 0;

  constructor(options: WasmBackendOptions) {
    this.#options = options;
    const { clock } = options.ports;
    const maxModuleBytes = options.maxModuleBytes ?? defaultMaxModuleBytes;
    // Insecure registries are for modules to come from, and not for modules to reach.
    this.#network = new ModuleNetwork({ ...options.network, allowInsecureRegistries: [], plainHttp: "All" });
    this.#workers = new WasmWorkers({ ...options, network: this.#network });
    this.#inline = new InlineCalls(clock);
    this.#cache = new ModuleCache({
      admit: (request, owner, signal) => this.#workers.admit(request, owner, signal),
      maxBytes: options.cacheBytes ?? defaultCacheBytes,
      clock,
    });
    this.#smokeTests = new SmokeTests(clock);
    const folder = folderOf(options);
    const maxBytes = options.cacheDiskBytes ?? defaultCacheDiskBytes;
    const { settled } = options;
    this.#disk = folder && new DiskCache({ folder, maxBytes, maxModuleBytes, ...(settled && { settled }) });
    this.#sources = new ModuleSources({ ...options, clock, maxModuleBytes });
    this.#remote = new RemoteModules({ references: new References(folder), disk: this.#disk, clock });
    this.#loader = new ModuleLoader({
      cache: this.#cache,
      remote: this.#remote,
      sources: this.#sources,
      readSecret: options.readSecret,
    });
  }

  pools(): ReadonlyMap<string, PoolStats> {
    return new Map([["wasm-workers", this.#workers.stats]]);
  }

  moduleCaches(): ModuleCaches {
    const memory = this.#cache.stats;
    const { compiled, compileSeconds, refused } = memory;
    const disk = this.#disk?.stats;
    return { memory, compiled, compileSeconds, refused, ...(disk === undefined ? {} : { disk }) };
  }

  get stats(): WasmBackendStats {
    const workers = this.#workers.stats;
    const modules = this.#cache.stats;
    return this.#disk === undefined ? { workers, modules } : { workers, modules, disk: this.#disk.stats };
  }

  /** As `load`, of the source. */
  async resolve(spec: ProcessorSpec, signal: AbortSignal, before?: ResolvedSource): Promise<ResolvedSource> {
    return await this.#loader.resolve(spec, moduleOf(spec), signal, before);
  }

  /**
   * Fetches, verifies, compiles, and tries an instance.
   * @throws NotFound (file, ConfigMap, key, entrypoint, nothing in the cache), PayloadTooLarge, InvalidInput (no module, malformed, another
   * digest than the pin, fits no ABI, traps before its entrypoint), SandboxViolation (path, feature, import, signature, address, a limit
   * before its entrypoint), Unavailable
   */
  async load(spec: ProcessorSpec, signal: AbortSignal): Promise<LoadedProcessor> {
    const module = moduleOf(spec);
    this.#checkIsolation(module);
    checkMemory(module.limits.maxMemoryBytes, this.#workers.callMemoryBytes);
    // From before it is on disk until the processor pins it.
    using held = new DisposableStack();
    const hold = (digest: string) => void held.use(this.#disk?.pin(digest));
    const available = await this.#loader.load(spec, module, hold, signal);
    checkInline(module, available);
    checkCapabilities(module, available);
    const target = this.#targetOf(module, available);
    const { capabilities } = module;
    const { ports } = this.#options;
    const smoke = { calls: this.#workers, target, capabilities, ports };
    await this.#smokeTests.pass(available.compiled.id, smoke, spec, signal);
    const calls: Calls = module.isolation === "Inline" ? this.#inline : this.#workers;
    const pin = this.#disk?.pin(available.facts.digest);
    const parts = { calls, target, capabilities, module: available.facts };
    return new WasmProcessor(spec, pin === undefined ? parts : { ...parts, pin });
  }

  /** Waits for running calls up to 5 s, then ends all threads. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#remote[Symbol.asyncDispose]();
    await this.#cache[Symbol.asyncDispose]();
    await this.#workers[Symbol.asyncDispose]();
    await this.#disk?.[Symbol.asyncDispose]();
    await this.#sources[Symbol.asyncDispose]();
    await this.#network[Symbol.asyncDispose]();
  }

  /** Each load has a target of its own: no two processors, and no two versions of one, share an instance. */
  #targetOf({ entrypoint, limits, reuse }: WasmModule, { compiled }: AvailableModule): CallTarget {
    this.#loads += 1;
    const { module, bytes, abi } = compiled;
    return { id: `load-${this.#loads}`, module, bytes, abi, entrypoint, limits, reuse };
  }

  #checkIsolation({ isolation, limits, capabilities }: WasmModule): void {
    if (isolation === "Worker") return;
    const field = "spec.wasm.isolation: Inline";
    if (this.#options.allowIsolation?.includes("Inline") !== true) {
      throw new MillraceError(
        "InvalidInput",
        `${field} runs the module in Millrace's own thread, which this installation does not allow; use Worker, or start with --allow-isolation=Inline`,
      );
    }
    const { allowedHosts, randomSeed } = capabilities;
    if (allowedHosts.length > 0 || hasEnvironment(capabilities) || randomSeed !== undefined) {
      throw new MillraceError(
        "InvalidInput",
        `${field} has neither network nor WASI: leave out spec.wasm.capabilities.allowedHosts, env and randomSeed, or use Worker`,
      );
    }
    checkInlineLimits(limits);
  }
}

/** The budget of calls lets one that is larger than all of it run alone: it would take more than there is. */
function checkMemory(maxMemoryBytes: number, callMemoryBytes: number): void {
  if (maxMemoryBytes <= callMemoryBytes) return;
  throw new MillraceError(
    "SandboxViolation",
    `spec.wasm.limits.memory is ${maxMemoryBytes} bytes, more than all calls of modules together may have here: ${callMemoryBytes} bytes, half of the controller's memory. Lower it, or give the controller more memory`,
  );
}

function checkInlineLimits({ fuel, maxMemoryBytes }: WasmModule["limits"]): void {
  const field = "spec.wasm.isolation: Inline";
  if (fuel > maxInlineFuel) {
    throw new MillraceError(
      "InvalidInput",
      `${field} holds everybody up while a call lasts: spec.wasm.limits.fuel may be ${maxInlineFuel} at most, and is ${fuel}; lower it, or use Worker`,
    );
  }
  if (maxMemoryBytes <= maxInlineMemoryBytes) return;
  throw new MillraceError(
    "SandboxViolation",
    `${field} takes its memory of Millrace's own: spec.wasm.limits.memory may be 16Mi at most, and is ${maxMemoryBytes} bytes (64Mi where nothing is said); set 16Mi or less, or use Worker`,
  );
}

/** WASI can wait, and its clocks and random numbers are the system's; V8 compiles where a function is first called. */
function checkInline({ isolation }: WasmModule, { compiled, facts }: AvailableModule): void {
  if (isolation === "Worker") return;
  if (compiled.wasi) {
    throw new MillraceError(
      "InvalidInput",
      `spec.wasm.isolation: Inline has no WASI, which the WASM module of ${facts.source} imports; build it without, or use Worker`,
    );
  }
  if (compiled.bytes <= maxInlineBytes) return;
  throw new MillraceError(
    "InvalidInput",
    `spec.wasm.isolation: Inline takes modules of ${maxInlineBytes} bytes at most, as compiling holds everybody up; that of ${facts.source} has ${compiled.bytes}. Build it smaller, or use Worker`,
  );
}

/** What a module has no way to use is refused, not ignored: its author, or who deploys it, expects something of it. */
function checkCapabilities({ capabilities }: WasmModule, { compiled, facts }: AvailableModule): void {
  const { allowedHosts, config, randomSeed } = capabilities;
  const unusable = [
    allowedHosts.length > 0 && compiled.abi !== "Extism" ? "allowedHosts (the ABI Extism alone makes requests)" : [],
    Object.keys(config).length > 0 && !["Extism", "WaPC"].includes(compiled.abi)
      ? "config (the ABIs Extism and WaPC alone read it)"
      : [],
    hasEnvironment(capabilities) && !compiled.wasi ? "env (WASI alone has an environment)" : [],
    randomSeed !== undefined && !compiled.wasi ? "randomSeed (WASI alone has random numbers)" : [],
  ].flat();
  if (unusable.length === 0) return;
  const what = `${compiled.abi}${compiled.wasi ? ", over WASI" : ""}`;
  throw new MillraceError(
    "InvalidInput",
    `spec.wasm.capabilities: the WASM module of ${facts.source} (${what}) has no way to use ${unusable.join(", ")}. Leave it out, or build the module so that it has.`,
  );
}

function hasEnvironment({ env, secretEnv = [] }: WasmModule["capabilities"]): boolean {
  return Object.keys(env).length > 0 || secretEnv.length > 0;
}

function folderOf({ cacheDir, ports, warn }: WasmBackendOptions): CacheFolder | undefined {
  if (cacheDir === undefined) return undefined;
  return new CacheFolder({ dir: cacheDir, clock: ports.clock, warn: warn ?? (() => undefined) });
}

function moduleOf({ implementation }: ProcessorSpec): WasmModule {
  if (implementation.kind === "WASM") return implementation;
  throw new MillraceError("Internal", `the WASM backend was given a processor of kind ${implementation.kind}`);
}
