import type { Ports } from "../engine/clock.ts";
import type { CallContext, Intent, Processor, ProcessorRequest, ProcessorResponse } from "../engine/processor.ts";
import type { PoolStats } from "./pool.ts";

export type BackendKind = "Local" | "RPC" | "WASM";

/** How and where one operation is implemented: a Processor's spec with units resolved and defaults filled in. */
export interface ProcessorSpec {
  readonly namespace: string;
  readonly name: string;
  readonly intent: Intent;
  readonly implementation: Implementation;
  readonly limits: CallLimits;
}

/** What one call of this Processor may take. `call.ts` holds them; a backend only passes them on to where they are needed early. */
export interface CallLimits {
  /** One attempt, wall clock. */
  readonly timeoutMs: number;
  readonly maxInputBytes: number;
  readonly maxOutputBytes: number;
  /** Calls in flight, in this process. */
  readonly maxConcurrency: number;
}

export type Implementation = LocalBuiltin | LocalModule | GrpcEndpoint | HttpEndpoint | WasmModule;

export interface LocalBuiltin {
  readonly kind: "Builtin";
  readonly name: string;
}

export interface LocalModule {
  readonly kind: "Module";
  /** Relative to the plugins directory. */
  readonly file: string;
  readonly export: string;
  readonly digest?: string;
  readonly isolation: "Thread" | "Inline";
}

export interface GrpcEndpoint {
  readonly kind: "GRPC";
  /** A gRPC target, for example `dns:///words.default.svc:50051`. */
  readonly endpoint: string;
  readonly maxConnections: number;
}

export interface HttpEndpoint {
  readonly kind: "HTTP";
  /** An http or https URL without a path. */
  readonly endpoint: string;
  readonly path: string;
  readonly maxConnections: number;
}

export interface WasmModule {
  readonly kind: "WASM";
  readonly source: WasmSource;
  /** `sha256:…` of the module's bytes, which they must have. */
  readonly digest?: string;
  /** Of OCI and HTTP sources; absent: `Always` for an OCI reference of the tag `latest` or without one, else `IfNotPresent`. */
  readonly pullPolicy?: WasmPullPolicy;
  /** The Secret (`kubernetes.io/dockerconfigjson`) with the credentials of an OCI registry. */
  readonly pullSecret?: string;
  /** The key that must have signed the module; absent: none need have. */
  readonly verify?: WasmPublicKey;
  readonly abi: "Auto" | WasmAbi;
  /** The exported function that is called; of WaPC, an operation. */
  readonly entrypoint: string;
  readonly limits: WasmLimits;
  readonly capabilities: WasmCapabilities;
  /** How many calls an instance serves before the next gets a fresh one, from 1. */
  readonly reuse: number;
  /** Inline: in the main thread, which only an installation may allow, and only with little fuel and no capabilities. */
  readonly isolation: "Worker" | "Inline";
}

/** When a source is asked anew for what the cache has: as Kubernetes has it for images. */
export type WasmPullPolicy = "Always" | "IfNotPresent" | "Never";

/** A public key in a Secret. */
export interface WasmPublicKey {
  readonly secret: string;
  /** Absent: the Secret's only key, else `cosign.pub`, else `minisign.pub`. */
  readonly key?: string;
}

/** What one instance may use, besides time. */
export interface WasmLimits {
  readonly maxMemoryBytes: number;
  /** Units of fuel for one call. */
  readonly fuel: number;
}

/** What a module is given beyond its input. */
export interface WasmCapabilities {
  /** Host names, or `*.suffix`, that Extism's `http_request` may reach. */
  readonly allowedHosts: readonly string[];
  /** WASI's environment, but for what comes from Secrets. */
  readonly env: Readonly<Record<string, string>>;
  /** Names of the variables that do: their values are among the call's secrets, as `env:NAME`. Default: none. */
  readonly secretEnv?: readonly string[];
  /** Extism's and waPC's configuration. */
  readonly config: Readonly<Record<string, string>>;
  /** Makes WASI's random numbers the same in every call; absent: the system's. */
  readonly randomSeed?: string;
}

/** The calling conventions of modules that are spoken. */
export type WasmAbi = "Direct" | "Extism" | "WaPC" | "Dagwood";

export type WasmSource =
  | { readonly kind: "File"; readonly file: string }
  | { readonly kind: "ConfigMapKey"; readonly name: string; readonly key: string }
  | { readonly kind: "HTTP"; readonly url: string }
  | { readonly kind: "OCI"; readonly reference: string };

/** What a Processor's source names at one time. */
export interface ResolvedSource {
  /** Another one: `load` would load something else. Not for people. */
  readonly version: string;
  /** After how many milliseconds it may name something else; absent: it tells by itself, or never does. */
  readonly checkAgainMs?: number;
}

/** What a backend found out about what it loaded; the controller puts it into the Processor's status. */
export interface LoadedModule {
  readonly digest: string;
  readonly bytes: number;
  readonly source: string;
  /** Of an OCI source: `registry/repository@sha256:…` of the manifest that the reference named. */
  readonly reference?: string;
  readonly abi?: WasmAbi;
  readonly imports?: readonly string[];
  readonly exports?: readonly string[];
}

/** The time of one attempt, which `call.ts` keeps. A backend stops it while the call waits for what others have. */
export interface AttemptTime {
  /** Stops it. Twice is once. */
  pause(): void;
  /** Lets it go on, and gives what is left of it in milliseconds. */
  resume(): number;
}

/** What a backend is told of a call. */
export interface BackendContext extends CallContext {
  /** Absent: nobody keeps the time. */
  readonly time?: AttemptTime;
  /** `cutBytes`: what a backend that could not take all of it cut off the text's end, so that the cut's mark counts it. */
  readonly log: (text: string, cutBytes?: number) => void;
  /** Takes the fuel that the call took, of backends that meter it, whatever came of the call. Absent: nobody asks. */
  readonly reportFuel?: (units: number) => void;
}

/** A processor that is ready to be called, and what is known of it. */
export interface LoadedProcessor extends Processor {
  process(request: ProcessorRequest, context: BackendContext): Promise<ProcessorResponse>;
  /** Set for ES modules and WASM modules. */
  readonly module?: LoadedModule;
  /**
   * Digests of the code that a call that starts now runs, for the row; empty where there is none to name. Those of a gRPC
   * endpoint come and go with its connections.
   */
  readonly digests: readonly string[];
  /**
   * How many calls can really run at a time (its share of the worker threads, its connections). More wait in front of `call.ts`, where waiting
   * does not count towards their timeout. Absent: as many as the limits allow.
   */
  readonly maxConcurrency?: number;
  /**
   * Set for what is behind a network: tries to reach it, within seconds. Rejects with Unavailable when it cannot be reached, with
   * InvalidInput when it is there but another thing than the spec says.
   */
  probe?(signal: AbortSignal): Promise<void>;
}

/**
 * One way to run processors. `load` fetches, verifies and prepares; it throws a MillraceError (NotFound, InvalidInput,
 * SandboxViolation, Unavailable, PayloadTooLarge, …) whose message names the field and the mend. What it gives is
 * independent of the backend's other processors; disposing it waits for its calls in flight.
 */
export interface Backend extends AsyncDisposable {
  readonly kind: BackendKind;
  load(spec: ProcessorSpec, signal: AbortSignal): Promise<LoadedProcessor>;
  /**
   * What the source names now, which the next `load` loads; throws what `load` throws of a source. Absent: sources name the same as long as
   * the spec does.
   * @param before what it was said to name before, of the same spec: then what was said lately to another Processor of its namespace may
   * be said again, as nobody waits for a change
   */
  resolve?(spec: ProcessorSpec, signal: AbortSignal, before?: ResolvedSource): Promise<ResolvedSource>;
  /** Its pools by name as they are now, for metrics. Absent: it has none. */
  pools?(): ReadonlyMap<string, PoolStats>;
  /** How its caches of modules do, for metrics. Absent: it has none. */
  moduleCaches?(): ModuleCaches;
}

/** Caches of modules, and what they are filled by; counts are since the start. */
export interface ModuleCaches {
  readonly memory: ModuleCacheTier;
  /** Absent: there is none. */
  readonly disk?: ModuleCacheTier;
  /** Modules that were compiled, and the seconds that it took. */
  readonly compiled: number;
  readonly compileSeconds: number;
  /** Modules that were refused. */
  readonly refused: number;
}

/** One cache. */
export interface ModuleCacheTier {
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
  /** As they are now. */
  readonly bytes: number;
}

/** What every backend is given. */
export interface BackendOptions {
  readonly ports: Ports;
}
