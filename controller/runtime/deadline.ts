import type { Scheduler } from "../../engine/clock.ts";

/** A signal that aborts when the caller's does, or at a deadline on the injected clock. `release` when the work is over. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Puts another deadline, counted from now, in the place of the present one. */
  restart(timeoutMs: number, message: string): void;
  release(): void;
}

/** The deadline's reason is an Error with `message`; the caller's abort keeps its own reason. */
export function deadline(timeoutMs: number, message: string, scheduler: Scheduler, caller: AbortSignal): Deadline {
  // Not AbortSignal.any: it registers with the caller's signal, which lives as long as the process, at every request.
  const controller = new AbortController();
  const onAbort = () => controller.abort(caller.reason);
  if (caller.aborted) onAbort();
  else caller.addEventListener("abort", onAbort, { once: true });
  const start = (afterMs: number, text: string) => scheduler.after(afterMs, () => controller.abort(new Error(text)));
  let timer = start(timeoutMs, message);
  return {
    signal: controller.signal,
    restart(afterMs, text) {
      timer.cancel();
      timer = start(afterMs, text);
    },
    release() {
      timer.cancel();
      caller.removeEventListener("abort", onAbort);
    },
  };
}
