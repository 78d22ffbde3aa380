import type { ObjectKey } from "../runtime/object-key.ts";
import type { ReconcileResult, Reconciler } from "../runtime/worker.ts";

export interface FirstRoundOptions {
  readonly reconciler: Reconciler;
  /** What there is at the start. */
  readonly keys: Iterable<ObjectKey>;
  /** Called once, when each of them has been reconciled, well or not. */
  readonly onEnd: () => void;
}

/** Reconciles as another does, and tells when all that there was at the start has had its first turn. */
export class FirstRound implements Reconciler {
  readonly #reconciler: Reconciler;
  readonly #waiting: Set<ObjectKey>;
  #onEnd: (() => void) | undefined;

  constructor({ reconciler, keys, onEnd }: FirstRoundOptions) {
    this.#reconciler = reconciler;
    this.#waiting = new Set(keys);
    this.#onEnd = onEnd;
    this.#endIfDone();
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    try {
      return await this.#reconciler.reconcile(key, signal);
    } finally {
      // Who was told to stop may have done nothing.
      if (!signal.aborted) this.#waiting.delete(key);
      this.#endIfDone();
    }
  }

  #endIfDone(): void {
    if (this.#waiting.size > 0) return;
    this.#onEnd?.();
    this.#onEnd = undefined;
  }
}
