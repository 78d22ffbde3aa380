import { maxMetadataBytes } from "../../../engine/metadata.ts";
import type { ProcessorError } from "../../../engine/processor.ts";
import { maxErrorCodeBytes, maxErrorMessageBytes } from "./guest-call.ts";

/** JSON writes one byte as six at most; the rest is room for punctuation. */
const jsonBytesPerByte = 8;
/** Of metadata as JSON. */
export const maxTextsJsonBytes = jsonBytesPerByte * maxMetadataBytes;
/** Of a declared error as JSON. */
export const maxErrorJsonBytes = jsonBytesPerByte * (maxErrorCodeBytes + maxErrorMessageBytes);

// What guests say as JSON, in the ABIs that have no functions for it. Undefined: it is something else.

/** An object of texts. */
export function readTexts(json: string): [key: string, text: string][] | undefined {
  const object = readObject(json);
  return object === undefined ? undefined : textsOf(object);
}

/** The entries of an object of texts. */
export function textsOf(object: object): [key: string, text: string][] | undefined {
  const entries = Object.entries(object);
  return entries.every((entry): entry is [string, string] => typeof entry[1] === "string") ? entries : undefined;
}

/** `{"code": text, "message": text, "retryable": boolean}`; what is retryable says so. */
export function readDeclaredError(json: string): ProcessorError | undefined {
  const { code, message, retryable = false } = readObject(json) ?? {};
  if (typeof code !== "string" || typeof message !== "string" || typeof retryable !== "boolean") return undefined;
  return { code, message, retryable };
}

/** Any object. */
export function readObject(json: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
