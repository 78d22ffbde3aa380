import type { Clock } from "../engine/clock.ts";
import { type ErrorCode, toMillraceError } from "../engine/errors.ts";
import type { Invoke } from "../engine/run/run-options.ts";
import type { BackendKind } from "./backend.ts";

/** How an attempt ended: `OK`, ProcessorFailed when the processor declared a failure, else the code of what was thrown. */
export type AttemptCode = "OK" | ErrorCode;

/** Where measurements go. Called synchronously on the path of every attempt: must be fast and must not throw. */
export type AttemptObserver = (backend: BackendKind, code: AttemptCode, durationMs: number) => void;

/** The same attempts, measured from outside: waiting for a place counts. */
export function observed(invoke: Invoke, backend: BackendKind, observe: AttemptObserver, clock: Clock): Invoke {
  return async (attempt, request, signal) => {
    const startedMs = clock.monotonic();
    let code: AttemptCode = "OK";
    try {
      const response = await invoke(attempt, request, signal);
      if (!response.ok) code = "ProcessorFailed";
      return response;
    } catch (error) {
      code = toMillraceError(error).code;
      throw error;
    } finally {
      observe(backend, code, clock.monotonic() - startedMs);
    }
  };
}
