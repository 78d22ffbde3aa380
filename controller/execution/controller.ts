import type { Ports } from "../../engine/clock.ts";
import type { RetryBudgets } from "../../engine/run/retry-budget.ts";
import type { Client, KubernetesObject } from "../api/client.ts";
import type { ExecutionCounts } from "../api/types.ts";
import type { Catalog } from "../catalog.ts";
import type { NamespaceUids } from "../payloads/namespaces.ts";
import type { PayloadStore } from "../payloads/store.ts";
import type { EventRecorder } from "../runtime/events.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { ObjectKey } from "../runtime/object-key.ts";
import type { Reconciler } from "../runtime/worker.ts";

/** What the Execution controller is given by the composition root. */
export interface ExecutionDependencies {
  readonly client: Client;
  readonly ports: Ports;
  /** Holds an entry for every Processor and Pipeline that exists before the first `reconcile`: one that is missing counts as deleted. */
  readonly catalog: Catalog;
  readonly payloads: PayloadStore;
  readonly namespaces: NamespaceUids;
  /** The reflector's copy, as `slim` left it; undefined when there is none. */
  readonly cached: (key: ObjectKey) => KubernetesObject | undefined;
  /** All in the reflector's copy. */
  readonly list: () => Iterable<KubernetesObject>;
  /** Those of them that name the Pipeline. */
  readonly ofPipeline: (pipeline: ObjectKey) => Iterable<KubernetesObject>;
  /** What the Pipeline's status says of its Executions: none where it says nothing; undefined: there is no such Pipeline. */
  readonly recordedCounts: (pipeline: ObjectKey) => { readonly counts?: ExecutionCounts } | undefined;
  /** Puts the answer of an own write into the reflector's store; it went through `slim` already. */
  readonly observe: (object: KubernetesObject) => void;
  /** Puts the key into the work queue, at once; called synchronously from listeners. */
  readonly enqueue: (key: ObjectKey) => void;
  readonly events: Pick<EventRecorder, "record">;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** Shared by all runs of this process. Absent: retries are bounded by `retry.limit` alone. */
  readonly retryBudgets?: RetryBudgets;
  /** This process: unique among all that ever ran (pod name and a random part). At most 253 characters. */
  readonly replica: string;
  /** Executions that run at the same time in this process; default 1,000. */
  readonly maxRunning?: number;
  /** Executions of one namespace that run at the same time; default 0: any number. */
  readonly maxPerNamespace?: number;
}

/**
 * Runs Executions. The composition root makes a reflector over Executions with `slim` as its transform, enqueues the key
 * of each change, and calls `reconcile` from its workers (some 16 of them: a reconcile starts a run, it never waits for one).
 */
export interface ExecutionController extends Reconciler {
  /** What the reflector keeps of an object: no managedFields, no rows; of a finished Execution neither input nor spec. */
  readonly slim: (object: KubernetesObject) => KubernetesObject;
  /** Executions that hold a place to run in now, and those that wait for one. */
  readonly load: { readonly running: number; readonly waiting: number };
  /** Those that wait, by the limit that keeps them waiting. */
  readonly queued: Readonly<Record<"Pipeline" | "Namespace" | "Process", number>>;
  /** Once everything is listed and this process may write, before the first `reconcile`: takes in what is recorded as running. */
  begin(): void;
  /** Starts nothing new, lets what runs go on for `graceMs`, then aborts it and records it as it stands, so that another process goes on with it. Idempotent. */
  stop(graceMs: number): Promise<void>;
}
