import type { Metadata } from "../../engine/metadata.ts";
import { binaryType, type Json, type JsonObject, jsonType, textType } from "../../engine/payload.ts";
import type { ExecutionIdentity, ProcessorError } from "../../engine/processor.ts";

/** What an ES module's function, and a built-in, is given. */
export interface AuthorRequest {
  /** The whole payload. Not to be written to. */
  readonly payload: Uint8Array;
  readonly contentType: string;
  /** That of the direct dependencies, as `<step>.<key>`. */
  readonly metadata: Metadata;
  /** The step's options merged over the Processor's. */
  readonly options: JsonObject;
}

/** Which attempt of which step of which run this is. */
export interface AuthorContext {
  readonly execution: ExecutionIdentity;
  /** The row's name: `outer/inner` for a step of an inlined Pipeline. */
  readonly step: string;
  /** Which item of a fan-out, from 0; absent: the step has no `forEach`. */
  readonly item?: number;
  /** From 1. */
  readonly attempt: number;
  /** The same for every attempt of the same work, across retries and crashes. */
  readonly idempotencyKey: string;
  /** What is left of the attempt's timeout when the function is called, in milliseconds. */
  readonly remainingMs: number;
  /** W3C trace context, where the run is traced. */
  readonly traceparent?: string;
  /** Values of the Processor's `spec.secrets` by name, as they are when the attempt starts. Not to be given on in a result. */
  readonly secrets: Readonly<Record<string, string>>;
  /** Adds to the attempt's log, a line or several; secrets are masked, and what is beyond 64 KiB is cut. */
  readonly log: (text: string) => void;
  /** Aborts at the deadline and on cancellation; a worker thread that goes on is terminated soon afterwards. */
  readonly signal: AbortSignal;
}

/** A result. At most one of `payload` and `json`; neither: an empty payload. */
export interface AuthorResult {
  readonly payload?: Uint8Array | string;
  /** Any JSON value. */
  readonly json?: Json;
  /** Default: `text/plain; charset=utf-8` for a string, `application/json` for `json`, else `application/octet-stream`. */
  readonly contentType?: string;
  /** Strings by name, at most 8 KiB; default none. */
  readonly metadata?: Metadata;
}

/** A declared failure. */
export interface AuthorFailure {
  readonly error: {
    /** The author's own. `InvalidInput` is taken as Millrace's code of that name, any other as ProcessorFailed. */
    readonly code: string;
    readonly message: string;
    /** Default false. */
    readonly retryable?: boolean;
    /** How long to wait before another attempt, in milliseconds. */
    readonly retryAfterMs?: number;
  };
}

/** A string is short for `{payload: string}`, bytes for `{payload: bytes}`. */
export type AuthorResponse = AuthorResult | AuthorFailure | string | Uint8Array;

/** What an ES module exports, by default as `process`. */
export type AuthorProcess = (
  request: AuthorRequest,
  context: AuthorContext,
) => AuthorResponse | Promise<AuthorResponse>;

/** An author's response with every default filled in; structured-cloneable. */
export type Answer =
  | { readonly ok: true; readonly bytes: Uint8Array; readonly contentType: string; readonly metadata: Metadata }
  | { readonly ok: false; readonly error: ProcessorError };

/** A function answered with something that is no response. The message says with what, and what would be right. */
export class InvalidAnswer extends Error {
  override readonly name = "InvalidAnswer";
}

/** What an object that somebody answered with may have; nothing is known of the values. */
interface Fields {
  readonly payload?: unknown;
  readonly json?: unknown;
  readonly contentType?: unknown;
  readonly metadata?: unknown;
  readonly error?: unknown;
}

const encoder = new TextEncoder();
const resultKeys: ReadonlySet<string> = new Set(["payload", "json", "contentType", "metadata"]);
const wanted =
  "it must be a string, a Uint8Array, {payload?, json?, contentType?, metadata?} or {error: {code, message, retryable?}}";

/** @throws InvalidAnswer when it is no {@link AuthorResponse} */
export function interpret(response: unknown): Answer {
  if (typeof response === "string") return textAnswer(response);
  if (response instanceof Uint8Array) return { ok: true, bytes: response, contentType: binaryType, metadata: {} };
  if (typeof response !== "object" || response === null || Array.isArray(response)) {
    throw new InvalidAnswer(`the answer is ${described(response)}; ${wanted}`);
  }
  const fields: Fields = response;
  if (fields.error !== undefined) return { ok: false, error: failureOf(fields.error) };
  for (const key of Object.keys(fields)) {
    if (!resultKeys.has(key))
      throw new InvalidAnswer(`the answer has the field ${JSON.stringify(key.slice(0, 80))}; ${wanted}`);
  }
  return resultOf(fields);
}

function textAnswer(text: string): Answer {
  return { ok: true, bytes: encoder.encode(text), contentType: textType, metadata: {} };
}

function resultOf(fields: Fields): Answer {
  const { payload, json, contentType, metadata } = fields;
  if (payload !== undefined && json !== undefined) {
    throw new InvalidAnswer("the answer has both payload and json; give one of them");
  }
  if (contentType !== undefined && typeof contentType !== "string") {
    throw new InvalidAnswer(`contentType is ${described(contentType)}; it must be a string`);
  }
  const [bytes, defaultType] = json === undefined ? bytesOf(payload) : jsonBytes(json);
  return { ok: true, bytes, contentType: contentType ?? defaultType, metadata: metadataOf(metadata) };
}

function bytesOf(payload: unknown): [Uint8Array, string] {
  if (payload === undefined) return [new Uint8Array(0), binaryType];
  if (typeof payload === "string") return [encoder.encode(payload), textType];
  if (payload instanceof Uint8Array) return [payload, binaryType];
  throw new InvalidAnswer(
    `payload is ${described(payload)}; it must be a Uint8Array or a string (a value goes into json)`,
  );
}

function jsonBytes(json: unknown): [Uint8Array, string] {
  const text: string | undefined = JSON.stringify(json);
  if (text === undefined) throw new InvalidAnswer(`json is ${described(json)}; it must be a JSON value`);
  return [encoder.encode(text), jsonType];
}

/** Keys and sizes are call.ts's to check, the same for every backend; that they are strings is checked here. */
function metadataOf(metadata: unknown): Metadata {
  if (metadata === undefined) return {};
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) {
    throw new InvalidAnswer(`metadata is ${described(metadata)}; it must be an object of strings`);
  }
  const entries = Object.entries(metadata);
  for (const [key, value] of entries) {
    if (typeof value !== "string") {
      throw new InvalidAnswer(
        `metadata ${JSON.stringify(key.slice(0, 80))} is ${described(value)}; it must be a string`,
      );
    }
  }
  return Object.fromEntries(entries);
}

function failureOf(error: unknown): ProcessorError {
  const { code, message, retryable, retryAfterMs } = (
    typeof error === "object" && error !== null ? error : {}
  ) as Record<string, unknown>;
  if (typeof code !== "string" || code === "" || typeof message !== "string") {
    throw new InvalidAnswer("error must be {code, message, retryable?, retryAfterMs?}, code and message being strings");
  }
  const after = typeof retryAfterMs === "number" && retryAfterMs >= 0 ? { retryAfterMs } : {};
  return { code, message, retryable: retryable === true, ...after };
}

function described(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") return "an object";
  return `a ${typeof value}`;
}
