import { type ErrorCode, MillraceError } from "../../engine/errors.ts";
import { delayOf } from "../retry-after.ts";

/** The names of gRPC's status codes, by number (grpc/grpc `doc/statuscodes.md`). */
export const grpcStatusNames = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

export type GrpcStatusName = (typeof grpcStatusNames)[number];

/** What can go wrong without any status from the server. */
export type FaultName = "NotReached" | "LostInCall" | "TooLarge" | "Malformed" | "Redirect";

export type HttpStatusName =
  | "400"
  | "401"
  | "403"
  | "404"
  | "405"
  | "408"
  | "410"
  | "413"
  | "425"
  | "429"
  | "431"
  | "500"
  | "501"
  | "502"
  | "503"
  | "504"
  | "4xx"
  | "5xx";

/**
 * The one table from what the network and servers say to the closed set of error codes. `docs/rpc.md` shows it with the reasons,
 * and a test compares the two. Left out: OK and 2xx, and whatever the processor itself declares (a response's `error`, a
 * problem document), which is no error of the call.
 *
 * - `fault`: NotReached is before the request was handed to a connection; LostInCall after it, so that the processor may have
 *   run; TooLarge is an answer, or gRPC's refusal of a message, over its limit; Malformed is an answer that is none.
 * - `grpc`: INTERNAL and CANCELLED (not by us) are how a server's end in mid-call is seen through proxies; UNKNOWN, like
 *   HTTP's 500, is what a server answers when its handler throws, which is a crash in a local module too.
 * - `http`: 4xx and 5xx stand for those not named. 401, 403 and their gRPC kin are the user's to mend, so not retried.
 */
export const statusTable = {
  fault: {
    NotReached: "Unavailable",
    LostInCall: "ProcessorCrashed",
    TooLarge: "PayloadTooLarge",
    Malformed: "ProcessorCrashed",
    Redirect: "NotFound",
  },
  grpc: {
    CANCELLED: "ProcessorCrashed",
    UNKNOWN: "ProcessorCrashed",
    INVALID_ARGUMENT: "InvalidInput",
    DEADLINE_EXCEEDED: "DeadlineExceeded",
    NOT_FOUND: "NotFound",
    ALREADY_EXISTS: "ProcessorFailed",
    PERMISSION_DENIED: "InvalidInput",
    RESOURCE_EXHAUSTED: "ResourceExhausted",
    FAILED_PRECONDITION: "ProcessorFailed",
    ABORTED: "Unavailable",
    OUT_OF_RANGE: "InvalidInput",
    UNIMPLEMENTED: "NotFound",
    INTERNAL: "ProcessorCrashed",
    UNAVAILABLE: "Unavailable",
    DATA_LOSS: "ProcessorFailed",
    UNAUTHENTICATED: "InvalidInput",
  },
  http: {
    "400": "InvalidInput",
    "401": "InvalidInput",
    "403": "InvalidInput",
    "404": "NotFound",
    "405": "NotFound",
    "408": "Unavailable",
    "410": "NotFound",
    "413": "PayloadTooLarge",
    "425": "Unavailable",
    "429": "ResourceExhausted",
    "431": "PayloadTooLarge",
    "500": "ProcessorCrashed",
    "501": "NotFound",
    "502": "Unavailable",
    "503": "Unavailable",
    "504": "Unavailable",
    "4xx": "InvalidInput",
    "5xx": "ProcessorCrashed",
  },
} as const satisfies {
  fault: Record<FaultName, ErrorCode>;
  grpc: Record<Exclude<GrpcStatusName, "OK">, ErrorCode>;
  http: Record<HttpStatusName, ErrorCode>;
};

/** The code of an HTTP status from 400 on. */
export function httpCode(status: number): ErrorCode {
  const rows: Readonly<Record<string, ErrorCode>> = statusTable.http;
  return rows[String(status)] ?? (status < 500 ? statusTable.http["4xx"] : statusTable.http["5xx"]);
}

/** A call that went wrong without a status. `message` says at which endpoint, and what. */
export function faultError(fault: FaultName, message: string, cause?: unknown): MillraceError {
  return new MillraceError(statusTable.fault[fault], message, { cause });
}

/** A status other than OK, as grpc-js gives it: the server's own, or one that the client library made up. */
export interface GrpcFailure {
  readonly status: number;
  readonly details: string;
  /** The value of the trailer `grpc-retry-pushback-ms`, where there is one. */
  readonly pushback: string | undefined;
  readonly cause: unknown;
}

/** Translates a gRPC status. grpc-js names its own faults only in the details, so these are told apart by their text. */
export function grpcError(endpoint: string, failure: GrpcFailure): MillraceError {
  const name = grpcStatusNames[failure.status] ?? "UNKNOWN";
  const fault = grpcFault(name, failure.details);
  const code = fault === undefined ? statusTable.grpc[name === "OK" ? "UNKNOWN" : name] : statusTable.fault[fault];
  const wait = failure.pushback === undefined ? undefined : delayOf(failure.pushback, 1);
  return new MillraceError(code, `${endpoint} answered ${name}: ${failure.details || "no details given"}`, {
    cause: failure.cause,
    ...(wait === undefined ? {} : { retryAfterMs: wait }),
  });
}

function grpcFault(name: GrpcStatusName, details: string): FaultName | undefined {
  switch (name) {
    case "RESOURCE_EXHAUSTED":
      // Every implementation's words for a message over max_receive_message_length, on either side.
      return /message (?:after decompression )?larger than max/i.test(details) ? "TooLarge" : undefined;
    case "UNAVAILABLE":
      return /^Connection dropped$|^(?:read|write) E[A-Z]+/.test(details) ? "LostInCall" : undefined;
    case "INTERNAL":
      return details.startsWith("Response message parsing error") ? "Malformed" : undefined;
    default:
      return undefined;
  }
}

/** Errors of undici and its sockets that say more than whether the request had been sent. */
const faultsByErrorCode: Readonly<Record<string, FaultName>> = {
  UND_ERR_HEADERS_OVERFLOW: "TooLarge",
  UND_ERR_RES_EXCEEDED_MAX_SIZE: "TooLarge",
};

/** Translates an error of the connection. `sent`: the request had been handed to a connection, so the processor may have run. */
export function connectionError(
  endpoint: string,
  error: Error & { readonly code?: string },
  sent: boolean,
): MillraceError {
  const code = error.code ?? "";
  if (error.name === "HTTPParserError") {
    return faultError("Malformed", `${endpoint} answered something that is not HTTP/1.1: ${error.message}`, error);
  }
  const fault = faultsByErrorCode[code] ?? (sent ? "LostInCall" : "NotReached");
  const what = { NotReached: "cannot be reached", LostInCall: "was lost in mid-call" }[fault as string];
  return faultError(fault, `${endpoint} ${what ?? "sent too large an answer"}: ${error.message || code}`, error);
}
