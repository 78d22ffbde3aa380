import { type ObjectKey, refOf } from "../runtime/object-key.ts";

export interface PlaceLimits {
  /** Executions that run at the same time. */
  readonly running: number;
  /** Of them, those whose first status write is not done yet: short ones are bounded by what the API server takes, and more of them at once only make each of them longer. */
  readonly starting: number;
}

/**
 * Places for running Executions. Namespaces take turns, and within one the first to come is the first to go, so that a
 * thousand Executions in one namespace do not hold up the one in another.
 */
export class Places {
  readonly #limits: PlaceLimits;
  readonly #onGranted: (key: ObjectKey) => void;
  /** Those that run, and those that were told that they may. */
  readonly #held = new Set<ObjectKey>();
  /** Of those, the ones that may yet turn out to be short. */
  readonly #starting = new Set<ObjectKey>();
  /** Namespaces in the order of their turns; each with its waiting keys in the order of their coming. */
  readonly #waiting = new Map<string, Set<ObjectKey>>();

  /** `onGranted` is called, synchronously, when a key that waited gets its place. */
  constructor(limits: PlaceLimits, onGranted: (key: ObjectKey) => void) {
    this.#limits = limits;
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
    if (this.#isFree() && this.#waiting.size === 0) {
      this.#hold(key);
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
    this.#starting.delete(key);
    if (this.#held.delete(key)) this.#grant();
  }

  /** It runs for longer: it no longer counts as starting. Idempotent. */
  settled(key: ObjectKey): void {
    if (this.#starting.delete(key)) this.#grant();
  }

  #isFree(): boolean {
    return this.#held.size < this.#limits.running && this.#starting.size < this.#limits.starting;
  }

  #hold(key: ObjectKey): void {
    this.#held.add(key);
    this.#starting.add(key);
  }

  #grant(): void {
    while (this.#isFree()) {
      const [turn] = this.#waiting;
      if (turn === undefined) return;
      const [namespace, keys] = turn;
      const [key] = keys;
      this.#waiting.delete(namespace);
      if (key === undefined) continue;
      keys.delete(key);
      // To the end of the turns.
      if (keys.size > 0) this.#waiting.set(namespace, keys);
      this.#hold(key);
      this.#onGranted(key);
    }
  }
}

function namespaceOf(key: ObjectKey): string {
  return refOf(key).namespace ?? "";
}
