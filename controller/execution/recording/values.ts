import { BytesPayload, binaryType, type Json, jsonPayload, mediaType, type Payload } from "../../../engine/payload.ts";
import type { PayloadRow } from "../../api/types.ts";
import type { PayloadRef } from "../../payloads/store.ts";

/** A payload up to this size may be in the status itself; in bytes. */
export const maxInlineBytes = 4 * 1024;

/** What the payloads in one status may take together; in bytes. */
export const maxInlineTotalBytes = 64 * 1024;

/**
 * A small payload as a status holds it: `json` when the value is all there is to it (white space, the order of keys and
 * the like are then not kept), `text` when it is UTF-8, else `base64`.
 */
export function inlineValue(payload: BytesPayload): PayloadRow {
  const { data, contentType } = payload;
  const text = utf8(data);
  if (text === undefined) return { base64: Buffer.from(data).toString("base64"), contentType };
  if (mediaType(contentType) === "application/json") {
    const json = exactJson(text);
    if (json !== undefined) return { json, contentType };
  }
  const textual = isTextual(mediaType(contentType)) || mediaType(contentType) === "application/json";
  return textual ? { text, contentType } : { base64: Buffer.from(data).toString("base64"), contentType };
}

/** What a stored payload looks like in a status. */
export function storedValue(ref: PayloadRef): PayloadRow {
  return { payload: { ref: ref.digest, bytes: ref.bytes }, contentType: ref.contentType };
}

/** The payload again. `open` makes a handle on what is in the store. */
export function payloadOf(value: PayloadRow, open: (ref: PayloadRef) => Payload): Payload {
  const contentType = value.contentType ?? binaryType;
  if (value.payload !== undefined) return open({ digest: value.payload.ref, bytes: value.payload.bytes, contentType });
  if (value.text !== undefined) return new BytesPayload(Buffer.from(value.text, "utf8"), contentType);
  if (value.base64 !== undefined) return new BytesPayload(Buffer.from(value.base64, "base64"), contentType);
  return new BytesPayload(jsonPayload(value.json ?? null).data, contentType);
}

function utf8(bytes: Uint8Array): string | undefined {
  try {
    // A byte order mark is content too.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** The value, if writing it again gives the same text: numbers that would lose digits, doubled keys and the like do not. */
function exactJson(text: string): Json | undefined {
  try {
    const value: Json = JSON.parse(text);
    return JSON.stringify(value) === text ? value : undefined;
  } catch {
    return undefined;
  }
}

function isTextual(type: string): boolean {
  return type.startsWith("text/") || type.endsWith("+json") || type.endsWith("+xml") || type === "application/xml";
}
