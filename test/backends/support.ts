import type { CallLimits, Implementation, LoadedProcessor, ProcessorSpec } from "../../backends/backend.ts";
import { ByteBudget } from "../../backends/byte-budget.ts";
import { Caller, type CallerOptions } from "../../backends/call.ts";
import { type Ports, systemPorts } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import { jsonPayload, textPayload } from "../../engine/payload.ts";
import type { CallContext, Intent, ProcessorRequest, ProcessorResponse } from "../../engine/processor.ts";
import type { Attempt } from "../../engine/run/run-options.ts";

export const limits: CallLimits = {
  timeoutMs: 5000,
  maxInputBytes: 4 * 1024 * 1024,
  maxOutputBytes: 4 * 1024 * 1024,
  maxConcurrency: 64,
};

export function specOf(implementation: Implementation, name = "subject", intent: Intent = "Transform"): ProcessorSpec {
  return { namespace: "test", name, intent, implementation, limits };
}

export function attemptOf(changes: Partial<Attempt> = {}): Attempt {
  return {
    step: 0,
    stepName: "step",
    processor: "subject",
    attempt: 1,
    idempotencyKey: "uid/step",
    timeoutMs: limits.timeoutMs,
    execution: { namespace: "test", name: "run", uid: "uid" },
    ...changes,
  };
}

export function requestOf(input: unknown = "hello", options: ProcessorRequest["options"] = {}): ProcessorRequest {
  const payload = typeof input === "string" ? textPayload(input) : jsonPayload(input as never);
  return { payload, metadata: {}, options };
}

/** A signal that never aborts. */
export const never = new AbortController().signal;

export type ProcessFunction = (request: ProcessorRequest, context: CallContext) => Promise<ProcessorResponse>;

export function scripted(
  process: ProcessFunction,
  intent: Intent = "Transform",
): LoadedProcessor & { disposals: number } {
  return {
    name: "subject",
    intent,
    digests: [],
    disposals: 0,
    process,
    [Symbol.asyncDispose]() {
      this.disposals += 1;
      return Promise.resolve();
    },
  };
}

export const echoing: ProcessFunction = (request) =>
  Promise.resolve({ ok: true, payload: request.payload, metadata: {} });

export function callerOf(
  processor: LoadedProcessor,
  changes: Partial<CallLimits> = {},
  options: Partial<CallerOptions> = {},
): Caller {
  return new Caller(processor, {
    limits: { ...limits, ...changes },
    ports: systemPorts,
    budget: new ByteBudget(),
    ...options,
  });
}

/** The MillraceError that a promise rejects with; anything else fails the test. */
export async function rejection(promise: Promise<unknown>): Promise<MillraceError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof MillraceError) return error;
    throw new Error("rejected with something that is no MillraceError", { cause: error });
  }
  throw new Error("was expected to reject, and did not");
}

export async function textOf(response: ProcessorResponse): Promise<string> {
  if (!response.ok) throw new Error(`declared a failure: ${response.error.code}: ${response.error.message}`);
  return new TextDecoder().decode(await response.payload.bytes(never));
}

/** Lets everything that is ready run: promises, messages of workers, what they lead to. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Ports whose time goes on only by `advance`. */
export class ManualPorts implements Ports {
  #nowMs = 1000;
  readonly #timers = new Map<object, { readonly atMs: number; readonly callback: () => void }>();
  readonly random = () => 0.5;
  readonly clock = { now: () => this.#nowMs, monotonic: () => this.#nowMs };
  readonly scheduler = {
    after: (delayMs: number, callback: () => void) => {
      const handle = {};
      this.#timers.set(handle, { atMs: this.#nowMs + delayMs, callback });
      return { cancel: () => void this.#timers.delete(handle) };
    },
  };

  get timers(): number {
    return this.#timers.size;
  }

  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const due = [...this.#timers]
        .filter(([, { atMs }]) => atMs <= untilMs)
        .sort(([, a], [, b]) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      const [handle, { atMs, callback }] = due;
      this.#timers.delete(handle);
      this.#nowMs = Math.max(this.#nowMs, atMs);
      callback();
    }
    this.#nowMs = untilMs;
  }
}
