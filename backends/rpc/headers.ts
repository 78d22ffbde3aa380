import { MillraceError } from "../../engine/errors.ts";
import { type Metadata, metadataKeyPattern, noMetadata } from "../../engine/metadata.ts";
import type { CallContext, ProcessorRequest } from "../../engine/processor.ts";
import { maxLogBytes } from "../step-log.ts";

/** Names of the headers of the HTTP protocol; docs/rpc.md says what each carries. */
export const headerNames = {
  execution: "millrace-execution",
  executionUid: "millrace-execution-uid",
  step: "millrace-step",
  item: "millrace-item",
  attempt: "millrace-attempt",
  /** What is left for the attempt, in milliseconds; after Connect's `Connect-Timeout-Ms`. */
  timeoutMs: "millrace-timeout-ms",
  options: "millrace-options",
  metadata: "millrace-metadata",
  /** What the processor logged: percent-encoded, lines ended by line feeds. Of an answer. */
  log: "millrace-log",
  /** A secret's, its name behind it. */
  secret: "millrace-secret-",
  idempotencyKey: "idempotency-key",
  traceparent: "traceparent",
} as const;

/**
 * What a server must be ready to take in headers: 8 KiB of metadata and 4 KiB of options, each byte
 * percent-encoded at worst, secrets, and room for the others. Node's servers take 16 KiB unless told otherwise (`maxHeaderSize`).
 */
const maxHeaderBytes = 64 * 1024;

/** What an answer's headers may take: the same, and a log of which each byte is percent-encoded. */
export const maxAnswerHeaderBytes = maxHeaderBytes + 3 * maxLogBytes;

/** All secrets as headers, percent-encoded, names included: what the rest leaves of {@link maxHeaderBytes}. */
export const maxSecretHeaderBytes = 24 * 1024;

const traceparentForm = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The request's headers, as names and values in turn. Throws InvalidInput for a content type, or secrets, that headers cannot carry. */
export function requestHeaders(request: ProcessorRequest, context: CallContext, timeoutMs: number): string[] {
  const { execution } = context;
  const headers = [
    "content-type",
    checkedContentType(request.payload.contentType),
    headerNames.execution,
    `${plain(execution.namespace)}/${plain(execution.name)}`,
    headerNames.executionUid,
    plain(execution.uid),
    headerNames.step,
    plain(context.step),
    headerNames.attempt,
    String(context.attempt),
    headerNames.idempotencyKey,
    plain(context.idempotencyKey),
    headerNames.timeoutMs,
    String(timeoutMs),
  ];
  if (context.item !== undefined) headers.push(headerNames.item, String(context.item));
  headers.push(...secretHeaders(context.secrets));
  const options = JSON.stringify(request.options);
  if (options !== "{}") headers.push(headerNames.options, percentEncoded(options));
  const metadata = encodeMetadata(request.metadata);
  if (metadata !== "") headers.push(headerNames.metadata, metadata);
  if (isTraceparent(context.traceparent)) headers.push(headerNames.traceparent, context.traceparent);
  return headers;
}

function secretHeaders(secrets: Readonly<Record<string, string>>): string[] {
  const headers = Object.entries(secrets).flatMap(([name, value]) => [
    `${headerNames.secret}${name}`,
    percentEncoded(value),
  ]);
  const bytes = headers.reduce((sum, text) => sum + text.length, 0);
  if (bytes <= maxSecretHeaderBytes) return headers;
  throw new MillraceError(
    "InvalidInput",
    `spec.secrets: the secrets take ${bytes} bytes as percent-encoded HTTP headers, over the limit of ${maxSecretHeaderBytes} bytes; give fewer or shorter ones, or speak gRPC (spec.rpc.protocol), which takes 32 KiB each`,
  );
}

/** What a log header says; one that is not percent-encoded is taken as it is, as a log is no place to fail at. */
export function decodeLog(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Whether it may go into a header: another form than W3C's is left out rather than passed on. */
export function isTraceparent(value: string | undefined): value is string {
  return value !== undefined && traceparentForm.test(value);
}

/** `key=value,key=value` with percent-encoded UTF-8 values, as in W3C Baggage: header names would lose the keys' case. */
export function encodeMetadata(metadata: Metadata): string {
  let text = "";
  for (const key in metadata) {
    text += `${text === "" ? "" : ","}${percentEncoded(key)}=${percentEncoded(metadata[key] ?? "")}`;
  }
  return text;
}

/** The opposite of {@link encodeMetadata}; lists from several headers may be joined by commas. Throws SyntaxError. */
export function decodeMetadata(text: string): Metadata {
  if (text.trim() === "") return noMetadata;
  const metadata: Record<string, string> = {};
  for (const member of text.split(",")) {
    const equals = member.indexOf("=");
    if (equals < 0) throw new SyntaxError(`${JSON.stringify(member.trim())} is not of the form key=value`);
    const key = percentDecoded(member.slice(0, equals).trim());
    if (!metadataKeyPattern.test(key)) throw new SyntaxError(`${JSON.stringify(key)} is not a metadata key`);
    if (Object.hasOwn(metadata, key)) throw new SyntaxError(`the key ${JSON.stringify(key)} is there twice`);
    metadata[key] = percentDecoded(member.slice(equals + 1).trim());
  }
  return metadata;
}

function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new SyntaxError(`${JSON.stringify(text.slice(0, 100))} is not percent-encoded UTF-8`);
  }
}

/** Unpaired surrogates have no UTF-8: they become U+FFFD, as they do in protobuf. */
function percentEncoded(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

/** Kubernetes names and their compounds as they are; anything that a header cannot carry percent-encoded. */
function plain(text: string): string {
  return /^[\w./~-]*$/.test(text) ? text : percentEncoded(text);
}

function checkedContentType(contentType: string): string {
  if (/^[\t\x20-\x7e]+$/.test(contentType)) return contentType;
  throw new MillraceError(
    "InvalidInput",
    `the payload's content type ${JSON.stringify(contentType.slice(0, 100))} cannot be sent in a header: printable ASCII only`,
  );
}
