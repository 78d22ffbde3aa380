import type { StoreBudget } from "../payloads/store-budget.ts";
import { type HealthCheck, type ListenAddress, type ProbeServerOptions, startProbeServer } from "../runtime/health.ts";
import type { MetricSource } from "../runtime/metrics.ts";
import type { Controllers } from "./controllers.ts";
import { moduleCounters, moduleGauges } from "./module-metrics.ts";
import type { Runtime } from "./runtime.ts";

export interface Observed {
  readonly runtime: Runtime;
  readonly controllers: Controllers;
  readonly store: { readonly budget: StoreBudget };
  readonly options: {
    /** Absent: not served. */
    readonly metrics?: ListenAddress;
    /** Absent: not served. */
    readonly probes?: ListenAddress;
  };
}

/** Where it is served in fact. */
export interface BoundPorts {
  readonly probesPort?: number;
  readonly metricsPort?: number;
}

/** A watch gets a bookmark every minute: a kind that was not heard of for that long will not be heard of again. */
const maxSilentMs = 300_000;

/** Serves `/healthz`, `/readyz` and `/metrics`, where they were asked for. */
export async function observe(observed: Observed, opened: AsyncDisposableStack): Promise<BoundPorts> {
  const { runtime, options } = observed;
  const { controllers } = observed;
  for (const source of [...gauges(observed), ...moduleGauges(controllers)]) runtime.metrics.addGauge(source);
  for (const source of moduleCounters(controllers)) runtime.metrics.addCounter(source);
  const server = probeServer(observed);
  if (server === undefined) return {};
  const started = opened.use(await startProbeServer(server));
  return {
    ...(options.probes === undefined ? {} : { probesPort: started.port }),
    ...(started.metricsPort === undefined ? {} : { metricsPort: started.metricsPort }),
  };
}

function probeServer(observed: Observed): ProbeServerOptions | undefined {
  const { metrics, probes } = observed.options;
  const { registry } = observed.runtime;
  const checks = healthChecks(observed);
  if (probes === undefined) return metrics && { address: metrics, checks, metrics: registry };
  if (metrics === undefined) return { address: probes, checks };
  return { address: probes, checks, metrics: registry, metricsAddress: metrics };
}

function healthChecks({ controllers }: Observed): readonly HealthCheck[] {
  return [
    {
      name: "watches",
      kind: "Live",
      check() {
        const silent = controllers.all.filter(({ kind }) => kind.silentMs > maxSilentMs).map(({ kind }) => kind.name);
        if (silent.length === 0) return undefined;
        return `nothing was heard of ${silent.join(", ")} for over ${maxSilentMs / 1000} s`;
      },
    },
    {
      name: "caches",
      kind: "Ready",
      check() {
        const missing = controllers.all.filter(({ kind }) => !kind.hasSynced).map(({ kind }) => kind.name);
        return missing.length === 0 ? undefined : `not listed yet: ${missing.join(", ")}`;
      },
    },
  ];
}

function gauges({ controllers, runtime, store }: Observed): readonly MetricSource[] {
  const { versions, execution, configMaps } = controllers;
  const { budget } = runtime;
  return [
    {
      name: "millrace_queue_depth",
      help: "Keys that wait for a worker, and keys that wait for their time.",
      labels: ["queue", "state"],
      *read() {
        for (const { queue } of controllers.all) {
          yield { labels: { queue: queue.name, state: "ready" }, value: queue.depth };
          yield { labels: { queue: queue.name, state: "delayed" }, value: queue.delayed };
        }
      },
    },
    {
      name: "millrace_objects",
      help: "Objects that are known, by kind.",
      labels: ["kind"],
      *read() {
        for (const { kind } of controllers.all) yield { labels: { kind: kind.name }, value: kind.size };
      },
    },
    {
      name: "millrace_pool",
      help: "Worker threads of a pool: those there are, those in use, jobs that wait, and jobs refused so far.",
      labels: ["pool", "state"],
      *read() {
        for (const [pool, stats] of controllers.pools) {
          for (const [state, value] of Object.entries(stats)) yield { labels: { pool, state }, value };
        }
      },
    },
    gauge("millrace_processor_versions", "Loaded versions of Processors.", () => ({ ...versions.load })),
    gauge(
      "millrace_calls",
      "Calls in flight, those of them without bytes yet, those without a place, and refused ones.",
      () => ({
        ...versions.calls,
        waitingForBytes: budget.waiting,
      }),
    ),
    gauge(
      "millrace_payload_budget_bytes",
      "Bytes set aside for the payloads of calls, and those that are free.",
      () => ({
        taken: budget.totalBytes - budget.freeBytes,
        free: budget.freeBytes,
      }),
    ),
    gauge(
      "millrace_payload_store_bytes",
      "Bytes in the payload store, and how many it may have where that is limited.",
      () => {
        const { usedBytes, limits } = store.budget;
        return { used: usedBytes, ...(limits.totalBytes === undefined ? {} : { limit: limits.totalBytes }) };
      },
    ),
    {
      name: "millrace_executions_running",
      help: "Executions that hold a place to run in.",
      labels: [],
      *read() {
        yield { labels: {}, value: execution.load.running };
      },
    },
    {
      name: "millrace_executions_queued",
      help: "Executions that wait for a place, by the limit that keeps them waiting: Pipeline, Namespace or Process.",
      labels: ["limit"],
      *read() {
        for (const [limit, value] of Object.entries(execution.queued)) yield { labels: { limit }, value };
      },
    },
    gauge("millrace_config_map_watches", "ConfigMaps with modules.", () => ({ watched: configMaps.size })),
  ];
}

/** One sample for each name that `read` gives, as the label `state`. */
function gauge(name: string, help: string, read: () => Readonly<Record<string, number>>): MetricSource {
  return {
    name,
    help,
    labels: ["state"],
    *read() {
      for (const [state, value] of Object.entries(read())) yield { labels: { state }, value };
    },
  };
}
