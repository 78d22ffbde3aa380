import type { Scheduler, Timer } from "../engine/clock.ts";
import { MillraceError } from "../engine/errors.ts";

/** A bounded number of items (workers, channels, connections) for a bounded number of users. */
export interface Pool<T> extends AsyncDisposable {
  /**
   * Calls `work` with an item that is its alone until `work` settles, and gives what `work` gave. Rejects with `signal`'s
   * reason when it aborts before there was an item (afterwards aborting is `work`'s own matter), with ResourceExhausted
   * when the queue is full, with Unavailable when the pool is closed, and with what `create` threw.
   */
  use<R>(work: (item: T) => Promise<R>, signal: AbortSignal): Promise<R>;
}

/** For metrics. */
export interface PoolStats {
  /** Items that are there, starting and stopping ones included. */
  readonly size: number;
  readonly inUse: number;
  readonly waiting: number;
  /** Users refused because the queue was full, since the start. */
  readonly rejected: number;
}

/** How a {@link KeyedPool} makes, judges and ends its items. */
export interface PoolOptions<T> {
  /** For messages. */
  readonly name: string;
  /** The most items at a time. */
  readonly maxItems: number;
  /** The most users that wait; one more is refused with ResourceExhausted. */
  readonly maxWaiters: number;
  /** Fresh items kept ready once the pool has been used, where `maxItems` leaves room; default 0. */
  readonly spares?: number;
  /** An item that nobody used for so long is ended, in milliseconds; default 60,000. Spares stay. */
  readonly idleMs?: number;
  /** How long a disposed pool waits for its users before it ends the items under them, in milliseconds; default 5,000. */
  readonly drainMs?: number;
  readonly scheduler: Scheduler;
  create(): Promise<T>;
  /** Must end the item whatever it does. */
  destroy(item: T): Promise<void>;
  /** Asked after each use; a broken item is ended and replaced. */
  isBroken(item: T): boolean;
}

interface Slot<T> {
  readonly item: T;
  /** What it was first used for; undefined: fresh. */
  key: string | undefined;
  /** To be ended when its user has done. */
  retired: boolean;
  idleTimer: Timer | undefined;
}

interface Waiter<T> {
  readonly key: string;
  /** How often a later user got an item first. */
  overtaken: number;
  take(slot: Slot<T>): void;
  refuse(error: unknown): void;
}

const defaultIdleMs = 60_000;
const defaultDrainMs = 5_000;

/** How long a disposed pool waits for its items to end, in milliseconds: one may be in code that nothing can stop. */
const maxEndMs = 5_000;

/** How often a waiter may be overtaken by users of items that are bound to another key, before one of those is ended for it. */
const maxOvertaken = 32;

/**
 * A bounded pool whose items may be bound to a key by their first use: a worker that has loaded one module is not given
 * to another. First come, first served, but a bound item prefers a user of its key, up to 32 times in a row.
 */
export class KeyedPool<T> implements Pool<T> {
  readonly #options: PoolOptions<T>;
  readonly #idle = new Set<Slot<T>>();
  readonly #busy = new Set<Slot<T>>();
  readonly #waiting = new Set<Waiter<T>>();
  #starting = 0;
  #stopping = 0;
  #rejected = 0;
  #disposal: Promise<void> | undefined;
  #onChange: (() => void) | undefined;

  constructor(options: PoolOptions<T>) {
    this.#options = options;
  }

  get stats(): PoolStats {
    return {
      size: this.#size(),
      inUse: this.#busy.size,
      waiting: this.#waiting.size,
      rejected: this.#rejected,
    };
  }

  /** @param key what the item is bound to; default: all users are alike */
  async use<R>(work: (item: T) => Promise<R>, signal: AbortSignal, key = ""): Promise<R> {
    signal.throwIfAborted();
    const slot = await this.#acquire(key, signal);
    try {
      return await work(slot.item);
    } finally {
      this.#release(slot);
    }
  }

  /** Ends the items bound to `key`: idle ones now, others when their user has done. */
  retire(key: string): void {
    for (const slot of this.#busy) if (slot.key === key) slot.retired = true;
    for (const slot of this.#idle) if (slot.key === key) this.#end(slot);
  }

  /**
   * Refuses new users, waits for those that are there, then ends every item. Idempotent. Rejects with Internal when items
   * have not ended 5 s later: they are left behind.
   */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  #size(): number {
    return this.#idle.size + this.#busy.size + this.#starting + this.#stopping;
  }

  #acquire(key: string, signal: AbortSignal): Promise<Slot<T>> {
    const { name, maxWaiters, maxItems } = this.#options;
    if (this.#disposal !== undefined) throw new MillraceError("Unavailable", `the pool of ${name} is closed`);
    if (this.#waiting.size >= maxWaiters) {
      this.#rejected += 1;
      throw new MillraceError(
        "ResourceExhausted",
        `the pool of ${name} is full: ${maxItems} in use at most, and ${maxWaiters} waiting; no more may wait`,
      );
    }
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#waiting.delete(waiter);
        signal.removeEventListener("abort", onAbort);
      };
      const waiter: Waiter<T> = {
        key,
        overtaken: 0,
        take(slot) {
          settle();
          resolve(slot);
        },
        refuse(error) {
          settle();
          reject(error);
        },
      };
      const onAbort = () => {
        waiter.refuse(signal.reason);
        this.#onChange?.();
      };
      signal.addEventListener("abort", onAbort);
      this.#waiting.add(waiter);
      this.#dispatch();
    });
  }

  #release(slot: Slot<T>): void {
    if (!this.#busy.delete(slot)) return;
    if (slot.retired || this.#options.isBroken(slot.item)) {
      this.#end(slot);
      return;
    }
    this.#idle.add(slot);
    slot.idleTimer = this.#options.scheduler.after(this.#options.idleMs ?? defaultIdleMs, () => this.#end(slot), {
      ref: false,
    });
    this.#dispatch();
    this.#onChange?.();
  }

  /** Gives idle items to waiters, then starts what is missing. Runs after every change. */
  #dispatch(): void {
    for (const waiter of this.#waiting) {
      if (this.#idle.size === 0) break;
      const slot = this.#find(waiter.key);
      if (slot !== undefined) this.#give(slot, waiter);
      else if (waiter.overtaken >= maxOvertaken) break;
      else waiter.overtaken += 1;
    }
    this.#startMissing();
    this.#startSpares();
  }

  #startMissing(): void {
    while (this.#waiting.size > this.#starting + this.#stopping && this.#makeRoom());
  }

  /** The idle item of this key, else a fresh one; one that broke while it was idle is ended. */
  #find(key: string): Slot<T> | undefined {
    let fresh: Slot<T> | undefined;
    for (const slot of this.#idle) {
      if (this.#options.isBroken(slot.item)) this.#end(slot);
      else if (slot.key === key) return slot;
      else if (slot.key === undefined) fresh = slot;
    }
    return fresh;
  }

  #give(slot: Slot<T>, waiter: Waiter<T>): void {
    slot.idleTimer?.cancel();
    slot.key = waiter.key;
    this.#idle.delete(slot);
    this.#busy.add(slot);
    waiter.take(slot);
  }

  /** Starts an item, or ends one of another key so that one can be started when it is gone. False: all are in use. */
  #makeRoom(): boolean {
    if (this.#size() < this.#options.maxItems) {
      this.#start();
      return true;
    }
    const [other] = this.#idle;
    if (other === undefined) return false;
    this.#end(other);
    return true;
  }

  #startSpares(): void {
    if (this.#disposal !== undefined) return;
    let fresh = this.#starting - this.#waiting.size;
    for (const slot of this.#idle) if (slot.key === undefined) fresh += 1;
    for (let missing = (this.#options.spares ?? 0) - Math.max(0, fresh); missing > 0; missing -= 1) {
      if (this.#size() >= this.#options.maxItems) return;
      this.#start();
    }
  }

  #start(): void {
    this.#starting += 1;
    this.#options.create().then(
      (item) => {
        this.#starting -= 1;
        this.#idle.add({ item, key: undefined, retired: false, idleTimer: undefined });
        this.#dispatch();
        this.#onChange?.();
      },
      (error: unknown) => {
        this.#starting -= 1;
        const [first] = this.#waiting;
        first?.refuse(error);
        // No spares here: they would fail in a circle.
        this.#startMissing();
        this.#onChange?.();
      },
    );
  }

  #end(slot: Slot<T>): void {
    slot.idleTimer?.cancel();
    this.#idle.delete(slot);
    this.#stopping += 1;
    const ended = () => {
      this.#stopping -= 1;
      this.#dispatch();
      this.#onChange?.();
    };
    this.#options.destroy(slot.item).then(ended, ended);
  }

  async #dispose(): Promise<void> {
    const { scheduler, drainMs, name } = this.#options;
    const timer = scheduler.after(drainMs ?? defaultDrainMs, () => {
      const error = new MillraceError("Unavailable", `the pool of ${name} was closed`);
      for (const waiter of this.#waiting) waiter.refuse(error);
      for (const slot of this.#busy) {
        this.#busy.delete(slot);
        this.#end(slot);
      }
      this.#onChange?.();
    });
    await this.#until(() => this.#busy.size === 0 && this.#waiting.size === 0);
    timer.cancel();
    let isLate = false;
    const limit = scheduler.after(maxEndMs, () => {
      isLate = true;
      this.#onChange?.();
    });
    await this.#until(() => {
      for (const slot of this.#idle) this.#end(slot);
      return isLate || this.#size() === 0;
    });
    limit.cancel();
    if (this.#size() === 0) return;
    throw new MillraceError("Internal", `the pool of ${name}: ${this.#size()} did not end within ${maxEndMs} ms`);
  }

  async #until(done: () => boolean): Promise<void> {
    while (!done()) {
      await new Promise<void>((resolve) => {
        this.#onChange = resolve;
      });
    }
    this.#onChange = undefined;
  }
}
