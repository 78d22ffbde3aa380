import type { Json, JsonObject } from "../../../engine/payload.ts";
import { Refusal } from "./refusal.ts";

const decoder = new TextDecoder("utf-8", { fatal: true });

/** The payload as text. @throws Refusal when it is not UTF-8 */
export function textOf(payload: Uint8Array): string {
  try {
    return decoder.decode(payload);
  } catch {
    throw new Refusal("the payload is not UTF-8 text");
  }
}

/** JSON's text for a number is kept where a double would change it: an id above 2^53 goes through as it came. */
interface RawJson {
  rawJSON(text: string): Json;
  isRawJSON(value: unknown): boolean;
  parse(text: string, reviver: (key: string, value: Json, context: { readonly source?: string }) => Json): Json;
}

/** A number that a double may not hold: sixteen digits, or an exponent of three. */
const needsCare = /\d{16}|\d[eE]\+?\d{3}/;

const lossless = JSON as unknown as RawJson;

/** Parsing a list of small numbers, one of them kept as its text, takes half a microsecond a byte. */
export const maxInlineJsonBytes = 16 * 1024;

/** The payload as a JSON value. @throws Refusal when it is not JSON */
export function jsonOf(payload: Uint8Array): Json {
  const text = textOf(payload);
  try {
    return needsCare.test(text) ? lossless.parse(text, keepNumber) : (JSON.parse(text) as Json);
  } catch (error) {
    throw new Refusal(`the payload is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function keepNumber(_key: string, value: Json, context: { readonly source?: string }): Json {
  if (typeof value !== "number" || Number.isSafeInteger(value) || context.source === undefined) return value;
  return lossless.rawJSON(context.source);
}

/** An object of JSON, and no number kept as its text. */
export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !lossless.isRawJSON(value);
}

/** An object whose keys are only data: `__proto__` is a key like any other. */
export function record(entries: Iterable<readonly [string, Json]>): JsonObject {
  return Object.fromEntries(entries);
}

/** The value at a JSON Pointer (RFC 6901); undefined: there is none. @throws Refusal when it is no pointer */
export function at(value: Json, pointer: string): Json | undefined {
  let found: Json | undefined = value;
  for (const token of tokensOf(pointer)) {
    if (Array.isArray(found))
      found = /^(0|[1-9]\d*)$/.test(token) ? (found as readonly Json[])[Number(token)] : undefined;
    else if (isObject(found)) found = Object.hasOwn(found, token) ? found[token] : undefined;
    else return undefined;
  }
  return found;
}

/** The steps of a JSON Pointer. @throws Refusal when it is none */
export function tokensOf(pointer: string): string[] {
  if (pointer === "") return [];
  if (!pointer.startsWith("/") || /~(?![01])/.test(pointer)) {
    throw new Refusal(`${JSON.stringify(pointer)} is no JSON Pointer: write /key/0/key, with ~1 for / and ~0 for ~`);
  }
  return pointer
    .slice(1)
    .split("/")
    .map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));
}
