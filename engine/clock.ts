/** Reads of time. Injected, so that a simulation can be replayed. */
export interface Clock {
  /** Wall-clock time in milliseconds since the epoch: for timestamps only, never for durations. */
  now(): number;
  /** Milliseconds on a clock that never goes back: for durations, deadlines and leases. */
  monotonic(): number;
}

/** A callback that has not run yet. */
export interface Timer {
  /** Idempotent; a cancelled callback never runs. */
  cancel(): void;
}

export interface Scheduler {
  /** Runs `callback` once, `delayMs` milliseconds from now. A pending timer keeps the process alive only if `ref` is true (default). */
  after(delayMs: number, callback: () => void, options?: { readonly ref?: boolean }): Timer;
}

/** A number in [0, 1). */
export type Random = () => number;

/** Everything non-deterministic that `engine/` and `controller/` may use, besides their client and payload store. */
export interface Ports {
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly random: Random;
}

/** The longest delay that a timer of the platform takes; a longer one would fire at once. */
const maxDelayMs = 2 ** 31 - 1;

/** The real clock, timers and randomness. Only the composition root and tests name it. */
export const systemPorts: Ports = {
  clock: { now: () => Date.now(), monotonic: () => performance.now() },
  scheduler: {
    after(delayMs, callback, options) {
      const timer = setTimeout(callback, Math.min(Math.max(0, delayMs), maxDelayMs));
      if (options?.ref === false) timer.unref();
      return { cancel: () => clearTimeout(timer) };
    },
  },
  random: () => Math.random(),
};

/** Resolves after `delayMs`; rejects with the signal's reason as soon as it aborts. */
export function sleep(delayMs: number, scheduler: Scheduler, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const onAbort = () => {
      timer.cancel();
      reject(signal.reason);
    };
    const timer = scheduler.after(delayMs, () => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    });
    signal.addEventListener("abort", onAbort, { once: true });
  });
}
