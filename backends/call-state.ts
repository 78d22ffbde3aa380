import type { Clock } from "../engine/clock.ts";
import { MillraceError, toMillraceError } from "../engine/errors.ts";
import type { ProcessorRequest, ProcessorResponse } from "../engine/processor.ts";
import type { Attempt } from "../engine/run/run-options.ts";
import { accept, withoutSecrets } from "./accept.ts";
import { AttemptContext } from "./attempt-context.ts";
import type { AttemptTime, CallLimits, LoadedProcessor } from "./backend.ts";
import type { BudgetTicket, ByteBudget } from "./byte-budget.ts";
import { type Deadlines, Expiring } from "./deadlines.ts";
import type { Secrets } from "./secrets.ts";
import type { Owner } from "./turns.ts";

/** What the calls of one processor share. */
export interface CallHost {
  readonly processor: LoadedProcessor;
  readonly limits: CallLimits;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly budget: ByteBudget;
  /** Gives the secrets as they are now; throws MillraceError where one cannot be had. */
  readonly secrets: () => Secrets;
  /** The call has ended, or left the queue: its place is free. Called once for each call that waited or started. */
  left(call: Call): void;
}

/**
 * New → Waiting (for a place) → Budgeted (waits for bytes) → Running → Ended. A call whose time is up, or that was
 * cancelled, has been answered but stays Lingering with its place and bytes until the processor has really let go.
 */
type CallState = "New" | "Waiting" | "Budgeted" | "Running" | "Lingering" | "Ended";

const next: Readonly<Record<CallState, readonly CallState[]>> = {
  New: ["Waiting", "Budgeted", "Ended"],
  Waiting: ["Budgeted", "Ended"],
  Budgeted: ["Running", "Ended"],
  Running: ["Lingering", "Ended"],
  Lingering: ["Ended"],
  Ended: [],
};

/** How long an aborted call may go on before its place is given away, in milliseconds: a processor that never lets go must not block the others for ever. */
const lingerMs = 10_000;

/** One call of one processor, from the queue to the answer. */
export class Call extends Expiring implements BudgetTicket, AttemptTime {
  readonly bytes: number;
  readonly owner: Owner;
  readonly #host: CallHost;
  readonly #request: ProcessorRequest;
  readonly #context: AttemptContext;
  readonly #signal: AbortSignal;
  readonly #resolve: (response: ProcessorResponse) => void;
  readonly #reject: (error: MillraceError) => void;
  #state: CallState = "New";
  /** What was left of its time when it was stopped; undefined: it runs. */
  #pausedMs: number | undefined;

  constructor(
    host: CallHost,
    attempt: Attempt,
    request: ProcessorRequest,
    signal: AbortSignal,
    resolve: (response: ProcessorResponse) => void,
    reject: (error: MillraceError) => void,
  ) {
    super();
    this.#host = host;
    this.#request = request;
    this.#context = new AttemptContext(attempt, this, host.clock);
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
    this.owner = { namespace: attempt.execution.namespace, processor: host.processor.name };
    this.bytes = request.payload.size + host.limits.maxOutputBytes;
  }

  /** Has no place yet; `start` will be called. */
  wait(): void {
    this.#go("Waiting");
    this.#signal.addEventListener("abort", this.#onAbort);
  }

  /** Has a place; runs as soon as its bytes are granted. */
  start(): void {
    if (this.#state === "New") this.#signal.addEventListener("abort", this.#onAbort);
    this.#go("Budgeted");
    this.#host.budget.take(this);
  }

  granted(): void {
    this.#go("Running");
    const { processor, deadlines, clock } = this.#host;
    deadlines.add(this, clock.monotonic() + this.#context.timeoutMs);
    try {
      this.#context.ownSecrets = this.#host.secrets();
      processor.process(this.#request, this.#context).then(this.#answered, this.#failed);
    } catch (thrown) {
      this.#failed(thrown);
    }
  }

  override expire(): void {
    if (this.#state === "Lingering") {
      this.#end();
      return;
    }
    const { processor } = this.#host;
    const timeoutMs = this.#context.timeoutMs;
    this.abandon(
      new MillraceError("DeadlineExceeded", `${processor.name} did not answer within its timeout of ${timeoutMs} ms`),
    );
  }

  pause(): void {
    if (this.#state !== "Running" || this.#pausedMs !== undefined) return;
    const { deadlines, clock } = this.#host;
    this.#pausedMs = Math.max(0, this.dueMs - clock.monotonic());
    deadlines.remove(this);
  }

  resume(): number {
    const { deadlines, clock } = this.#host;
    const nowMs = clock.monotonic();
    if (this.#state !== "Running") return 0;
    if (this.#pausedMs !== undefined) deadlines.add(this, nowMs + this.#pausedMs);
    this.#pausedMs = undefined;
    return Math.max(0, this.dueMs - nowMs);
  }

  /** Answers with the error before it got a place. */
  fail(error: MillraceError): void {
    this.#go("Ended");
    this.#reject(error);
  }

  /** Answers with the error at once, and tells the processor by its signal, if it runs. */
  abandon(reason: MillraceError): void {
    if (this.#state === "Lingering" || this.#state === "Ended") return;
    this.#context.endLog();
    this.#reject(reason);
    if (this.#state !== "Running") {
      this.#end();
      return;
    }
    this.#go("Lingering");
    this.#signal.removeEventListener("abort", this.#onAbort);
    const { deadlines, clock } = this.#host;
    deadlines.remove(this);
    deadlines.add(this, clock.monotonic() + lingerMs);
    this.#context.abort(reason);
  }

  readonly #onAbort = (): void => this.abandon(cancellation(this.#signal, this.#host.processor.name));

  readonly #answered = (response: ProcessorResponse): void => {
    if (this.#state === "Running") {
      this.#context.endLog();
      try {
        this.#resolve(accept(response, this.#request, this.#host, this.#context.ownSecrets));
      } catch (thrown) {
        this.#reject(toMillraceError(thrown));
      }
    }
    this.#end();
  };

  readonly #failed = (thrown: unknown): void => {
    if (this.#state === "Running") {
      this.#context.endLog();
      this.#reject(withoutSecrets(toMillraceError(thrown), this.#context.ownSecrets));
    }
    this.#end();
  };

  /** Gives the place and the bytes back. Once: a processor that answers after the linger finds it done. */
  #end(): void {
    const before = this.#state;
    if (before === "Ended") return;
    this.#go("Ended");
    if (before === "New") return;
    this.#signal.removeEventListener("abort", this.#onAbort);
    const { deadlines, budget } = this.#host;
    deadlines.remove(this);
    if (before === "Budgeted") budget.withdraw(this);
    if (before === "Running" || before === "Lingering") budget.release(this);
    this.#host.left(this);
  }

  #go(state: CallState): void {
    if (!next[this.#state].includes(state)) throw new Error(`a call cannot go from ${this.#state} to ${state}`);
    this.#state = state;
  }
}

/** Why `signal` aborted, as one of the closed set: the engine's own reason, else Cancelled. */
export function cancellation(signal: AbortSignal, name: string): MillraceError {
  if (signal.reason instanceof MillraceError) return signal.reason;
  return new MillraceError("Cancelled", `the call of ${name} was cancelled`, { cause: signal.reason });
}
