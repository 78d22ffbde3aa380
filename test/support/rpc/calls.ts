import type { Backend, CallLimits, GrpcEndpoint, HttpEndpoint, ProcessorSpec } from "../../../backends/backend.ts";
import { createRpcBackend } from "../../../backends/rpc/backend.ts";
import { systemPorts } from "../../../engine/clock.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { BytesPayload, textPayload } from "../../../engine/payload.ts";
import type { CallContext, ProcessorRequest } from "../../../engine/processor.ts";

export const defaultLimits: CallLimits = {
  timeoutMs: 5000,
  maxInputBytes: 4 * 1024 * 1024,
  maxOutputBytes: 4 * 1024 * 1024,
  maxConcurrency: 64,
};

export function grpcAt(endpoint: string, maxConnections = 4): GrpcEndpoint {
  return { kind: "GRPC", endpoint, maxConnections };
}

export function httpAt(endpoint: string, maxConnections = 4): HttpEndpoint {
  return { kind: "HTTP", endpoint, path: "/process", maxConnections };
}

export function specOf(
  implementation: GrpcEndpoint | HttpEndpoint,
  limits: Partial<CallLimits> = {},
  intent: ProcessorSpec["intent"] = "Transform",
): ProcessorSpec {
  return { namespace: "default", name: "words", intent, implementation, limits: { ...defaultLimits, ...limits } };
}

export function rpcBackend(): Backend {
  return createRpcBackend({ ports: systemPorts });
}

export function requestOf(text: string, more: Partial<ProcessorRequest> = {}): ProcessorRequest {
  return { payload: textPayload(text), metadata: {}, options: {}, ...more };
}

export function bytesRequest(bytes: number): ProcessorRequest {
  return requestOf("", { payload: new BytesPayload(new Uint8Array(bytes).fill(120), "application/octet-stream") });
}

export function contextOf(more: Partial<CallContext> = {}): CallContext {
  return {
    execution: { namespace: "default", name: "article-1", uid: "0b7e" },
    step: "count",
    attempt: 1,
    idempotencyKey: "0b7e/count",
    timeoutMs: 5000,
    secrets: {},
    log: () => undefined,
    signal: new AbortController().signal,
    ...more,
  };
}

/** The error that a promise rejects with; fails when it resolves or rejects with another kind. */
export async function millraceError(promise: Promise<unknown>): Promise<MillraceError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof MillraceError) return error;
    throw error;
  }
  throw new Error("expected a MillraceError, but the call succeeded");
}

/** Resolves once the condition holds; the test's own timeout is the limit. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
