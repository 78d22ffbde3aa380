import { MillraceError } from "./errors.ts";
import { binaryType, jsonType, mediaType, textType } from "./payload.ts";

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

/** How a payload of this content type is read: JSON as a value, text as a string, all else as bytes. */
export function decode(bytes: Uint8Array, contentType: string): Value {
  const type = mediaType(contentType);
  if (type === jsonType || type.endsWith("+json")) return parseJson(decodeText(bytes, type));
  if (type.startsWith("text/")) return decodeText(bytes, type);
  return bytes;
}

function decodeText(bytes: Uint8Array, type: string): string {
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
  return { bytes: encodeText(new JsonWriter().write(value)), contentType: jsonType };
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
  #length = 0;

  write(value: unknown, depth = 0): string {
    switch (typeof value) {
      case "string":
        return this.#take(JSON.stringify(value));
      case "bigint":
      case "boolean":
        return this.#take(String(value));
      case "number":
        return this.#take(this.#number(value));
      case "object":
        return value === null ? this.#take("null") : this.#object(value, depth);
      default:
        throw new MillraceError("InvalidInput", `a value of type ${typeof value} has no JSON form`);
    }
  }

  #object(value: object, depth: number): string {
    checkDepth(depth);
    if (Array.isArray(value)) return this.#list(value, depth);
    if (value instanceof Map) return this.#map(value, depth);
    if (value instanceof Uint8Array) return this.#take(JSON.stringify(Buffer.from(value).toString("base64")));
    if (value instanceof Date) return this.#take(JSON.stringify(timestampText(value)));
    if (Object.getPrototypeOf(value) === null || Object.getPrototypeOf(value) === Object.prototype) {
      return this.#map(new Map(Object.entries(value)), depth);
    }
    return this.#take(scalarText(value));
  }

  #list(list: readonly unknown[], depth: number): string {
    this.#take("[]");
    const parts: string[] = [];
    for (const item of list) {
      this.#take(",");
      parts.push(this.write(item, depth + 1));
    }
    return `[${parts.join(",")}]`;
  }

  #map(map: ReadonlyMap<unknown, unknown>, depth: number): string {
    this.#take("{}");
    const parts: string[] = [];
    for (const [key, item] of map) {
      const name = this.#take(JSON.stringify(String(key)));
      this.#take(":,");
      parts.push(`${name}:${this.write(item, depth + 1)}`);
    }
    return `{${parts.join(",")}}`;
  }

  #number(value: number): string {
    if (Number.isFinite(value)) return String(value);
    throw new MillraceError("InvalidInput", `the double ${value} has no JSON form`);
  }

  #take(text: string): string {
    this.#length += text.length;
    if (this.#length > maxResultBytes) throw tooLarge(this.#length);
    return text;
  }
}

/** RFC 3339, without a fraction where there is none: as protobuf's JSON mapping writes it. */
function timestampText(value: Date): string {
  return value.toISOString().replace(".000Z", "Z");
}

/** CEL's own classes: a duration (`1.5s`), an unsigned integer (a number). Types have no JSON form. */
function scalarText(value: { toString(): string }): string {
  const text = value.toString();
  if (/^-?[0-9]+(\.[0-9]+)?s$/.test(text)) return JSON.stringify(text);
  if (/^[0-9]+$/.test(text)) return text;
  throw new MillraceError("InvalidInput", `a value of type ${text.slice(0, 40)} has no JSON form`);
}
