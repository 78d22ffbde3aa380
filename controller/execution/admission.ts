import { type ObjectKey, refOf } from "../runtime/object-key.ts";

/**
 * Places for running Executions. Namespaces take turns, and within one the first to come is the first to go, so that a
 * thousand Executions in one namespace do not hold up the one in another.
 */
export class Places {
  readonly #limit: number;
  readonly #onGranted: (key: ObjectKey) => void;
  /** Those that run, and those that were told that they may. */
  readonly #held = new Set<ObjectKey>();
  /** Namespaces in the order of their turns; each with its waiting keys in the order of their coming. */
  readonly #waiting = new Map<string, Set<ObjectKey>>();

  /** `onGranted` is called, synchronously, when a key that waited gets its place. */
  constructor(limit: number, onGranted: (key: ObjectKey) => void) {
    this.#limit = limit;
    this.#onGranted = onGranted;
  }

  get held(): number {
    return this.#held.size;
  }

  get waiting(): number {
    let count = 0;
    for (const keys of this.#waiting.values()) count += keys.size;
    return count;
  }

  /** True: the key has a place, now or since before. False: it waits for one in the queue. */
  enter(key: ObjectKey): boolean {
    if (this.#held.has(key)) return true;
    // Nobody overtakes: while others wait, a free place is theirs.
    if (this.#held.size < this.#limit && this.#waiting.size === 0) {
      this.#held.add(key);
      return true;
    }
    const namespace = namespaceOf(key);
    const keys = this.#waiting.get(namespace);
    if (keys === undefined) this.#waiting.set(namespace, new Set([key]));
    else keys.add(key);
    return false;
  }

  /** Gives the place back, or leaves the queue. Idempotent. */
  leave(key: ObjectKey): void {
    const namespace = namespaceOf(key);
    const keys = this.#waiting.get(namespace);
    if (keys?.delete(key) === true && keys.size === 0) this.#waiting.delete(namespace);
    if (this.#held.delete(key)) this.#grant();
  }

  #grant(): void {
    while (this.#held.size < this.#limit) {
      const [turn] = this.#waiting;
      if (turn === undefined) return;
      const [namespace, keys] = turn;
      const [key] = keys;
      this.#waiting.delete(namespace);
      if (key === undefined) continue;
      keys.delete(key);
      // To the end of the turns.
      if (keys.size > 0) this.#waiting.set(namespace, keys);
      this.#held.add(key);
      this.#onGranted(key);
    }
  }
}

function namespaceOf(key: ObjectKey): string {
  return refOf(key).namespace ?? "";
}
