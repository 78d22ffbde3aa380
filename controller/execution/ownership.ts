import { type Ports, sleep } from "../../engine/clock.ts";
import { ApiError, type Client, type KubernetesObject, type ObjectRef } from "../api/client.ts";
import { executions } from "../api/kinds.ts";
import type { Execution, ExecutionOwner, ExecutionStatus } from "../api/types.ts";
import { isConflict, isNotFound, isTransient } from "../runtime/api-errors.ts";
import { type BackoffPolicy, backoffMs } from "../runtime/backoff.ts";
import { isFinished, isSameOwner, uidOf } from "./objects.ts";

/** Take-overs without a newly recorded step that an Execution may see; then it is taken to be what brings its owners down. */
export const maxTakeovers = 5;

/** The owner that takes over from the recorded one, or from none; undefined: it has been taken over too often. */
export function nextOwner(recorded: ExecutionOwner | undefined, replica: string): ExecutionOwner | undefined {
  if (recorded === undefined) return { replica, epoch: 1 };
  const takeovers = (recorded.takeovers ?? 0) + 1;
  if (takeovers > maxTakeovers) return undefined;
  return { replica, epoch: recorded.epoch + 1, takeovers };
}

/** What became of a write: `Lost` when the Execution is no longer ours to write to. */
export type Written =
  | { readonly kind: "Written"; readonly execution: Execution }
  | { readonly kind: "Lost"; readonly why: "Deleted" | "Finished" | "OwnerChanged" };

const retryPolicy: BackoffPolicy = { initialMs: 50, factor: 2, maxMs: 10_000, jitter: 0.5 };

export interface OwnedStatusOptions {
  readonly client: Client;
  readonly ports: Ports;
  /** As it was last read: the first write is conditional on this very version. */
  readonly execution: Execution;
  /** Whom this writer names; its writes count as own ones, also those whose answer was never seen. */
  readonly owner: ExecutionOwner;
}

/**
 * The only way to an Execution's status. Each write is a PUT on the version last seen; a conflict reads again and goes on
 * if the recorded owner is still the one it was, so that an edit of a label ends no run, and another owner's run does.
 * Not for concurrent use: a write at a time.
 */
export class OwnedStatus {
  readonly #client: Client;
  readonly #ports: Ports;
  readonly #owner: ExecutionOwner;
  readonly #ref: ObjectRef;
  readonly #uid: string;
  /** Who must be recorded for a write to count: the owner before us until our first write is in. */
  #expected: ExecutionOwner | undefined;
  #resourceVersion: string | undefined;

  constructor({ client, ports, execution, owner }: OwnedStatusOptions) {
    const { name, namespace, resourceVersion } = execution.metadata;
    this.#client = client;
    this.#ports = ports;
    this.#owner = owner;
    this.#ref = { name, ...(namespace === undefined ? {} : { namespace }) };
    this.#uid = uidOf(execution);
    this.#expected = execution.status?.owner;
    this.#resourceVersion = resourceVersion;
  }

  /**
   * Writes the status, again and again while the API server cannot be reached or is busy. Rejects with ApiError when it
   * refuses what is written, and with the signal's reason.
   */
  async write(status: ExecutionStatus, signal: AbortSignal): Promise<Written> {
    for (let retry = 0; ; retry++) {
      try {
        const execution = (await this.#put(status, signal)) as Execution;
        this.#resourceVersion = execution.metadata.resourceVersion;
        this.#expected = this.#owner;
        return { kind: "Written", execution };
      } catch (error) {
        const lost = await this.#recover(error, retry, signal);
        if (lost !== undefined) return lost;
      }
    }
  }

  #put(status: ExecutionStatus, signal: AbortSignal): Promise<KubernetesObject> {
    const { name, namespace } = this.#ref;
    // The server takes everything but the status from its own copy: the spec need not travel.
    const metadata = {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      uid: this.#uid,
      ...(this.#resourceVersion === undefined ? {} : { resourceVersion: this.#resourceVersion }),
    };
    const object = { apiVersion: "millrace.dev/v1alpha1", kind: "Execution", metadata, status };
    return this.#client.update(executions, object, "status", signal);
  }

  /** Gives why there is no point in another attempt, or undefined when there is; throws what no attempt mends. */
  async #recover(error: unknown, retry: number, signal: AbortSignal): Promise<Written | undefined> {
    signal.throwIfAborted();
    if (isNotFound(error)) return { kind: "Lost", why: "Deleted" };
    if (isConflict(error)) return await this.#reread(signal);
    if (!isTransient(error)) throw error;
    await this.#pause(error, retry, signal);
    return undefined;
  }

  async #reread(signal: AbortSignal): Promise<Written | undefined> {
    for (let retry = 0; ; retry++) {
      try {
        const fresh = (await this.#client.get(executions, this.#ref, signal)) as Execution;
        return this.#judge(fresh);
      } catch (error) {
        signal.throwIfAborted();
        if (isNotFound(error)) return { kind: "Lost", why: "Deleted" };
        if (!isTransient(error)) throw error;
        await this.#pause(error, retry, signal);
      }
    }
  }

  #judge(fresh: Execution): Written | undefined {
    if (uidOf(fresh) !== this.#uid) return { kind: "Lost", why: "Deleted" };
    const recorded = fresh.status?.owner;
    // An own write may have arrived although its answer did not.
    const ours = isSameOwner(recorded, this.#owner);
    if (!ours && !isSameOwner(recorded, this.#expected)) return { kind: "Lost", why: "OwnerChanged" };
    if (isFinished(fresh.status))
      return ours ? { kind: "Written", execution: fresh } : { kind: "Lost", why: "Finished" };
    this.#resourceVersion = fresh.metadata.resourceVersion;
    return undefined;
  }

  async #pause(error: unknown, retry: number, signal: AbortSignal): Promise<void> {
    const retryAfterMs = error instanceof ApiError ? (error.status.retryAfterMs ?? 0) : 0;
    await sleep(backoffMs(retryPolicy, retry, this.#ports.random, retryAfterMs), this.#ports.scheduler, signal);
  }
}
