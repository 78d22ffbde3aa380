import type { Backend, BackendKind, LoadedProcessor, ProcessorSpec } from "../../backends/backend.ts";
import type { PoolStats } from "../../backends/pool.ts";
import type { Ports } from "../../engine/clock.ts";

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
  /** Isolations beyond the default that this installation allows, for example `Inline`; default none. */
  readonly allowIsolation?: readonly string[];
}

/** All backends behind one `load`. */
export interface Backends extends AsyncDisposable {
  /** As {@link Backend.load}, by the backend that the implementation needs. */
  load(spec: ProcessorSpec, signal: AbortSignal): Promise<LoadedProcessor>;
  /** The pools of all backends that were needed so far, by name, as they are now. */
  pools(): ReadonlyMap<string, PoolStats>;
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
  WASM: async ({ ports, modulesDir, readConfigMapKey }) => {
    const { createWasmBackend } = await import("../../backends/wasm/backend.ts");
    return createWasmBackend({ ports, readConfigMapKey, ...(modulesDir === undefined ? {} : { modulesDir }) });
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
    const kind = kindOf(spec);
    const known = this.#backends.get(kind) ?? this.#make(kind);
    this.#backends.set(kind, known);
    return (await known).load(spec, signal);
  }

  pools(): ReadonlyMap<string, PoolStats> {
    return new Map(this.#made.flatMap((backend) => [...(backend.pools?.() ?? [])]));
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
