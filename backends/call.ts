import type { Ports } from "../engine/clock.ts";
import { MillraceError } from "../engine/errors.ts";
import { maxMetadataBytes, maxOptionsBytes, metadataBytes } from "../engine/metadata.ts";
import type { JsonObject } from "../engine/payload.ts";
import type { ProcessorRequest, ProcessorResponse } from "../engine/processor.ts";
import type { Attempt } from "../engine/run/run-options.ts";
import type { CallLimits, LoadedProcessor } from "./backend.ts";
import type { ByteBudget } from "./byte-budget.ts";
import { Call, type CallHost, cancellation } from "./call-state.ts";
import { Deadlines } from "./deadlines.ts";
import { noSecrets, type Secrets } from "./secrets.ts";

/** What a {@link Caller} is given besides the processor. */
export interface CallerOptions {
  readonly limits: CallLimits;
  readonly ports: Ports;
  /** Shared by all Callers of the process. A call in flight takes its input's size and `maxOutputBytes` of it. */
  readonly budget: ByteBudget;
  /** Read when an attempt starts: what it gives then is the attempt's to its end. Throws MillraceError. Default: there are none. */
  readonly secrets?: () => Secrets;
  /** Calls that may wait for one of `maxConcurrency` places; default 10,000. One more is refused with ResourceExhausted. */
  readonly maxWaiters?: number;
  /** How long {@link Caller} waits for its calls when it is disposed before it aborts them, in milliseconds; default 30,000. */
  readonly drainMs?: number;
}

/** How many calls are in flight, how many wait for a place, and how many were refused because the queue was full. */
export interface CallerStats {
  readonly inFlight: number;
  readonly waiting: number;
  readonly rejected: number;
}

const defaultMaxWaiters = 10_000;
const defaultDrainMs = 30_000;

/**
 * One attempt, the same for every backend: concurrency with a bounded queue, sizes of what goes in and comes out,
 * deadline and cancellation, the rule that an Analyze processor changes no payload, and the closed set of errors.
 * Owns the processor: disposing it refuses new calls, waits for those in flight, aborts what is left, and disposes the
 * processor.
 */
export class Caller implements AsyncDisposable {
  readonly processor: LoadedProcessor;
  readonly limits: CallLimits;
  readonly #host: CallHost;
  readonly #ports: Ports;
  readonly #deadlines: Deadlines;
  readonly #maxConcurrency: number;
  readonly #maxWaiters: number;
  readonly #drainMs: number;
  readonly #inFlight = new Set<Call>();
  /** In the order of their coming. */
  readonly #waiting = new Set<Call>();
  #rejected = 0;
  readonly #checkedOptions = new WeakSet<JsonObject>();
  #disposal: Promise<void> | undefined;
  #onIdle: (() => void) | undefined;

  constructor(processor: LoadedProcessor, options: CallerOptions) {
    this.processor = processor;
    this.limits = options.limits;
    this.#ports = options.ports;
    this.#maxConcurrency = Math.min(
      options.limits.maxConcurrency,
      processor.maxConcurrency ?? Number.POSITIVE_INFINITY,
    );
    this.#maxWaiters = options.maxWaiters ?? defaultMaxWaiters;
    this.#drainMs = options.drainMs ?? defaultDrainMs;
    this.#deadlines = new Deadlines(options.ports.clock, options.ports.scheduler);
    this.#host = {
      processor,
      limits: options.limits,
      clock: options.ports.clock,
      deadlines: this.#deadlines,
      budget: options.budget,
      secrets: options.secrets ?? (() => noSecrets),
      left: (call) => this.#left(call),
    };
  }

  get stats(): CallerStats {
    return { inFlight: this.#inFlight.size, waiting: this.#waiting.size, rejected: this.#rejected };
  }

  /**
   * Makes one attempt. Settles within `attempt.timeoutMs` of its start, or as soon as `signal` aborts, whatever the
   * processor does; waiting for a place does not count towards the timeout. Rejects only with a MillraceError:
   * PayloadTooLarge, ResourceExhausted (the queue is full), DeadlineExceeded, Cancelled (or `signal`'s own reason),
   * Unavailable (the processor is being unloaded), and whatever the backend throws; what is no MillraceError is Internal.
   */
  call(attempt: Attempt, request: ProcessorRequest, signal: AbortSignal): Promise<ProcessorResponse> {
    const refusal = this.#refusal(request);
    if (refusal !== undefined) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      const call = new Call(this.#host, attempt, request, signal, resolve, reject);
      if (signal.aborted) call.abandon(cancellation(signal, this.processor.name));
      else this.#enter(call);
    });
  }

  /** Idempotent. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  #enter(call: Call): void {
    if (this.#inFlight.size < this.#maxConcurrency) {
      this.#inFlight.add(call);
      call.start();
    } else if (this.#waiting.size < this.#maxWaiters) {
      this.#waiting.add(call);
      call.wait();
    } else {
      this.#rejected += 1;
      call.fail(
        new MillraceError(
          "ResourceExhausted",
          `${this.processor.name} has ${this.#maxConcurrency} calls in flight, as many as it may (maxConcurrency), and ${this.#maxWaiters} waiting; no more may wait`,
        ),
      );
    }
  }

  /** A call has ended, or was cancelled while it waited: the place goes to the one that waited longest. */
  #left(call: Call): void {
    if (!this.#inFlight.delete(call)) {
      this.#waiting.delete(call);
    } else if (this.#waiting.size > 0) {
      const [next] = this.#waiting;
      if (next !== undefined) {
        this.#waiting.delete(next);
        this.#inFlight.add(next);
        next.start();
      }
    }
    if (this.#onIdle !== undefined && this.#inFlight.size === 0 && this.#waiting.size === 0) this.#onIdle();
  }

  #refusal(request: ProcessorRequest): MillraceError | undefined {
    const name = this.processor.name;
    if (this.#disposal !== undefined) {
      return new MillraceError("Unavailable", `${name} is being unloaded and takes no more calls`);
    }
    if (request.payload.size > this.limits.maxInputBytes) {
      return tooLarge(`the input of ${name}`, request.payload.size, this.limits.maxInputBytes, " (maxInputSize)");
    }
    const bytes = metadataBytes(request.metadata);
    if (bytes > maxMetadataBytes) {
      return tooLarge(`the metadata that ${name} would receive`, bytes, maxMetadataBytes, "");
    }
    return this.#checkedOptions.has(request.options) ? undefined : this.#optionsRefusal(request.options);
  }

  /** A plan resolves a step's options once, so that the same object comes again and again: it is measured once. */
  #optionsRefusal(options: JsonObject): MillraceError | undefined {
    const bytes = Buffer.byteLength(JSON.stringify(options));
    if (bytes > maxOptionsBytes) return tooLarge(`the options of ${this.processor.name}`, bytes, maxOptionsBytes, "");
    this.#checkedOptions.add(options);
    return undefined;
  }

  async #dispose(): Promise<void> {
    const timer = this.#ports.scheduler.after(this.#drainMs, () => this.#abortAll());
    await this.#idle();
    timer.cancel();
    this.#deadlines[Symbol.dispose]();
    await this.processor[Symbol.asyncDispose]();
  }

  #idle(): Promise<void> {
    if (this.#inFlight.size === 0 && this.#waiting.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  #abortAll(): void {
    const reason = new MillraceError("Unavailable", `${this.processor.name} was unloaded before the call had ended`);
    for (const call of [...this.#waiting, ...this.#inFlight]) call.abandon(reason);
  }
}

function tooLarge(what: string, bytes: number, maxBytes: number, field: string): MillraceError {
  return new MillraceError("PayloadTooLarge", `${what}: ${bytes} bytes, over the limit of ${maxBytes} bytes${field}`);
}
