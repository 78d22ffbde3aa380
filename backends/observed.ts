import type { Clock } from "../engine/clock.ts";
import { type ErrorCode, toMillraceError } from "../engine/errors.ts";
import type { JsonObject } from "../engine/payload.ts";
import type { CallContext, ProcessorRequest, ProcessorResponse } from "../engine/processor.ts";
import type { Backend, BackendKind, LoadedModule, LoadedProcessor, ProcessorSpec } from "./backend.ts";

/** Succeeded; Failed: the processor declared a failure; else the code of what was thrown. */
export type CallOutcome = "Succeeded" | "Failed" | ErrorCode;

/** Where measurements go. Called synchronously on the path of every call: must be fast and must not throw. */
export interface Observer {
  /** A processor was loaded, or could not be. */
  loaded(backend: BackendKind, outcome: "Succeeded" | ErrorCode, durationMs: number): void;
  /** The backend has ended one attempt; waiting for a place is not in it. */
  called(backend: BackendKind, processor: string, outcome: CallOutcome, durationMs: number): void;
}

/** The same backend, measured. */
export function observed(backend: Backend, observer: Observer, clock: Clock): Backend {
  return new ObservedBackend(backend, observer, clock);
}

class ObservedBackend implements Backend {
  readonly kind: BackendKind;
  readonly pools?: NonNullable<Backend["pools"]>;
  readonly #backend: Backend;
  readonly #observer: Observer;
  readonly #clock: Clock;

  constructor(backend: Backend, observer: Observer, clock: Clock) {
    this.kind = backend.kind;
    this.#backend = backend;
    this.#observer = observer;
    this.#clock = clock;
    if (backend.pools !== undefined) this.pools = backend.pools.bind(backend);
  }

  async load(spec: ProcessorSpec, signal: AbortSignal): Promise<LoadedProcessor> {
    const startMs = this.#clock.monotonic();
    try {
      const processor = await this.#backend.load(spec, signal);
      this.#observer.loaded(this.kind, "Succeeded", this.#clock.monotonic() - startMs);
      return new ObservedProcessor(processor, this.kind, this.#observer, this.#clock);
    } catch (error) {
      this.#observer.loaded(this.kind, toMillraceError(error).code, this.#clock.monotonic() - startMs);
      throw error;
    }
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#backend[Symbol.asyncDispose]();
  }
}

class ObservedProcessor implements LoadedProcessor {
  readonly name: string;
  readonly intent: LoadedProcessor["intent"];
  readonly digests: readonly string[];
  readonly module?: LoadedModule;
  readonly maxConcurrency?: number;
  readonly optionsSchema?: JsonObject;
  readonly probe?: NonNullable<LoadedProcessor["probe"]>;
  readonly #processor: LoadedProcessor;
  readonly #kind: BackendKind;
  readonly #observer: Observer;
  readonly #clock: Clock;

  constructor(processor: LoadedProcessor, kind: BackendKind, observer: Observer, clock: Clock) {
    this.name = processor.name;
    this.intent = processor.intent;
    this.digests = processor.digests;
    this.#processor = processor;
    this.#kind = kind;
    this.#observer = observer;
    this.#clock = clock;
    if (processor.module !== undefined) this.module = processor.module;
    if (processor.optionsSchema !== undefined) this.optionsSchema = processor.optionsSchema;
    if (processor.maxConcurrency !== undefined) this.maxConcurrency = processor.maxConcurrency;
    if (processor.probe !== undefined) this.probe = processor.probe.bind(processor);
  }

  async process(request: ProcessorRequest, context: CallContext): Promise<ProcessorResponse> {
    const startMs = this.#clock.monotonic();
    let outcome: CallOutcome = "Internal";
    try {
      const response = await this.#processor.process(request, context);
      outcome = response.ok ? "Succeeded" : "Failed";
      return response;
    } catch (error) {
      outcome = toMillraceError(context.signal.aborted ? context.signal.reason : error).code;
      throw error;
    } finally {
      this.#observer.called(this.#kind, this.name, outcome, this.#clock.monotonic() - startMs);
    }
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#processor[Symbol.asyncDispose]();
  }
}
