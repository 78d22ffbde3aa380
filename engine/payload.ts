import { createHash } from "node:crypto";

/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

/**
 * Bytes with a content type. A handle: the bytes may be in memory or in a payload store.
 * Immutable; the same digest means the same bytes.
 */
export interface Payload {
  /** An RFC 9110 media type, with parameters. */
  readonly contentType: string;
  /** In bytes. */
  readonly size: number;
  /** `sha256:` and 64 lower-case hexadecimal digits, of the bytes alone. */
  readonly digest: string;
  /** All bytes; not to be written to. Rejects with PayloadLost when they are missing or corrupt. */
  bytes(signal: AbortSignal): Promise<Uint8Array>;
  stream(signal: AbortSignal): ReadableStream<Uint8Array>;
}

export const jsonType = "application/json";
export const textType = "text/plain; charset=utf-8";
export const binaryType = "application/octet-stream";

/** `sha256:…` of the bytes. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** A payload whose bytes are in memory. The digest is computed when it is first asked for. */
export class BytesPayload implements Payload {
  readonly contentType: string;
  readonly data: Uint8Array;
  #digest: string | undefined;

  constructor(data: Uint8Array, contentType: string) {
    this.data = data;
    this.contentType = contentType;
  }

  get size(): number {
    return this.data.byteLength;
  }

  get digest(): string {
    this.#digest ??= digestOf(this.data);
    return this.#digest;
  }

  bytes(_signal: AbortSignal): Promise<Uint8Array> {
    return Promise.resolve(this.data);
  }

  stream(_signal: AbortSignal): ReadableStream<Uint8Array> {
    return ReadableStream.from([this.data]);
  }
}

const encoder = new TextEncoder();

export function jsonPayload(value: Json): BytesPayload {
  return new BytesPayload(encoder.encode(JSON.stringify(value)), jsonType);
}

export function textPayload(text: string): BytesPayload {
  return new BytesPayload(encoder.encode(text), textType);
}

/** The media type without its parameters, in lower case. */
export function mediaType(contentType: string): string {
  const semicolon = contentType.indexOf(";");
  return (semicolon < 0 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase();
}
