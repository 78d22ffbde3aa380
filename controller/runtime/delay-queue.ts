import type { Ports, Timer } from "../../engine/clock.ts";

interface Entry<T> {
  readonly key: string;
  readonly item: T;
  readonly dueAtMs: number;
}

/** The longest that one timer is set for: a wall clock that was put right is noticed within this time. In milliseconds. */
const maxTimerMs = 60 * 60 * 1000;

/**
 * Things to be looked at again at a given wall-clock time, behind one timer: a binary heap, so that ten thousand finished
 * Executions cost ten thousand entries and no timers. A key is there once; setting it again moves it.
 */
export class DelayQueue<T> {
  readonly #ports: Ports;
  readonly #onDue: (item: T) => void;
  readonly #heap: Entry<T>[] = [];
  /** The entry that counts for a key; others of it in the heap are stale. */
  readonly #current = new Map<string, Entry<T>>();
  #timer: Timer | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;

  /** `onDue` is called synchronously, once for each entry. */
  constructor(ports: Ports, onDue: (item: T) => void) {
    this.#ports = ports;
    this.#onDue = onDue;
  }

  get size(): number {
    return this.#current.size;
  }

  /** `dueAtMs` in milliseconds since the epoch; one in the past is due at once. */
  set(key: string, item: T, dueAtMs: number): void {
    if (this.#current.get(key)?.dueAtMs === dueAtMs) return;
    const entry = { key, item, dueAtMs };
    this.#current.set(key, entry);
    if (this.#heap.length > 2 * this.#current.size + 64) this.#rebuild();
    else this.#push(entry);
    this.#arm();
  }

  delete(key: string): void {
    this.#current.delete(key);
  }

  clear(): void {
    this.#current.clear();
    this.#heap.length = 0;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAtMs = Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    this.#dropStale();
    const next = this.#heap[0];
    if (next === undefined || next.dueAtMs >= this.#timerAtMs) return;
    this.#timer?.cancel();
    const delayMs = Math.min(Math.max(0, next.dueAtMs - this.#ports.clock.now()), maxTimerMs);
    this.#timerAtMs = next.dueAtMs;
    this.#timer = this.#ports.scheduler.after(delayMs, () => this.#fire(), { ref: false });
  }

  #fire(): void {
    this.#timer = undefined;
    this.#timerAtMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#ports.clock.now();
    for (;;) {
      this.#dropStale();
      const next = this.#heap[0];
      if (next === undefined || next.dueAtMs > nowMs) break;
      this.#pop();
      this.#current.delete(next.key);
      this.#onDue(next.item);
    }
    this.#arm();
  }

  #dropStale(): void {
    for (let top = this.#heap[0]; top !== undefined && this.#current.get(top.key) !== top; top = this.#heap[0])
      this.#pop();
  }

  #rebuild(): void {
    this.#heap.length = 0;
    for (const entry of this.#current.values()) this.#push(entry);
  }

  #push(entry: Entry<T>): void {
    const heap = this.#heap;
    let index = heap.push(entry) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent] as Entry<T>;
      if (above.dueAtMs <= entry.dueAtMs) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      if (left >= heap.length) break;
      const right = left + 1;
      const smaller =
        right < heap.length && (heap[right] as Entry<T>).dueAtMs < (heap[left] as Entry<T>).dueAtMs ? right : left;
      const below = heap[smaller] as Entry<T>;
      if (below.dueAtMs >= last.dueAtMs) break;
      heap[index] = below;
      index = smaller;
    }
    heap[index] = last;
  }
}
