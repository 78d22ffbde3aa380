import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { ApiCall } from "./http-client.ts";

export type ReconcileOutcome = "Success" | "Requeue" | "Conflict" | "Error" | "Aborted";

/** A gauge, or a counter, whose value is asked for when it is scraped. */
export interface MetricSource {
  /** `millrace_…`, with its unit. */
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  read(): Iterable<{ readonly labels: Readonly<Record<string, string>>; readonly value: number }>;
}

/** What the controller counts. Names are `millrace_*_total`, `_seconds`, `_bytes`; all durations are given in milliseconds. */
export interface Metrics {
  reconciled(controller: string, outcome: ReconcileOutcome, durationMs: number): void;
  /** How long a key waited until a worker took it. */
  queued(queue: string, waitMs: number): void;
  retried(queue: string): void;
  apiCalled(call: ApiCall): void;
  watchRestarted(resource: string, cause: "Ended" | "Error" | "Gone"): void;
  eventDropped(cause: "RateLimited" | "QueueFull" | "Failed"): void;
  executionFinished(outcome: "Succeeded" | "Failed" | "Cancelled", durationMs: number): void;
  stepAttempted(backend: string, code: string, durationMs: number): void;
  /** How long an Execution waited for a place to run in. */
  executionAdmitted(waitMs: number): void;
  /** Queue depths, pool sizes and the like. */
  addGauge(source: MetricSource): void;
  /** What somebody else counts since the start. */
  addCounter(source: MetricSource): void;
}

const apiBuckets = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const workBuckets = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60];
const runBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10, 60, 300, 1800, 3600];

/** Registers with `registry`, which serves them; a registry takes one such set. */
export function createMetrics(registry: Registry): Metrics {
  return new PrometheusMetrics(registry);
}

/** Counts nothing. */
export const noMetrics: Metrics = {
  reconciled() {},
  queued() {},
  retried() {},
  apiCalled() {},
  watchRestarted() {},
  eventDropped() {},
  executionFinished() {},
  stepAttempted() {},
  executionAdmitted() {},
  addGauge() {},
  addCounter() {},
};

class PrometheusMetrics implements Metrics {
  readonly #registry: Registry;
  readonly #reconciles: Counter;
  readonly #reconcileSeconds: Histogram;
  readonly #queueSeconds: Histogram;
  readonly #retries: Counter;
  readonly #apiRequests: Counter;
  readonly #apiSeconds: Histogram;
  readonly #watchRestarts: Counter;
  readonly #eventsDropped: Counter;
  readonly #executions: Counter;
  readonly #executionSeconds: Histogram;
  readonly #stepSeconds: Histogram;
  readonly #admissionSeconds: Histogram;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.#reconciles = this.#counter("reconciles_total", "Reconciles by outcome.", ["controller", "outcome"]);
    this.#reconcileSeconds = this.#histogram("reconcile_seconds", "Time of a reconcile.", ["controller"], workBuckets);
    this.#queueSeconds = this.#histogram("queue_wait_seconds", "Time a key waited.", ["queue"], workBuckets);
    this.#retries = this.#counter("queue_retries_total", "Keys put back with backoff.", ["queue"]);
    this.#apiRequests = this.#counter("api_requests_total", "Requests to the API server; code 0: no answer.", [
      "verb",
      "code",
    ]);
    this.#apiSeconds = this.#histogram("api_request_seconds", "Time to an answer's headers.", ["verb"], apiBuckets);
    this.#watchRestarts = this.#counter("watch_restarts_total", "Watches begun anew.", ["resource", "cause"]);
    this.#eventsDropped = this.#counter("events_dropped_total", "Kubernetes events not written.", ["cause"]);
    this.#executions = this.#counter("executions_total", "Finished Executions.", ["outcome"]);
    this.#executionSeconds = this.#histogram("execution_seconds", "Start to end of a run.", ["outcome"], runBuckets);
    this.#stepSeconds = this.#histogram("step_seconds", "Time of one attempt.", ["backend", "code"], workBuckets);
    this.#admissionSeconds = this.#histogram(
      "execution_queue_wait_seconds",
      "Time an Execution waited for a place to run in.",
      [],
      runBuckets,
    );
  }

  reconciled(controller: string, outcome: ReconcileOutcome, durationMs: number): void {
    this.#reconciles.inc({ controller, outcome });
    this.#reconcileSeconds.observe({ controller }, durationMs / 1000);
  }

  queued(queue: string, waitMs: number): void {
    this.#queueSeconds.observe({ queue }, waitMs / 1000);
  }

  retried(queue: string): void {
    this.#retries.inc({ queue });
  }

  apiCalled({ verb, code, durationMs }: ApiCall): void {
    this.#apiRequests.inc({ verb, code: String(code) });
    this.#apiSeconds.observe({ verb }, durationMs / 1000);
  }

  watchRestarted(resource: string, cause: "Ended" | "Error" | "Gone"): void {
    this.#watchRestarts.inc({ resource, cause });
  }

  eventDropped(cause: "RateLimited" | "QueueFull" | "Failed"): void {
    this.#eventsDropped.inc({ cause });
  }

  executionFinished(outcome: "Succeeded" | "Failed" | "Cancelled", durationMs: number): void {
    this.#executions.inc({ outcome });
    this.#executionSeconds.observe({ outcome }, durationMs / 1000);
  }

  stepAttempted(backend: string, code: string, durationMs: number): void {
    this.#stepSeconds.observe({ backend, code }, durationMs / 1000);
  }

  executionAdmitted(waitMs: number): void {
    this.#admissionSeconds.observe(waitMs / 1000);
  }

  addGauge(source: MetricSource): void {
    const { name, help, labels } = source;
    const gauge: Gauge = new Gauge({
      name,
      help,
      labelNames: [...labels],
      registers: [this.#registry],
      collect: () => {
        gauge.reset();
        for (const sample of source.read()) gauge.set(sample.labels, sample.value);
      },
    });
  }

  addCounter(source: MetricSource): void {
    const { name, help, labels } = source;
    const counter: Counter = new Counter({
      name,
      help,
      labelNames: [...labels],
      registers: [this.#registry],
      collect: () => {
        counter.reset();
        for (const sample of source.read()) counter.inc(sample.labels, sample.value);
      },
    });
  }

  #counter(name: string, help: string, labelNames: string[]): Counter {
    return new Counter({ name: `millrace_${name}`, help, labelNames, registers: [this.#registry] });
  }

  #histogram(name: string, help: string, labelNames: string[], buckets: number[]): Histogram {
    return new Histogram({ name: `millrace_${name}`, help, labelNames, buckets, registers: [this.#registry] });
  }
}
