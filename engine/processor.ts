import type { Metadata } from "./metadata.ts";
import type { JsonObject, Payload } from "./payload.ts";

/** Transform: the output replaces the payload. Analyze: the payload passes through, the processor contributes metadata only. */
export type Intent = "Transform" | "Analyze";

/** What a processor is given. `payload.contentType` is the request's content type. */
export interface ProcessorRequest {
  readonly payload: Payload;
  /** That of the direct dependencies, as `<step>.<key>`; at most 8 KiB. */
  readonly metadata: Metadata;
  /** The step's options merged over the Processor's; at most 4 KiB of JSON. */
  readonly options: JsonObject;
}

/** Which attempt of which step of which run this is. */
export interface CallContext {
  readonly execution: ExecutionIdentity;
  /** The row's name: `outer/inner` for a step of an inlined Pipeline. */
  readonly step: string;
  /** Which item of a fan-out, from 0. */
  readonly item?: number;
  /** From 1. */
  readonly attempt: number;
  /** `<execution uid>/<step>[/<item>]`: the same for every attempt of the same work, across retries and crashes. */
  readonly idempotencyKey: string;
  /** What is left for this attempt when it starts, in milliseconds. */
  readonly timeoutMs: number;
  /** W3C trace context, where the run is traced. */
  readonly traceparent?: string;
  /** Of the Processor's `spec.secrets`, by name, as they are when the attempt starts. Never written anywhere. */
  readonly secrets: Readonly<Record<string, string>>;
  /** Adds to the attempt's log: a line, or several. What is beyond 64 KiB is cut, and the cut is marked. Does not throw. */
  readonly log: (text: string) => void;
  /** Aborts at the deadline (reason: MillraceError DeadlineExceeded) and on cancellation (Cancelled). */
  readonly signal: AbortSignal;
}

export interface ExecutionIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** A failure that the processor itself declared. */
export interface ProcessorError {
  /** The processor's own code. `InvalidInput` is taken as the code of that name, any other as ProcessorFailed. */
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
}

/** A declared failure is a value; broken infrastructure throws a MillraceError. */
export type ProcessorResponse = { readonly metadata: Metadata } & (
  | { readonly ok: true; readonly payload: Payload }
  | { readonly ok: false; readonly error: ProcessorError }
);

/** One operation, loaded and ready to be called; what a backend gives. */
export interface Processor extends AsyncDisposable {
  readonly name: string;
  readonly intent: Intent;
  process(request: ProcessorRequest, context: CallContext): Promise<ProcessorResponse>;
}
