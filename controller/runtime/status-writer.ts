import { type Ports, sleep } from "../../engine/clock.ts";
import type { Client, KubernetesObject, Resource } from "../api/client.ts";
import { isConflict, isNotFound, isTransient } from "./api-errors.ts";
import { type BackoffPolicy, backoffMs } from "./backoff.ts";
import type { Logger } from "./logger.ts";
import { containsNull, type Draft, mergeDiff } from "./merge-diff.ts";
import { isOlder } from "./resource-version.ts";

/** Who may write an Execution's status: recorded in it as `owner`. */
export interface Owner {
  readonly replica: string;
  /** Grows by one with each takeover. */
  readonly epoch: number;
}

export type WriteOutcome =
  /** `durationMs` is that of the request that succeeded. */
  | { readonly kind: "Written"; readonly object: KubernetesObject; readonly durationMs: number }
  /** The status was so already; nothing was sent. */
  | { readonly kind: "Unchanged"; readonly object: KubernetesObject }
  /** The object does not exist any more, or its name belongs to another. */
  | { readonly kind: "Gone" }
  /** Another owner is recorded: stop working on the object. */
  | { readonly kind: "Lost"; readonly object: KubernetesObject };

export interface StatusWriterOptions {
  readonly client: Client;
  readonly resource: Resource;
  readonly ports: Ports;
  readonly logger: Logger;
  /** Members of the status that others write: left as they are. Default none. */
  readonly foreign?: readonly string[];
  /** Told of each answer, for `Reflector.observe`. */
  readonly onWritten?: (object: KubernetesObject) => void;
}

const retryPolicy: BackoffPolicy = { initialMs: 100, factor: 2, maxMs: 10_000, jitter: 0.5 };
const conflictPolicy: BackoffPolicy = { initialMs: 5, factor: 2, maxMs: 1_000, jitter: 1 };

interface Condition {
  /** Undefined: nobody yet. */
  readonly expected: Owner | undefined;
}

interface Job {
  readonly object: KubernetesObject;
  readonly status: Draft;
  /** Set for a write on condition of the owner. */
  readonly condition: Condition | undefined;
  readonly signal: AbortSignal;
  readonly waiters: readonly PromiseWithResolvers<WriteOutcome>[];
}

interface Lane {
  /** The newest known state of the object. */
  base: KubernetesObject;
  /** A conflict said that `base` is old. */
  stale: boolean;
  next: Job | undefined;
}

/**
 * Writes `/status` of one kind's objects: of one object never more than one write in flight, and of the states that come in
 * meanwhile only the last. What gets no answer, 429 or 5xx is tried again, with the newest state, until the signal aborts.
 * A promise resolves when its state or a later one is written, and rejects with ApiError for what the server refuses.
 */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #lanes = new Map<string, Lane>();

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /**
   * By a merge patch of what differs from `object`'s status: for kinds whose status has one writer. It bears the resource
   * version, as the API server ignores a uid in a status patch: without it a stale difference could leave a union's old
   * member, or land on a new object of the same name.
   */
  patch(object: KubernetesObject, status: Draft, signal: AbortSignal): Promise<WriteOutcome> {
    return this.#submit(object, status, undefined, signal);
  }

  /**
   * By a PUT on condition that `expected` (undefined: nobody) is the recorded owner still. A conflict with anybody else's
   * write (a label, `suspend`) is read again and goes on. `status.owner` is who shall be recorded; finding that one recorded
   * already is fine, as an earlier try without an answer may have got through.
   */
  put(
    object: KubernetesObject,
    status: Draft & { readonly owner: Owner },
    expected: Owner | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    return this.#submit(object, status, { expected }, signal);
  }

  #submit(
    object: KubernetesObject,
    status: Draft,
    condition: Condition | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    const waiter = Promise.withResolvers<WriteOutcome>();
    const uid = object.metadata.uid ?? "";
    const lane = this.#lanes.get(uid);
    const waiters = [...(lane?.next?.waiters ?? []), waiter];
    // The superseded state was never tried, so its owner is the one still expected.
    const job = { object, status, condition: lane?.next?.condition ?? condition, signal, waiters };
    if (lane) lane.next = job;
    else void this.#drive(uid, { base: object, stale: false, next: job });
    return waiter.promise;
  }

  /** Never rejects. */
  async #drive(uid: string, lane: Lane): Promise<void> {
    this.#lanes.set(uid, lane);
    while (lane.next) {
      let job = lane.next;
      lane.next = undefined;
      try {
        const outcome = await this.#write(lane, job, (absorbed) => {
          job = absorbed;
        });
        for (const waiter of job.waiters) waiter.resolve(outcome);
      } catch (error) {
        for (const waiter of job.waiters) waiter.reject(error);
      }
    }
    // In the same tick as the last look at `next`: a state that came in later opens a lane of its own.
    this.#lanes.delete(uid);
  }

  /** Tries until it is decided; `absorb` is told when a later state took this one's place between two tries. */
  async #write(lane: Lane, first: Job, absorb: (job: Job) => void): Promise<WriteOutcome> {
    let job = first;
    for (let failures = 0, conflicts = 0; ; ) {
      job.signal.throwIfAborted();
      try {
        return await this.#attempt(lane, job);
      } catch (error) {
        job.signal.throwIfAborted();
        if (isNotFound(error)) return { kind: "Gone" };
        if (isConflict(error)) {
          lane.stale = true;
          await this.#pause(conflictPolicy, conflicts++, job.signal);
        } else if (isTransient(error)) {
          this.#options.logger.warn({ object: job.object.metadata.name, err: error }, "status write is tried again");
          await this.#pause(retryPolicy, failures++, job.signal);
        } else throw error;
      }
      job = merged(job, lane);
      absorb(job);
    }
  }

  async #attempt(lane: Lane, job: Job): Promise<WriteOutcome> {
    const { client, resource, ports } = this.#options;
    if (isOlder(versionOf(lane.base), versionOf(job.object))) lane.base = job.object;
    if (lane.stale || (job.condition && !mayWrite(lane.base, job))) await this.#reread(lane, job.signal);
    if (lane.base.metadata.uid !== job.object.metadata.uid) return { kind: "Gone" };
    if (job.condition && !mayWrite(lane.base, job)) return { kind: "Lost", object: lane.base };
    const { own, foreign } = this.#parted(statusOf(lane.base));
    const change = mergeDiff(own, job.status);
    if (change === undefined) return { kind: "Unchanged", object: lane.base };
    const startedMs = ports.clock.monotonic();
    // A null that is a value cannot go by merge patch.
    const whole = job.condition !== undefined || containsNull(job.status);
    const object = whole
      ? await client.update(resource, { ...lane.base, status: { ...foreign, ...job.status } }, "status", job.signal)
      : await client.patch(
          resource,
          lane.base.metadata,
          { type: "Merge", body: { metadata: { resourceVersion: versionOf(lane.base) }, status: change } },
          "status",
          job.signal,
        );
    lane.base = object;
    this.#options.onWritten?.(object);
    return { kind: "Written", object, durationMs: ports.clock.monotonic() - startedMs };
  }

  #parted(status: Draft): { readonly own: Draft; readonly foreign: Draft } {
    const { foreign = [] } = this.#options;
    if (foreign.length === 0) return { own: status, foreign: {} };
    const isForeign = ([name]: readonly [string, unknown]) => foreign.includes(name);
    const members = Object.entries(status);
    return {
      own: Object.fromEntries(members.filter((member) => !isForeign(member))),
      foreign: Object.fromEntries(members.filter(isForeign)),
    };
  }

  async #reread(lane: Lane, signal: AbortSignal): Promise<void> {
    lane.base = await this.#options.client.get(this.#options.resource, lane.base.metadata, signal);
    lane.stale = false;
  }

  async #pause(policy: BackoffPolicy, failures: number, signal: AbortSignal): Promise<void> {
    const { random, scheduler } = this.#options.ports;
    await sleep(backoffMs(policy, failures, random), scheduler, signal);
  }
}

/** The latest state with the waiters of both. Its condition stays that of the first: nothing of it is written yet. */
function merged(job: Job, lane: Lane): Job {
  const { next } = lane;
  if (!next) return job;
  lane.next = undefined;
  return { ...next, condition: job.condition ?? next.condition, waiters: [...job.waiters, ...next.waiters] };
}

function mayWrite(current: KubernetesObject, job: Job): boolean {
  const recorded = statusOf(current).owner as Owner | undefined;
  return isSame(recorded, job.condition?.expected) || isSame(recorded, job.status.owner as Owner | undefined);
}

/** By replica and epoch: what else is recorded of an owner is the owner's own to change. */
function isSame(a: Owner | undefined, b: Owner | undefined): boolean {
  return a?.replica === b?.replica && a?.epoch === b?.epoch;
}

function statusOf(object: KubernetesObject): Draft {
  return (object.status ?? {}) as Draft;
}

function versionOf(object: KubernetesObject): string {
  return object.metadata.resourceVersion ?? "";
}
