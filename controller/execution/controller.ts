import type { Ports } from "../../engine/clock.ts";
import type { Client, KubernetesObject, Resource } from "../api/client.ts";
import type { Catalog } from "../catalog.ts";
import type { PayloadStore } from "../payloads/store.ts";

export const executionResource: Resource = {
  group: "millrace.dev",
  version: "v1alpha1",
  plural: "executions",
  kind: "Execution",
  namespaced: true,
};

/** An Execution by where it is. */
export interface ExecutionKey {
  readonly namespace: string;
  readonly name: string;
}

/** What the Execution controller is given by the composition root. */
export interface ExecutionDependencies {
  readonly client: Client;
  readonly ports: Ports;
  readonly catalog: Catalog;
  readonly payloads: PayloadStore;
  /** The reflector's copy, as `ExecutionController.slim` left it; undefined when there is none. */
  readonly cached: (key: ExecutionKey) => KubernetesObject | undefined;
  /** Puts the key into the work queue, at once; called synchronously from listeners. */
  readonly enqueue: (key: ExecutionKey) => void;
  /** Emits an event about an object; must not throw and need not wait. */
  readonly recordEvent: (event: ExecutionEvent) => void;
  /** A line for the operator's log: what went wrong, about which Execution. Must not throw. */
  readonly log: (line: { readonly level: "info" | "warn" | "error"; readonly message: string; readonly execution?: ExecutionKey; readonly error?: unknown }) => void;
  /** This process: unique among all that ever ran (pod name and a random part). At most 253 characters. */
  readonly replica: string;
  /** Executions that run at the same time in this process; default 256. */
  readonly maxRunning?: number;
  /** What the payloads of all runs in this process may take together, in bytes; default 64 MiB. */
  readonly maxPayloadBytes?: number;
}

export interface ExecutionEvent {
  readonly regarding: KubernetesObject;
  readonly type: "Normal" | "Warning";
  /** CamelCase and stable. */
  readonly reason: string;
  /** What was done: `Run`, `Start`, `Recover`. */
  readonly action: string;
  /** At most 1 KiB. */
  readonly note: string;
}

/**
 * Runs Executions. The composition root makes a reflector over {@link executionResource} with `slim` as its transform,
 * enqueues the key of each change, and calls `reconcile` from its workers (some 16 of them: a reconcile starts a run, it never waits for one).
 */
export interface ExecutionController {
  /** What the reflector keeps of an object: no managedFields; of a finished Execution neither input nor rows. */
  readonly slim: (object: KubernetesObject) => KubernetesObject;
  /** Looks at one Execution and does what is due. Throws ApiError: try again with backoff. */
  reconcile(key: ExecutionKey, signal: AbortSignal): Promise<void>;
  /** Executions that are running now, and those that wait for a place. */
  readonly load: { readonly running: number; readonly waiting: number };
  /** Starts nothing new, lets running ones finish for `graceMs`, then aborts and records what is left as it stands, so that another process goes on with it. Idempotent. */
  stop(graceMs: number): Promise<void>;
}
