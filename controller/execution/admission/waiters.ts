import type { ObjectKey } from "../../runtime/object-key.ts";

interface Waiter {
  readonly sinceMs: number;
  readonly names: readonly string[];
}

/** Executions that cannot start yet, by what would wake them: an entry of a register, named by namespace and a text. */
export class Waiters {
  readonly #waiters = new Map<ObjectKey, Waiter>();
  readonly #byName = new Map<string, Set<ObjectKey>>();

  /** Gives since when the key waits, on the clock of `nowMs`; waiting for something else now does not start it anew. */
  add(key: ObjectKey, names: readonly string[], nowMs: number): number {
    const sinceMs = this.#waiters.get(key)?.sinceMs ?? nowMs;
    this.delete(key);
    this.#waiters.set(key, { sinceMs, names });
    for (const name of names) {
      const keys = this.#byName.get(name);
      if (keys === undefined) this.#byName.set(name, new Set([key]));
      else keys.add(key);
    }
    return sinceMs;
  }

  delete(key: ObjectKey): void {
    for (const name of this.#waiters.get(key)?.names ?? []) {
      const keys = this.#byName.get(name);
      keys?.delete(key);
      if (keys?.size === 0) this.#byName.delete(name);
    }
    this.#waiters.delete(key);
  }

  /** A copy: whoever is woken may wait again. */
  of(name: string): readonly ObjectKey[] {
    return [...(this.#byName.get(name) ?? [])];
  }

  get size(): number {
    return this.#waiters.size;
  }
}
