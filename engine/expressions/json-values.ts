import { MillraceError } from "../errors.ts";
import type { Json } from "../payload.ts";
import { binaryType, jsonType, mediaType, textType } from "../payload.ts";

/**
 * A value as expressions see it. Maps are JavaScript Maps, so that no key of a tenant's JSON (`__proto__`, `constructor`)
 * means anything to the language; integers are bigints, doubles are numbers.
 */
export type Value = null | boolean | bigint | number | string | Uint8Array | Value[] | Map<unknown, Value> | object;

/** How deep JSON may nest: far beyond what people write, far below what the stack takes. */
export const maxJsonDepth = 256;

/** The longest text or JSON that an expression may produce, in bytes. */
export const maxResultBytes = 4 * 1024 * 1024;

const minInt = -(2n ** 63n);
const maxInt = 2n ** 63n - 1n;

/** A number whose exact value or kind `JSON.parse` would not show: with a fraction or exponent, or of 16 digits and more. */
const inexactNumber = /[0-9](?:\.[0-9]|[eE])|[0-9]{16}/;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/** What the bytes of a payload are. */
type ContentKind = "JSON" | "Text" | "Bytes";

export function contentKind(contentType: string): ContentKind {
  const type = mediaType(contentType);
  if (type === jsonType || type.endsWith("+json")) return "JSON";
  return type.startsWith("text/") ? "Text" : "Bytes";
}

/** How a payload of this content type is read: JSON as a value, text as a string, all else as bytes. */
export function decode(bytes: Uint8Array, contentType: string): Value {
  const kind = contentKind(contentType);
  if (kind === "Bytes") return bytes;
  const text = decodeText(bytes, mediaType(contentType));
  return kind === "JSON" ? parseJson(text) : text;
}

/** Throws InvalidInput for what is not UTF-8. A byte order mark is left out. */
export function decodeText(bytes: Uint8Array, type: string): string {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw new MillraceError("InvalidInput", `a payload of type ${type} is not valid UTF-8`, { cause });
  }
}

/**
 * JSON as a value: integers within int64 are ints, all other numbers doubles. Throws InvalidInput for what is not JSON, for an
 * integer that neither takes exactly (nor is a double's shortest form), for a number beyond a double's range, and for nesting deeper than {@link maxJsonDepth}.
 */
export function parseJson(text: string): Value {
  let parsed: unknown;
  try {
    parsed = inexactNumber.test(text) ? JSON.parse(text, reviveExactly) : JSON.parse(text, undefined);
  } catch (cause) {
    if (cause instanceof MillraceError) throw cause;
    const why = cause instanceof Error ? cause.message.slice(0, 200) : "";
    throw new MillraceError("InvalidInput", `a payload of type ${jsonType} is not valid JSON: ${why}`, { cause });
  }
  return inexactNumber.test(text) ? toValue(parsed, 0) : integersToValue(parsed, 0);
}

function reviveExactly(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  return typeof value === "number" ? exactNumber(value, context?.source ?? String(value)) : value;
}

function exactNumber(value: number, source: string): bigint | number {
  if (!Number.isFinite(value)) {
    throw new MillraceError("InvalidInput", `the number ${source.slice(0, 40)} is beyond the range of a double`);
  }
  if (!/^-?[0-9]+$/.test(source)) return value;
  const integer = BigInt(source);
  if (integer >= minInt && integer <= maxInt) return integer;
  if (BigInt(value) === integer || String(value) === source) return value;
  const mend = "send it as a string";
  throw new MillraceError(
    "InvalidInput",
    `the integer ${source.slice(0, 40)} fits neither int64 nor a double exactly; ${mend}`,
  );
}

function checkDepth(depth: number): void {
  if (depth > maxJsonDepth)
    throw new MillraceError("InvalidInput", `JSON is nested deeper than ${maxJsonDepth} levels`);
}

/** Numbers are already what they are to be. */
function toValue(parsed: unknown, depth: number): Value {
  if (typeof parsed !== "object" || parsed === null) return parsed as Value;
  checkDepth(depth);
  if (Array.isArray(parsed)) return parsed.map((item) => toValue(item, depth + 1));
  const map = new Map<unknown, Value>();
  for (const key of Object.keys(parsed)) map.set(key, toValue((parsed as Record<string, unknown>)[key], depth + 1));
  return map;
}

/** All numbers are safe integers. */
function integersToValue(parsed: unknown, depth: number): Value {
  if (typeof parsed === "number") return BigInt(parsed);
  if (typeof parsed !== "object" || parsed === null) return parsed as Value;
  checkDepth(depth);
  if (Array.isArray(parsed)) {
    for (let index = 0; index < parsed.length; index++) parsed[index] = integersToValue(parsed[index], depth + 1);
    return parsed;
  }
  const map = new Map<unknown, Value>();
  for (const key of Object.keys(parsed))
    map.set(key, integersToValue((parsed as Record<string, unknown>)[key], depth + 1));
  return map;
}

/** What an expression gave, as bytes: a string as text, bytes as they are, all else as JSON. */
export function encode(value: Value): { readonly bytes: Uint8Array; readonly contentType: string } {
  if (typeof value === "string") return { bytes: encodeText(value), contentType: textType };
  if (value instanceof Uint8Array) return { bytes: value, contentType: binaryType };
  return { bytes: encodeText(jsonText(value)), contentType: jsonType };
}

/** The value as JSON, maps in their own order. Throws MillraceError InvalidInput, PayloadTooLarge. */
export function jsonText(value: Value): string {
  return new JsonWriter("AsGiven").text(value);
}

/** The same text for equal values: maps by their keys. */
export function canonicalText(value: Value): string {
  return new JsonWriter("Sorted").text(value);
}

/** JSON as expressions see it. It is parsed already, so that 1.0 and 1 are the same. */
export function fromJson(json: Json): Value {
  if (typeof json === "number") return Number.isSafeInteger(json) ? BigInt(json) : json;
  if (typeof json !== "object" || json === null) return json;
  if (Array.isArray(json)) return json.map((item: Json) => fromJson(item));
  return new Map<unknown, Value>(Object.entries(json).map(([key, value]) => [key, fromJson(value)]));
}

const utf8Encoder = new TextEncoder();

function encodeText(text: string): Uint8Array {
  if (text.length > maxResultBytes) throw tooLarge(text.length);
  const bytes = utf8Encoder.encode(text);
  if (bytes.byteLength > maxResultBytes) throw tooLarge(bytes.byteLength);
  return bytes;
}

function tooLarge(bytes: number): MillraceError {
  return new MillraceError(
    "PayloadTooLarge",
    `the expression's value takes at least ${bytes} bytes; an expression may give at most ${maxResultBytes}`,
  );
}

/** Writes JSON with exact integers, and stops as soon as it is too long: values share parts, so that a small one may print without end. */
class JsonWriter {
  readonly #keys: "AsGiven" | "Sorted";
  readonly #parts: string[] = [];
  #length = 0;

  constructor(keys: "AsGiven" | "Sorted") {
    this.#keys = keys;
  }

  /** The whole text; a writer writes once. */
  text(value: unknown): string {
    this.#write(value, 0);
    return this.#parts.join("");
  }

  #write(value: unknown, depth: number): void {
    if (typeof value === "object" && value !== null) this.#object(value, depth);
    else this.#put(primitiveText(value));
  }

  #object(value: object, depth: number): void {
    checkDepth(depth);
    if (Array.isArray(value)) this.#list(value, depth);
    else if (value instanceof Map) this.#map(value, depth);
    else if (value instanceof Uint8Array) this.#put(JSON.stringify(Buffer.from(value).toString("base64")));
    else if (value instanceof Date) this.#put(JSON.stringify(timestampText(value)));
    else if (Object.getPrototypeOf(value) === Object.prototype) this.#map(new Map(Object.entries(value)), depth);
    else this.#put(scalarText(value));
  }

  #list(list: readonly unknown[], depth: number): void {
    this.#put("[");
    for (let index = 0; index < list.length; index++) {
      if (index > 0) this.#put(",");
      this.#write(list[index], depth + 1);
    }
    this.#put("]");
  }

  #map(map: ReadonlyMap<unknown, unknown>, depth: number): void {
    let separator = "{";
    for (const [key, item] of this.#keys === "Sorted" ? sortedEntries(map) : map) {
      this.#put(`${separator}${JSON.stringify(String(key))}:`);
      this.#write(item, depth + 1);
      separator = ",";
    }
    this.#put(map.size === 0 ? "{}" : "}");
  }

  #put(text: string): void {
    this.#length += text.length;
    if (this.#length > maxResultBytes) throw tooLarge(this.#length);
    this.#parts.push(text);
  }
}

function sortedEntries(map: ReadonlyMap<unknown, unknown>): [unknown, unknown][] {
  const byKey = [...map].map(([key, item]): [string, unknown] => [String(key), item]);
  return byKey.sort(([a], [b]) => (a < b ? -1 : 1));
}

function primitiveText(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "number":
      return numberText(value);
    case "bigint":
    case "boolean":
      return String(value);
    default:
      if (value === null) return "null";
      throw new MillraceError("InvalidInput", `a value of type ${typeof value} has no JSON form`);
  }
}

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  throw new MillraceError("InvalidInput", `the double ${value} has no JSON form`);
}

/** RFC 3339, without a fraction where there is none: as protobuf's JSON mapping writes it. */
function timestampText(value: Date): string {
  return value.toISOString().replace(".000Z", "Z");
}

/** CEL's own classes: a duration (`"1.5s"`) and an unsigned integer (a number). Types have no JSON form. */
function scalarText(value: object): string {
  if ("seconds" in value && "nanos" in value)
    return JSON.stringify(durationText(BigInt(String(value.seconds)), Number(value.nanos)));
  if ("value" in value && typeof value.value === "bigint") return String(value.value);
  throw new MillraceError("InvalidInput", "a type has no JSON form; compare it, or name it in a string");
}

/** Both parts have the same sign. cel-js's own text goes through the locale, which takes fifty times as long. */
function durationText(seconds: bigint, nanos: number): string {
  const sign = seconds < 0n || nanos < 0 ? "-" : "";
  const whole = seconds < 0n ? -seconds : seconds;
  const fraction = String(Math.abs(nanos)).padStart(9, "0").replace(/0+$/, "");
  return `${sign}${whole}${fraction === "" ? "" : `.${fraction}`}s`;
}
