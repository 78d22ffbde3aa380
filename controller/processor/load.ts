import type {
  Backend,
  BackendKind,
  LoadedProcessor,
  ModuleCaches,
  ProcessorSpec,
  ResolvedSource,
} from "../../backends/backend.ts";
import type { PoolStats } from "../../backends/pool.ts";
import type { Ports } from "../../engine/clock.ts";

/** Where modules may be fetched from, and where they are kept. */
export interface ModuleOptions {
  /** Absolute; made when it is not there. Absent: in memory only. */
  readonly cacheDir?: string;
  /** Of the modules in it; default 1 GiB. */
  readonly cacheBytes?: number;
  /** CIDRs of addresses that are not public and may be connected to nevertheless; default none. */
  readonly allowAddresses?: readonly string[];
  /** `host` or `host:port` that speak plain HTTP, or TLS that nobody can verify; default none. */
  readonly insecureRegistries?: readonly string[];
  /** Certificates, as PEM, that are trusted besides the system's. */
  readonly ca?: string;
}

/** What {@link createBackends} is given. */
export interface BackendsOptions {
  readonly ports: Ports;
  /** Of Millrace: the digests of built-ins name it. */
  readonly version: string;
  /** Where `local.module.file` is looked for; absolute. Absent: there are no modules. */
  readonly pluginsDir?: string;
  /** Where `wasm.source.file` is looked for; absolute. Absent: there are no files. */
  readonly modulesDir?: string;
  /** Reads a key of a ConfigMap; throws MillraceError NotFound, Unavailable. */
  readonly readConfigMapKey: (namespace: string, name: string, key: string, signal: AbortSignal) => Promise<Uint8Array>;
  /** Reads a Secret, for pull secrets and public keys; throws MillraceError NotFound, Unavailable. */
  readonly readSecret: (
    namespace: string,
    name: string,
    signal: AbortSignal,
  ) => Promise<Readonly<Record<string, Uint8Array>>>;
  /** Of modules that are fetched. */
  readonly modules?: ModuleOptions;
  /** Isolations beyond the default that this installation allows, for example `Inline`; default none. */
  readonly allowIsolation?: readonly string[];
  /** Once all Processors that there are have been loaded, or refused: nothing that they may need is dropped before. Absent: nothing is waited for. */
  readonly settled?: Promise<void>;
  /** Told what does not work and fails nobody; default: nobody is. */
  readonly warn?: (message: string) => void;
}

/** All backends behind one `load`. */
export interface Backends extends AsyncDisposable {
  /** As {@link Backend.load}, by the backend that the implementation needs. */
  load(spec: ProcessorSpec, signal: AbortSignal): Promise<LoadedProcessor>;
  /** As {@link Backend.resolve}; what cannot name anything else has always the same version. */
  resolve(spec: ProcessorSpec, signal: AbortSignal, before?: ResolvedSource): Promise<ResolvedSource>;
  /** The pools of all backends that were needed so far, by name, as they are now. */
  pools(): ReadonlyMap<string, PoolStats>;
  /** The caches of WASM modules as they are now; undefined: none was needed so far. */
  moduleCaches(): ModuleCaches | undefined;
}

type BackendFactory = (options: BackendsOptions) => Promise<Backend>;

/** A backend's libraries are imported when it is first needed: a run of built-ins alone loads neither gRPC nor workers. */
const factories: Readonly<Record<BackendKind, BackendFactory>> = {
  Local: async ({ ports, version, pluginsDir, allowIsolation = [] }) => {
    const { createLocalBackend } = await import("../../backends/local/backend.ts");
    return createLocalBackend({ ports, version, allowIsolation, ...(pluginsDir === undefined ? {} : { pluginsDir }) });
  },
  RPC: async ({ ports }) => {
    const { createRpcBackend } = await import("../../backends/rpc/backend.ts");
    return createRpcBackend({ ports });
  },
  WASM: async ({
    ports,
    modulesDir,
    readConfigMapKey,
    readSecret,
    allowIsolation = [],
    modules = {},
    settled,
    warn,
  }) => {
    const { createWasmBackend } = await import("../../backends/wasm/backend.ts");
    const { cacheDir, cacheBytes, allowAddresses = [], insecureRegistries = [], ca } = modules;
    return createWasmBackend({
      ports,
      readConfigMapKey,
      readSecret,
      allowIsolation,
      network: { allowAddresses, allowInsecureRegistries: insecureRegistries, ...(ca === undefined ? {} : { ca }) },
      ...(modulesDir === undefined ? {} : { modulesDir }),
      ...(cacheDir === undefined ? {} : { cacheDir }),
      ...(cacheBytes === undefined ? {} : { cacheDiskBytes: cacheBytes }),
      ...(settled === undefined ? {} : { settled }),
      ...(warn === undefined ? {} : { warn }),
    });
  },
};

/** Local, RPC and WASM by what a Processor is; each is made when the first Processor needs it. */
export function createBackends(options: BackendsOptions): Backends {
  return new LazyBackends(options);
}

class LazyBackends implements Backends {
  readonly #options: BackendsOptions;
  readonly #backends = new Map<BackendKind, Promise<Backend>>();
  readonly #made: Backend[] = [];

  constructor(options: BackendsOptions) {
    this.#options = options;
  }

  async load(spec: ProcessorSpec, signal: AbortSignal): Promise<LoadedProcessor> {
    return (await this.#backendFor(spec)).load(spec, signal);
  }

  async resolve(spec: ProcessorSpec, signal: AbortSignal, before?: ResolvedSource): Promise<ResolvedSource> {
    const backend = await this.#backendFor(spec);
    return (await backend.resolve?.(spec, signal, before)) ?? { version: "" };
  }

  #backendFor(spec: ProcessorSpec): Promise<Backend> {
    const kind = kindOf(spec);
    const known = this.#backends.get(kind) ?? this.#make(kind);
    this.#backends.set(kind, known);
    return known;
  }

  pools(): ReadonlyMap<string, PoolStats> {
    return new Map(this.#made.flatMap((backend) => [...(backend.pools?.() ?? [])]));
  }

  moduleCaches(): ModuleCaches | undefined {
    return this.#made.map((backend) => backend.moduleCaches?.()).find((caches) => caches !== undefined);
  }

  async #make(kind: BackendKind): Promise<Backend> {
    const backend = await factories[kind](this.#options);
    this.#made.push(backend);
    return backend;
  }

  /** Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    const opened = await Promise.allSettled(this.#backends.values());
    await Promise.all(
      opened.flatMap((backend) => (backend.status === "fulfilled" ? [backend.value] : [])).map(dispose),
    );
  }
}

function dispose(backend: Backend): PromiseLike<void> {
  return backend[Symbol.asyncDispose]();
}

function kindOf({ implementation }: ProcessorSpec): BackendKind {
  switch (implementation.kind) {
    case "Builtin":
    case "Module":
      return "Local";
    case "GRPC":
    case "HTTP":
      return "RPC";
    case "WASM":
      return "WASM";
  }
}
