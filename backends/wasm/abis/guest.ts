import type { ErrorCode } from "../../../engine/errors.ts";
import type { Metadata } from "../../../engine/metadata.ts";
import type { JsonObject } from "../../../engine/payload.ts";
import type { ExecutionIdentity, ProcessorError } from "../../../engine/processor.ts";
import type { AbiName } from "./contract.ts";

// What crosses between those who call modules and the threads that run them: plain data, by structured clone.

/** An admitted module as it is to be called: everything but the call. */
export interface GuestTarget {
  readonly module: WebAssembly.Module;
  /** Of its binary. */
  readonly bytes: number;
  readonly abi: AbiName;
  /** An exported function; of WaPC, an operation. */
  readonly entrypoint: string;
  readonly limits: GuestLimits;
  /** How many calls an instance serves before the next gets a fresh one, from 1. */
  readonly reuse: number;
}

/** What one instance may use, besides time. */
export interface GuestLimits {
  readonly maxMemoryBytes: number;
  /** Units of fuel for one call, that of making its instance included. */
  readonly fuel: number;
}

/** One call. */
export interface GuestRequest {
  readonly payload: Uint8Array;
  readonly contentType: string;
  readonly metadata: Metadata;
  readonly options: JsonObject;
  readonly context: GuestContext;
  readonly secrets: Readonly<Record<string, string>>;
  readonly capabilities: GuestCapabilities;
  /** A larger result is not copied out; its size is reported instead. */
  readonly maxOutputBytes: number;
}

/** What a guest is told of the call, as JSON. */
export interface GuestContext {
  readonly execution: ExecutionIdentity;
  readonly step: string;
  readonly item?: number;
  readonly attempt: number;
  readonly idempotencyKey: string;
  /** What was left when the call started, in milliseconds. */
  readonly timeoutMs: number;
  readonly traceparent?: string;
}

/** What a module is given beyond its input: nothing, unless its Processor says so. */
export interface GuestCapabilities {
  /** Host names, or `*.suffix`, that Extism's `http_request` may reach. */
  readonly allowedHosts: readonly string[];
  /** WASI's environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Extism's and waPC's configuration. */
  readonly config: Readonly<Record<string, string>>;
  /** Makes WASI's random numbers the same in every call; absent: the system's. */
  readonly randomSeed?: string;
}

export const noCapabilities: GuestCapabilities = { allowedHosts: [], env: {}, config: {} };

/** How a call ended, and what it took. */
export interface GuestAnswer {
  readonly result: GuestResult;
  /**
   * Units of fuel, also of a call that failed. Of one that trapped in a function with loops, by anything but `unreachable` (as a division by zero):
   * what it was at the last call that this function made, or before its entry, as loops count in a local meanwhile.
   */
  readonly fuel: number;
}

export type GuestResult =
  | {
      readonly kind: "Output";
      readonly payload: Uint8Array<ArrayBuffer>;
      readonly contentType: string;
      readonly metadata: Metadata;
    }
  | { readonly kind: "Failure"; readonly error: ProcessorError; readonly metadata: Metadata }
  | { readonly kind: "TooLarge"; readonly bytes: number }
  /** A MillraceError, which does not survive structured clone. */
  | { readonly kind: "Error"; readonly code: ErrorCode; readonly message: string };

/** What a call needs of the thread that it runs in. */
export interface GuestHost {
  /** Takes what a guest logs, `cutBytes` being what was left out at the text's end. */
  readonly log: (text: string, cutBytes?: number) => void;
  /** Makes an HTTP request and waits for its end. Absent: this guest has no network. Throws MillraceError. */
  readonly http?: (request: GuestHttpRequest) => GuestHttpResponse;
}

export interface GuestHttpRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

export interface GuestHttpResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}
