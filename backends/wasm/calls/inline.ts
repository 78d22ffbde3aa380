import type { Clock } from "../../../engine/clock.ts";
import { MillraceError } from "../../../engine/errors.ts";
import type { GuestAnswer } from "../abis/guest.ts";
import type { Calls, WasmCall } from "./call.ts";
import { KeptModules } from "./kept-modules.ts";

/** The most fuel of a call that is made in the main thread: some milliseconds of its time. */
export const maxInlineFuel = 5_000_000;

/** The largest module whose calls are made in the main thread, in bytes: V8 compiles a function where it is first called, which no fuel counts. */
export const maxInlineBytes = 1024 * 1024;

/**
 * The most memory of a call that is made in the main thread, in bytes. It is in no budget of calls: they come one after the other, so that one
 * of them has memory at a time, besides what `KeptModules` keeps.
 */
export const maxInlineMemoryBytes = 16 * 1024 * 1024;

/** How long calls may hold the event loop up until it has its turn, in milliseconds; the last one ends later. */
const maxBusyMs = 10;

/**
 * Calls in this thread, one after the other: a call costs no thread its way there and back, and holds everybody up while it lasts. For
 * modules that fuel alone stops in time.
 */
export class InlineCalls implements Calls {
  readonly #clock: Clock;
  readonly #modules = new KeptModules();
  #busyMs = 0;
  /** The event loop's next turn, once something has run since the last. */
  #turn: Promise<void> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async call({ kind, target, request, signal, time, log }: WasmCall): Promise<GuestAnswer> {
    time?.pause();
    while (this.#busyMs >= maxBusyMs && this.#turn !== undefined) await this.#turn;
    signal.throwIfAborted();
    const context = { ...request.context, timeoutMs: time?.resume() ?? request.context.timeoutMs };
    const job = { kind, id: target.id, target, request: { ...request, context } };
    const startMs = this.#clock.monotonic();
    const answer = this.#modules.call(job, { log: (text, cutBytes = 0) => log(text, cutBytes) });
    this.#busyMs += this.#clock.monotonic() - startMs;
    this.#turn ??= this.#nextTurn();
    if (answer === undefined) throw new MillraceError("Internal", "a WASM module was called that nobody knows");
    return answer;
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => {
      setImmediate(() => {
        this.#busyMs = 0;
        this.#turn = undefined;
        resolve();
      });
    });
  }
}
