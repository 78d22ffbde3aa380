import { ApiError, type ApiStatus } from "../api/client.ts";
import type { TransportResponse } from "./transport.ts";

/** How much of an answer that is no Status goes into a message. */
const maxForeignBodyChars = 300;

/** An answer that is not 2xx as an ApiError; `nowMs` is needed where Retry-After is a date. */
export async function errorFromResponse(what: string, response: TransportResponse, nowMs: number): Promise<ApiError> {
  const body = await response.text().catch(() => "");
  const retryAfterMs = parseRetryAfter(response.header("retry-after"), nowMs);
  const status = statusFromBody(body) ?? foreignStatus(response.status, body);
  return new ApiError(explained(what, { ...status, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) }));
}

/** No answer: refused, reset, timed out, or no credentials to ask with. */
export function unreachable(what: string, server: string, cause: unknown): ApiError {
  const message = `${what}: cannot reach the Kubernetes API at ${server}: ${reasonOf(cause)}; check that the server is up and that the kubeconfig's server and certificates are right`;
  return new ApiError({ code: 0, reason: "Unreachable", message }, { cause });
}

/** A `kind: Status` object, as an answer or as the object of a watch's ERROR event. */
export function statusFromObject(object: unknown): ApiStatus | undefined {
  if (typeof object !== "object" || object === null) return undefined;
  const status = object as { kind?: unknown; code?: unknown; reason?: unknown; message?: unknown; details?: unknown };
  if (status.kind !== "Status") return undefined;
  const seconds = (status.details as { retryAfterSeconds?: unknown } | undefined)?.retryAfterSeconds;
  return {
    code: typeof status.code === "number" ? status.code : 500,
    reason: typeof status.reason === "string" ? status.reason : "Unknown",
    message: typeof status.message === "string" ? status.message : "the API server gave no message",
    ...(typeof seconds === "number" && seconds > 0 ? { retryAfterMs: seconds * 1000 } : {}),
  };
}

/** Seconds or an HTTP date, in milliseconds from now; undefined where absent or unreadable. */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\s*\d+(\.\d+)?\s*$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

/** Whether another write won, so that reading again and trying again is all there is to do. */
export function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.status.code === 409 && error.status.reason !== "AlreadyExists";
}

export function isAlreadyExists(error: unknown): boolean {
  return error instanceof ApiError && error.status.code === 409 && error.status.reason === "AlreadyExists";
}

export function isNotFound(error: unknown): boolean {
  return error instanceof ApiError && error.status.code === 404;
}

/** Whether the list or watch must start again from a fresh list. */
export function isGone(error: unknown): boolean {
  return error instanceof ApiError && error.status.code === 410;
}

/** No answer, 401, 429 or 5xx: asking again later may help. A refused object (400, 403, 404, 409, 413, 422) stays refused. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  const { code } = error.status;
  return code === 0 || code === 401 || code === 408 || code === 429 || code >= 500;
}

function statusFromBody(body: string): ApiStatus | undefined {
  try {
    return statusFromObject(JSON.parse(body));
  } catch {
    return undefined;
  }
}

function foreignStatus(code: number, body: string): ApiStatus {
  const text = body.trim().slice(0, maxForeignBodyChars);
  return { code, reason: "Unknown", message: `HTTP ${code}${text ? `: ${text}` : ""}` };
}

function explained(what: string, status: ApiStatus): ApiStatus {
  return { ...status, message: `${what}: ${status.message}${hintFor(status.code)}` };
}

function hintFor(code: number): string {
  if (code === 401) return "; the kubeconfig's credentials are missing, expired or of another cluster";
  if (code === 403) return "; grant it with a Role or ClusterRole bound to that user or service account";
  return "";
}

function reasonOf(cause: unknown): string {
  if (cause instanceof AggregateError && cause.errors.length > 0) return reasonOf(cause.errors[0]);
  return cause instanceof Error ? cause.message : String(cause);
}
