import { mediaType } from "../../engine/payload.ts";
import type { ProcessorError } from "../../engine/processor.ts";
import type { Secrets } from "../secrets.ts";
import { httpCode } from "./errors.ts";

export const problemType = "application/problem+json";

/** What an answer of 4xx or 5xx says beyond its status. */
export interface FailureBody {
  /** The processor's own failure, where the body declares one. */
  readonly declared?: ProcessorError;
  /** What the body says, for the message; may be empty. */
  readonly excerpt: string;
}

export interface FailedAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Uint8Array;
  readonly retryAfterMs: number | undefined;
  /** Masked before anything is cut: half a secret would not be recognised as one. */
  readonly secrets: Secrets;
}

const maxExcerptCharacters = 256;

/**
 * Reads a failure's body. A problem document (RFC 9457) declares a failure if it has a `code`, or a `type` other than
 * `about:blank`, whose last segment is then the code. One without either says no more than the status (frameworks and
 * gateways send such documents for every status), and so does one that is malformed.
 */
export function readFailure(answer: FailedAnswer): FailureBody {
  const type = mediaType(answer.contentType);
  if (type === "text/plain") return { excerpt: excerptOf(answer.secrets.masked(textOf(answer.body))) };
  if (type !== problemType) return { excerpt: "" };
  const problem = parsedObject(answer.body);
  if (problem === undefined) return { excerpt: "with a malformed problem document" };
  const message = firstText(problem.detail, problem.title);
  const code = declaredCode(problem);
  if (code === undefined) return { excerpt: excerptOf(answer.secrets.masked(message ?? "")) };
  return {
    declared: {
      code,
      message: message ?? `HTTP status ${answer.status}`,
      retryable: typeof problem.retryable === "boolean" ? problem.retryable : isTransient(answer),
      ...(answer.retryAfterMs === undefined ? {} : { retryAfterMs: answer.retryAfterMs }),
    },
    excerpt: "",
  };
}

function declaredCode(problem: Readonly<Record<string, unknown>>): string | undefined {
  if (typeof problem.code === "string" && problem.code !== "") return problem.code;
  if (typeof problem.type !== "string" || problem.type === "about:blank") return undefined;
  return problem.type.split(/[/#:]/).findLast((segment) => segment !== "");
}

/** Where the document does not say: whether the status asks to come again. */
function isTransient(answer: FailedAnswer): boolean {
  const code = httpCode(answer.status);
  return code === "Unavailable" || code === "ResourceExhausted" || answer.retryAfterMs !== undefined;
}

function parsedObject(body: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(textOf(body));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function firstText(...values: readonly unknown[]): string | undefined {
  return values.find((value): value is string => typeof value === "string" && value !== "");
}

function textOf(body: Uint8Array): string {
  return new TextDecoder().decode(body);
}

function excerptOf(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length <= maxExcerptCharacters ? line : `${line.slice(0, maxExcerptCharacters)}…`;
}
