import { type Owned, Turns } from "../../backends/turns.ts";
import type { Ports, Timer } from "../../engine/clock.ts";
import { backoffMs } from "./backoff.ts";
import { type Metrics, noMetrics } from "./metrics.ts";
import { type ObjectKey, refOf } from "./object-key.ts";

export interface WorkQueueOptions {
  /** Label of its metrics. */
  readonly name: string;
  readonly ports: Ports;
  readonly metrics?: Metrics;
}

/** controller-runtime's: 5 ms, doubled up to 1000 s; without jitter, as keys fail at times of their own. */
const retryPolicy = { initialMs: 5, factor: 2, maxMs: 1_000_000, jitter: 0 };

interface Delayed {
  readonly atMs: number;
  readonly timer: Timer;
}

/** A key that could be taken. */
interface Ready extends Owned {
  readonly key: ObjectKey;
  readonly sinceMs: number;
}

/**
 * Keys to reconcile, after client-go's workqueue: a key waits at most once, is held by at most one worker, and when it is
 * added while held it is handed out once more afterwards, so that no change is missed.
 *
 * Unlike there they are handed out by turns of the namespaces, in order within each, and so that some workers are left for
 * who comes, as a reconcile may wait for somebody's server for a minute: a namespace gets one more only while it holds
 * fewer than wait for work. One alone gets half of them, the next half of the rest, and so on.
 */
export class WorkQueue {
  readonly name: string;
  readonly #ports: Ports;
  readonly #metrics: Metrics;
  readonly #ready = new Map<ObjectKey, Ready>();
  /** The same, as they are served. */
  readonly #turns = new Turns<Ready>();
  readonly #held = new Set<ObjectKey>();
  /** How many keys of each namespace are held; none is not in it. */
  readonly #heldOf = new Map<string, number>();
  /** Added while held, with the time since when. */
  readonly #again = new Map<ObjectKey, number>();
  readonly #delayed = new Map<ObjectKey, Delayed>();
  readonly #failures = new Map<ObjectKey, number>();
  readonly #takers: ((key: ObjectKey | undefined) => void)[] = [];
  #closed = false;

  constructor(options: WorkQueueOptions) {
    this.name = options.name;
    this.#ports = options.ports;
    this.#metrics = options.metrics ?? noMetrics;
  }

  /** Keys that could be taken now. */
  get depth(): number {
    return this.#ready.size;
  }

  /** Keys that wait for their time. */
  get delayed(): number {
    return this.#delayed.size;
  }

  add(key: ObjectKey): void {
    if (this.#closed) return;
    const nowMs = this.#ports.clock.monotonic();
    if (this.#held.has(key)) {
      if (!this.#again.has(key)) this.#again.set(key, nowMs);
      return;
    }
    if (this.#ready.has(key)) return;
    this.#makeReady(key, nowMs);
    this.#handOut();
  }

  /** Adds the key later. Of several delays of one key the earliest holds. */
  addAfter(key: ObjectKey, delayMs: number): void {
    if (this.#closed) return;
    if (delayMs <= 0) {
      this.add(key);
      return;
    }
    const atMs = this.#ports.clock.monotonic() + delayMs;
    const pending = this.#delayed.get(key);
    if (pending !== undefined && pending.atMs <= atMs) return;
    pending?.timer.cancel();
    const timer = this.#ports.scheduler.after(delayMs, () => {
      this.#delayed.delete(key);
      this.add(key);
    });
    this.#delayed.set(key, { atMs, timer });
  }

  /** Adds the key after a backoff of 5 ms, doubled with each retry since `forget`, at most 1000 s. */
  retry(key: ObjectKey): void {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.#metrics.retried(this.name);
    this.addAfter(key, backoffMs(retryPolicy, failures, this.#ports.random));
  }

  /** The key is well: its next retry starts with the shortest backoff. */
  forget(key: ObjectKey): void {
    this.#failures.delete(key);
  }

  /** The next key, held until `done`; undefined once the queue is closed. */
  take(): Promise<ObjectKey | undefined> {
    const { promise, resolve } = Promise.withResolvers<ObjectKey | undefined>();
    if (this.#closed) resolve(undefined);
    else this.#takers.push(resolve);
    this.#handOut();
    return promise;
  }

  /** Throws when the key is not held: a key must be given back exactly once. */
  done(key: ObjectKey): void {
    if (!this.#held.delete(key)) throw new Error(`work queue ${this.name}: ${key} is given back but was not taken`);
    this.#countHeld(namespaceOf(key), -1);
    const sinceMs = this.#again.get(key);
    if (this.#again.delete(key) && sinceMs !== undefined) this.#makeReady(key, sinceMs);
    this.#handOut();
  }

  /** No more keys are handed out or taken in; what waits is dropped, as a restart lists everything again. Idempotent. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#delayed.values()) timer.cancel();
    for (const ready of this.#ready.values()) this.#turns.remove(ready);
    for (const map of [this.#delayed, this.#ready, this.#again, this.#failures]) map.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }

  #makeReady(key: ObjectKey, sinceMs: number): void {
    const ready: Ready = { key, sinceMs, owner: { namespace: namespaceOf(key), processor: "" } };
    this.#ready.set(key, ready);
    this.#turns.add(ready);
  }

  #handOut(): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      const { key, sinceMs, owner } = next;
      this.#turns.serve(next);
      this.#ready.delete(key);
      this.#held.add(key);
      this.#countHeld(owner.namespace, 1);
      this.#metrics.queued(this.name, this.#ports.clock.monotonic() - sinceMs);
      this.#takers.shift()?.(key);
    }
  }

  #next(): Ready | undefined {
    if (this.#takers.length === 0) return undefined;
    for (const ready of this.#turns.heads()) {
      const held = this.#heldOf.get(ready.owner.namespace) ?? 0;
      if (held === 0 || held < this.#takers.length) return ready;
    }
    return undefined;
  }

  #countHeld(namespace: string, change: 1 | -1): void {
    const held = (this.#heldOf.get(namespace) ?? 0) + change;
    if (held === 0) this.#heldOf.delete(namespace);
    else this.#heldOf.set(namespace, held);
  }
}

function namespaceOf(key: ObjectKey): string {
  return refOf(key).namespace ?? "";
}
