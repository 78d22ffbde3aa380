import type { Ports } from "../../engine/clock.ts";
import { advertisedUrl } from "../payloads/addresses.ts";
import { PayloadSweeper } from "../payloads/cluster-sweep.ts";
import { type PayloadEndpoint, payloadEndpointAnnotation, servePayloads } from "../payloads/endpoint.ts";
import { FileSystemStore } from "../payloads/file-system.ts";
import { NamespaceUids } from "../payloads/namespaces.ts";
import type { StoreLimits } from "../payloads/store-budget.ts";
import { runRevisionSweep } from "../pipeline/revision-sweep.ts";
import { configMapKeyReader } from "../processor/config-map-key.ts";
import { type Backends, type BackendsOptions, createBackends, type ModuleOptions } from "../processor/load.ts";
import { secretReader } from "../processor/secret-reader.ts";
import { deadline } from "../runtime/deadline.ts";
import type { ListenAddress } from "../runtime/health.ts";
import { LeaderElector, type Leadership } from "../runtime/lease.ts";
import type { Logger } from "../runtime/logger.ts";
import { Controllers } from "./controllers.ts";
import { checkDirectories } from "./directories.ts";
import { observe } from "./observability.ts";
import { PreflightError, preflight } from "./preflight.ts";
import { type ClusterConfig, createRuntime, type Runtime } from "./runtime.ts";

/** All that `millrace controller` may be told. */
export interface ControllerOptions {
  readonly config: ClusterConfig;
  readonly ports: Ports;
  readonly logger: Logger;
  /** Of Millrace. */
  readonly version: string;
  /** This process, unique among all that ever ran: letters, digits, hyphens and dots. */
  readonly replica: string;
  /** Empty: all. */
  readonly namespaces: readonly string[];
  /** Absolute. */
  readonly pluginsDir?: string;
  /** Absolute. */
  readonly modulesDir?: string;
  /** Absolute; made when it is not there. */
  readonly payloadsDir: string;
  /** Absent: none. */
  readonly payloadLimits?: StoreLimits;
  readonly allowIsolation: readonly string[];
  /** Of WASM modules that are fetched. */
  readonly modules: ModuleOptions;
  /** Executions of one namespace that run at the same time; default 0: any number. */
  readonly maxExecutionsPerNamespace?: number;
  /** Absent: not served. */
  readonly metrics?: ListenAddress;
  /** Absent: not served. */
  readonly probes?: ListenAddress;
  /** Absent: not served. */
  readonly payloads?: {
    readonly host: string;
    readonly port: number;
    readonly tls?: { readonly cert: string; readonly key: string };
    /** What the Lease says instead of where it listens. */
    readonly advertisedUrl?: string;
    /** A pod's loopback is nobody else's. */
    readonly isInPod: boolean;
  };
  /** Absent: this is the only controller, and asks nobody. */
  readonly lease?: { readonly namespace: string; readonly name: string };
  /** How long running steps may go on after the first signal, in milliseconds. */
  readonly shutdownGraceMs: number;
}

/** Why a controller ended: it was told to, or another one has its Lease. */
export type ControllerEnd = "Interrupted" | "LostLease";

const syncTimeoutMs = 120_000;

interface Parts {
  readonly options: ControllerOptions;
  readonly runtime: Runtime;
  readonly backends: Backends;
  readonly store: FileSystemStore;
  readonly sweeper: PayloadSweeper;
  readonly uids: NamespaceUids;
  readonly controllers: Controllers;
}

/**
 * Runs the controller until `interrupted` aborts or its Lease is lost, then ends in order. Throws PreflightError where the
 * cluster is not as it has to be, and MillraceError, or what the system says, where an address or folder cannot be used.
 */
export async function runController(options: ControllerOptions, interrupted: AbortSignal): Promise<ControllerEnd> {
  await using opened = new AsyncDisposableStack();
  const parts = await build(options, opened, interrupted);
  const { controllers, runtime } = parts;
  const endpoint = options.payloads && opened.use(await startEndpoint(parts, options.payloads));
  const bound = await observe(parts, opened);
  runtime.logger.info({ ...bound, ...(endpoint && { payloads: endpoint.url }), replica: options.replica }, "listening");
  for (const { kind } of controllers.all) kind.start();
  try {
    await synced(parts, interrupted);
    const leadership = await lead(parts, endpoint, opened, interrupted);
    return await work(parts, leadership, interrupted);
  } catch (error) {
    // Told to end before it had begun.
    if (interrupted.aborted) return "Interrupted";
    throw error;
  }
}

async function build(
  options: ControllerOptions,
  opened: AsyncDisposableStack,
  interrupted: AbortSignal,
): Promise<Parts> {
  const { ports, namespaces, lease } = options;
  await checkDirectories(options);
  const runtime = opened.use(createRuntime(options));
  const { client } = runtime;
  const leaseNamespace = lease === undefined ? {} : { leaseNamespace: lease.namespace };
  await preflight({ client, namespaces, ...leaseNamespace }, interrupted);
  const uids = new NamespaceUids(client, ports.clock);
  const { store, sweeper } = openStore(options, runtime, uids);
  opened.use(store);
  await store.count(interrupted);
  const { promise: settled, resolve: onProcessorsSettled } = Promise.withResolvers<void>();
  const backends = opened.use(createBackends({ ...backendsOptions(options, runtime), settled }));
  const { maxExecutionsPerNamespace = 0 } = options;
  const payloads = store;
  const controllers = new Controllers({
    runtime,
    backends,
    payloads,
    uids,
    namespaces,
    maxExecutionsPerNamespace,
    onProcessorsSettled,
  });
  for (const { kind } of controllers.all) opened.use(kind);
  opened.use(controllers.configMaps);
  opened.use(controllers.secrets);
  opened.use(controllers.versions);
  return { options, runtime, backends, store, sweeper, uids, controllers };
}

function backendsOptions(
  { version, allowIsolation, modules, pluginsDir, modulesDir }: ControllerOptions,
  { client, ports, logger }: Runtime,
): BackendsOptions {
  return {
    ports,
    version,
    allowIsolation,
    modules,
    readConfigMapKey: configMapKeyReader(client),
    readSecret: secretReader(client),
    warn: (message) => logger.warn({}, message),
    ...(pluginsDir && { pluginsDir }),
    ...(modulesDir && { modulesDir }),
  };
}

/** The store, and what makes room in it: each needs the other. */
function openStore(
  { payloadsDir, payloadLimits: limits = {}, replica, namespaces }: ControllerOptions,
  { client, ports, logger }: Runtime,
  uids: NamespaceUids,
): Pick<Parts, "store" | "sweeper"> {
  const writer = replica.replaceAll(".", "-");
  const makeRoom = (signal: AbortSignal) => sweeper.sweepEarly(signal);
  const store = new FileSystemStore({ root: payloadsDir, clock: ports.clock, writer, limits, makeRoom });
  const sweeper = new PayloadSweeper({ client, ports, logger, store, uids, namespaces });
  return { store, sweeper };
}

function startEndpoint(
  { runtime, store, uids, options }: Parts,
  address: NonNullable<ControllerOptions["payloads"]>,
): Promise<PayloadEndpoint> {
  const { client, ports, logger } = runtime;
  return servePayloads({ client, ports, logger, store, namespaces: uids, worksIn: options.namespaces, ...address });
}

/** Rejects when a kind cannot be listed within two minutes. */
async function synced({ controllers, runtime }: Parts, interrupted: AbortSignal): Promise<void> {
  const limit = deadline(syncTimeoutMs, "too late", runtime.ports.scheduler, interrupted);
  const late = Promise.withResolvers<never>();
  limit.signal.addEventListener("abort", () => late.reject(limit.signal.reason), { once: true });
  try {
    await Promise.race([late.promise, Promise.all(controllers.all.map(({ kind }) => kind.synced()))]);
  } catch (error) {
    interrupted.throwIfAborted();
    const missing = controllers.all.filter(({ kind }) => !kind.hasSynced).map(({ kind }) => kind.name);
    const what = `${missing.join(", ")} could not be listed within ${syncTimeoutMs / 1000} s`;
    throw new PreflightError(`${what}; the log says what the API server answered`, { cause: error });
  } finally {
    limit.release();
  }
}

/** Waits for the Lease, where there is one. It is given back last: before that, all is written that only its holder may write. */
async function lead(
  { options, runtime }: Parts,
  endpoint: PayloadEndpoint | undefined,
  opened: AsyncDisposableStack,
  interrupted: AbortSignal,
): Promise<Leadership | undefined> {
  if (options.lease === undefined) return undefined;
  const { client, ports, logger, replica } = runtime;
  logger.info({ lease: options.lease }, "waits for the Lease");
  // Where `millrace output` finds it; what an earlier holder said is overwritten in any case.
  const annotations = { [payloadEndpointAnnotation]: advertised(options, endpoint) ?? "" };
  const elector = new LeaderElector({ client, ports, logger, identity: replica, ...options.lease, annotations });
  return opened.use(await elector.acquire(interrupted));
}

function advertised({ payloads }: ControllerOptions, endpoint: PayloadEndpoint | undefined): string | undefined {
  if (payloads === undefined || endpoint === undefined) return undefined;
  return advertisedUrl({ url: endpoint.url, given: payloads.advertisedUrl, isInPod: payloads.isInPod });
}

async function work(
  parts: Parts,
  leadership: Leadership | undefined,
  interrupted: AbortSignal,
): Promise<ControllerEnd> {
  const { controllers, runtime, options } = parts;
  const ended = new AbortController();
  controllers.work();
  runtime.logger.info(counts(controllers), "works");
  const sweeps = startSweeps(parts, ended.signal);
  const end = await firstOf(interrupted, leadership?.signal);
  runtime.logger.info({ why: end }, "shuts down");
  await shutDown(parts, end === "LostLease" ? 0 : options.shutdownGraceMs);
  ended.abort(new Error("the controller shuts down"));
  await Promise.all(sweeps);
  runtime.logger.info({}, "stopped");
  return end;
}

function startSweeps({ options, runtime, controllers, sweeper }: Parts, signal: AbortSignal): Promise<void>[] {
  const { client, ports, logger } = runtime;
  const { namespaces } = options;
  const pipelines = controllers.catalog.pipelines;
  const isNamed = controllers.isRevisionNamed.bind(controllers);
  const scope = namespaces.length === 0 ? {} : { namespaces };
  return [
    runRevisionSweep({ client, ports, logger, pipelines, revisions: controllers.revisions, isNamed, ...scope }, signal),
    sweeper.run(signal),
  ];
}

function firstOf(interrupted: AbortSignal, lost: AbortSignal | undefined): Promise<ControllerEnd> {
  return new Promise((resolve) => {
    const listen = (signal: AbortSignal, end: ControllerEnd) => {
      if (signal.aborted) resolve(end);
      else signal.addEventListener("abort", () => resolve(end), { once: true });
    };
    listen(interrupted, "Interrupted");
    if (lost !== undefined) listen(lost, "LostLease");
  });
}

/** Takes no more work, lets steps end for `graceMs`, and records what is left as it stands. */
async function shutDown({ controllers, runtime }: Parts, graceMs: number): Promise<void> {
  const grace = deadline(graceMs, "the grace period is over", runtime.ports.scheduler, new AbortController().signal);
  try {
    await Promise.all([
      controllers.execution.stop(graceMs),
      ...controllers.all.map((controlled) => controlled.drain(grace.signal)),
    ]);
  } finally {
    grace.release();
  }
}

function counts({ processors, pipelines, executions }: Controllers): Readonly<Record<string, number>> {
  return { processors: processors.kind.size, pipelines: pipelines.kind.size, executions: executions.kind.size };
}
