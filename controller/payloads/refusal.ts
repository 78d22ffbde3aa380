import type { ServerResponse } from "node:http";
import { type ErrorCode, type MillraceError, toMillraceError } from "../../engine/errors.ts";
import { ApiError } from "../api/client.ts";

/** A refusal, as the API server would put it. */
export class Refusal extends Error {
  readonly code: number;
  readonly reason: string;

  constructor(code: number, reason: string, message: string) {
    super(message);
    this.code = code;
    this.reason = reason;
  }
}

/** What was thrown, as the client is told. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof URIError) return new Refusal(404, "NotFound", "the digest is not decodable");
  if (error instanceof ApiError) return apiRefusal(error);
  return storeRefusal(toMillraceError(error));
}

/** Answers with a `kind: Status`; breaks the connection off where an answer has begun already. */
export function refuse(response: ServerResponse, refusal: Refusal): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { code, reason, message } = refusal;
  const status = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, reason, code };
  const head: Record<string, string> = { "content-type": "application/json" };
  if (code === 401) head["www-authenticate"] = 'Bearer realm="millrace"';
  if (code === 405) head.allow = "GET, HEAD, PUT";
  if (code === 429) head["retry-after"] = "1";
  // What is still to come of the body is not waited for.
  if (unreadCodes.includes(code)) head.connection = "close";
  response.writeHead(code, head).end(JSON.stringify(status));
}

const unreadCodes: readonly number[] = [408, 411, 413];

function apiRefusal({ status, message }: ApiError): Refusal {
  if (status.code === 404) return new Refusal(404, "NotFound", message);
  return new Refusal(503, "ServiceUnavailable", `the API server could not be asked: ${message}`);
}

const storeCodes: Partial<Record<ErrorCode, readonly [number, string]>> = {
  InvalidInput: [400, "BadRequest"],
  DeadlineExceeded: [408, "Timeout"],
  ResourceExhausted: [507, "ResourceExhausted"],
  Internal: [500, "Internal"],
};

function storeRefusal({ code, message }: MillraceError): Refusal {
  const [status, reason] = storeCodes[code] ?? [503, code];
  return new Refusal(status, reason, message);
}
