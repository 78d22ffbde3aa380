import { type Ports, sleep } from "../../engine/clock.ts";
import type { Json, JsonObject } from "../../engine/payload.ts";
import type { Client, KubernetesObject, ObjectMeta, ObjectRef } from "../api/client.ts";
import { leases } from "../api/kinds.ts";
import { isAlreadyExists, isConflict, isNotFound } from "./api-errors.ts";
import { deadline } from "./deadline.ts";
import type { Logger } from "./logger.ts";
import { jsonEqual } from "./merge-diff.ts";
import { microTime } from "./micro-time.ts";

export interface LeaderElectorOptions {
  readonly client: Client;
  readonly ports: Ports;
  readonly logger: Logger;
  readonly namespace: string;
  readonly name: string;
  /** Unique to this process: two that bear the same would both lead. */
  readonly identity: string;
  /** What the Lease says about its holder besides its name; others' annotations stay. */
  readonly annotations?: Readonly<Record<string, string>>;
  /** An unchanged Lease is free after that long on the watcher's own clock. Default 15,000. */
  readonly leaseDurationMs?: number;
  /** A leader that could not renew for that long stops leading. Shorter than the lease's duration; default 10,000. */
  readonly renewDeadlineMs?: number;
  /** Between two tries. Default 2,000. */
  readonly retryPeriodMs?: number;
}

/** Being the leader. Disposing it gives the Lease back, so that the next one need not wait. */
export interface Leadership extends AsyncDisposable {
  /** Grows with each change of leader. */
  readonly epoch: number;
  /** Aborts when the Lease is lost: all that only a leader may do must stop then. */
  readonly signal: AbortSignal;
}

interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

/** What was last seen of the Lease, and when, on our own monotonic clock: clocks of others are never compared with ours. */
interface Observation {
  readonly object: KubernetesObject;
  readonly spec: LeaseSpec;
  readonly atMs: number;
}

/** client-go's: a candidate's tries are spread so that they do not meet. */
const jitterFactor = 1.2;

/** Leader election by a Lease, ported from client-go's `leaderelection`. */
export class LeaderElector {
  readonly #options: LeaderElectorOptions;
  readonly #durationMs: number;
  readonly #renewDeadlineMs: number;
  readonly #retryPeriodMs: number;
  #observed: Observation | undefined;
  /** Whether the last write failed or has no answer yet, so that the Lease must be read before the next. */
  #uncertain = false;

  constructor(options: LeaderElectorOptions) {
    this.#options = options;
    this.#durationMs = options.leaseDurationMs ?? 15_000;
    this.#renewDeadlineMs = options.renewDeadlineMs ?? 10_000;
    this.#retryPeriodMs = options.retryPeriodMs ?? 2_000;
    if (this.#durationMs <= this.#renewDeadlineMs)
      throw new Error("leaseDurationMs must be longer than renewDeadlineMs");
    if (this.#renewDeadlineMs <= jitterFactor * this.#retryPeriodMs) {
      throw new Error("renewDeadlineMs must be longer than 1.2 times retryPeriodMs");
    }
  }

  /** Waits until the Lease is ours. Rejects only with the signal's reason. */
  async acquire(signal: AbortSignal): Promise<Leadership> {
    const { ports, logger, name } = this.#options;
    for (;;) {
      if (await this.#tryLogged(signal)) break;
      const delayMs = this.#retryPeriodMs * (1 + jitterFactor * ports.random());
      await sleep(delayMs, ports.scheduler, signal);
    }
    const epoch = this.#observed?.spec.leaseTransitions ?? 0;
    logger.info({ lease: name, epoch }, "became the leader");
    return this.#lead(epoch);
  }

  #lead(epoch: number): Leadership {
    const lost = new AbortController();
    const stop = new AbortController();
    const renewing = this.#renewUntilLost(stop.signal).then((why) => lost.abort(why));
    return {
      epoch,
      signal: lost.signal,
      [Symbol.asyncDispose]: async () => {
        stop.abort(new Error("the leader gives its Lease back"));
        await renewing;
        await this.#release();
      },
    };
  }

  /** Resolves with why leading is over. */
  async #renewUntilLost(stop: AbortSignal): Promise<Error> {
    const { ports, logger, name, identity } = this.#options;
    let renewedMs = ports.clock.monotonic();
    while (!stop.aborted) {
      await sleep(this.#retryPeriodMs, ports.scheduler, stop).catch(() => {});
      const leftMs = renewedMs + this.#renewDeadlineMs - ports.clock.monotonic();
      const limit = deadline(Math.max(0, leftMs), "the Lease could not be renewed in time", ports.scheduler, stop);
      // Counted from before the request: when the others see it does not depend on when its answer comes.
      const triedMs = ports.clock.monotonic();
      const renewed = leftMs > 0 && (await this.#tryLogged(limit.signal).catch(() => false));
      limit.release();
      if (stop.aborted) break;
      if (renewed) renewedMs = triedMs;
      else if (this.#heldByAnother() || ports.clock.monotonic() - renewedMs >= this.#renewDeadlineMs) {
        logger.error({ lease: name, identity }, "lost the Lease; not the leader any more");
        return new Error(`the Lease ${name} was lost`);
      }
    }
    return new Error(`the Lease ${name} is given back`);
  }

  #heldByAnother(): boolean {
    const holder = this.#observed?.spec.holderIdentity;
    return holder !== undefined && holder !== "" && holder !== this.#options.identity;
  }

  async #tryLogged(signal: AbortSignal): Promise<boolean> {
    try {
      return await this.#tryOnce(signal);
    } catch (error) {
      signal.throwIfAborted();
      const { logger, name } = this.#options;
      if (!isConflict(error) && !isAlreadyExists(error)) logger.warn({ lease: name, err: error }, "Lease not written");
      return false;
    }
  }

  /** Takes or renews the Lease where that is allowed. Throws ApiError. */
  async #tryOnce(signal: AbortSignal): Promise<boolean> {
    const { client, ports, identity } = this.#options;
    const current = this.#certain() ?? (await this.#read(signal));
    this.#uncertain = true;
    if (current === undefined) {
      const spec = this.#spec(0, microTime(ports.clock.now()));
      this.#written(await client.create(leases, this.#newLease(spec), this.#scope(), signal));
      return true;
    }
    const { spec, object, atMs } = current;
    const ours = spec.holderIdentity === identity;
    const held = spec.holderIdentity !== undefined && spec.holderIdentity !== "";
    if (!ours && held && ports.clock.monotonic() - atMs < this.#durationMs) return false;
    const transitions = (spec.leaseTransitions ?? 0) + (ours ? 0 : 1);
    const acquireTime = ours ? (spec.acquireTime ?? "") : microTime(ports.clock.now());
    const spent = this.#spec(transitions, acquireTime || microTime(ports.clock.now()));
    const next = { ...object, metadata: this.#annotated(object.metadata), spec: spent };
    this.#written(await client.update(leases, next, undefined, signal));
    return true;
  }

  #written(object: KubernetesObject): void {
    this.#observe(object);
    this.#uncertain = false;
  }

  /** Our own last write: renewing it needs no read. */
  #certain(): Observation | undefined {
    return !this.#uncertain && this.#observed?.spec.holderIdentity === this.#options.identity
      ? this.#observed
      : undefined;
  }

  async #read(signal: AbortSignal): Promise<Observation | undefined> {
    try {
      return this.#observe(await this.#options.client.get(leases, this.#ref(), signal));
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** The time moves only when the Lease has changed. */
  #observe(object: KubernetesObject): Observation {
    const spec = (object.spec ?? {}) as LeaseSpec;
    const known = this.#observed;
    const unchanged = known !== undefined && jsonEqual(known.spec, spec);
    const atMs = unchanged ? known.atMs : this.#options.ports.clock.monotonic();
    this.#observed = { object, spec, atMs };
    return this.#observed;
  }

  /** Best effort: whoever waits takes over after the lease's duration anyway. */
  async #release(): Promise<void> {
    const { client, ports, logger, name, identity } = this.#options;
    const limit = deadline(this.#renewDeadlineMs, "no answer", ports.scheduler, new AbortController().signal);
    try {
      const current = await this.#read(limit.signal);
      if (current?.spec.holderIdentity !== identity) return;
      const { leaseTransitions } = current.spec;
      const now = microTime(ports.clock.now());
      const spec = { holderIdentity: "", leaseDurationSeconds: 1, acquireTime: now, renewTime: now, leaseTransitions };
      await client.update(leases, { ...current.object, spec }, undefined, limit.signal);
    } catch (error) {
      logger.warn({ lease: name, err: error }, "the Lease could not be given back");
    } finally {
      limit.release();
    }
  }

  #spec(leaseTransitions: number, acquireTime: string): { readonly [field: string]: Json } {
    return {
      holderIdentity: this.#options.identity,
      leaseDurationSeconds: Math.ceil(this.#durationMs / 1000),
      acquireTime,
      renewTime: microTime(this.#options.ports.clock.now()),
      leaseTransitions,
    };
  }

  #newLease(spec: JsonObject): JsonObject {
    const { group, version, kind } = leases;
    const { annotations } = this.#options;
    const metadata = { ...this.#scope(), name: this.#options.name, ...(annotations && { annotations }) };
    return { apiVersion: `${group}/${version}`, kind, metadata, spec };
  }

  #annotated(metadata: ObjectMeta): ObjectMeta {
    const { annotations } = this.#options;
    return annotations ? { ...metadata, annotations: { ...metadata.annotations, ...annotations } } : metadata;
  }

  #scope(): { readonly namespace: string } {
    return { namespace: this.#options.namespace };
  }

  #ref(): ObjectRef {
    return { ...this.#scope(), name: this.#options.name };
  }
}
