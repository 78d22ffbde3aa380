import { RE2JS } from "re2js";
import { patternSize } from "../../engine/expressions/patterns.ts";
import type { Json, JsonObject } from "../../engine/payload.ts";
import { isObject, resolvePointer } from "./json-schema-work.ts";

/** Bounds on a JSON Schema from a tenant, and on the work of checking a value against it: both happen in the controller's own thread. */
export const schemaBounds = {
  /** As JSON. */
  bytes: 64 * 1024,
  /** Levels of nesting, from 1. */
  depth: 32,
  /** Subschemas, each counted as often as a `$ref` repeats it: what stops a chain of doubling references. */
  subschemas: 1_000,
  /** `uniqueItems` compares each item with each other one. */
  uniqueItems: 1_000,
  /** Instructions of all patterns together, as `patternSize` counts them. */
  patternsSize: 5_000,
  /** Places of a value times what the schema does at one, in units of some 10 to 100 ns. */
  work: 5_000_000,
  /** Matching: 20 for each string and pattern, and the string's length × the pattern's instructions / 20. */
  matching: 5_000_000,
} as const;

/** Why a schema is refused. */
export class SchemaRefusal extends Error {
  override readonly name = "SchemaRefusal";
  /** A path from the schema on, such as `properties.top.$ref`; empty for the whole. */
  readonly path: string;
  readonly mend: string;

  constructor(path: string, message: string, mend: string) {
    super(message);
    this.path = path;
    this.mend = mend;
  }
}

const oneSubschema = [
  "items",
  "additionalItems",
  "contains",
  "additionalProperties",
  "propertyNames",
  "unevaluatedItems",
  "unevaluatedProperties",
  "not",
  "if",
  "then",
  "else",
] as const;
const listOfSubschemas = ["allOf", "anyOf", "oneOf", "prefixItems", "items"] as const;
const mapOfSubschemas = [
  "properties",
  "patternProperties",
  "$defs",
  "definitions",
  "dependentSchemas",
  "dependencies",
] as const;
const refusedKeywords = ["$async", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"] as const;

/** Refuses what is over {@link schemaBounds}, references outside the schema, and references that come back to themselves. Throws SchemaRefusal. */
export function checkBounds(schema: JsonObject): void {
  if (depthOf(schema, schemaBounds.depth) > schemaBounds.depth) {
    throw new SchemaRefusal("", `it is nested deeper than ${schemaBounds.depth} levels`, "Flatten it, or use $defs.");
  }
  const bytes = Buffer.byteLength(JSON.stringify(schema));
  if (bytes > schemaBounds.bytes) {
    throw new SchemaRefusal("", `it takes ${bytes} bytes, the limit is ${schemaBounds.bytes}`, "Check less.");
  }
  new Expansion(schema).sizeOf(schema, "");
}

/** Stops counting one level past `limit`, so that a hostile depth costs no stack. */
function depthOf(value: Json, limit: number): number {
  if (typeof value !== "object" || value === null) return 0;
  if (limit === 0) return 1;
  let deepest = 0;
  for (const child of Object.values(value)) deepest = Math.max(deepest, depthOf(child, limit - 1));
  return deepest + 1;
}

/** Counts subschemas with their references followed. */
class Expansion {
  readonly #root: JsonObject;
  readonly #sizes = new Map<object, number>();
  readonly #active = new Set<object>();
  #patternsSize = 0;

  constructor(root: JsonObject) {
    this.#root = root;
  }

  sizeOf(schema: Json | undefined, path: string): number {
    if (!isObject(schema)) return 1;
    const known = this.#sizes.get(schema);
    if (known !== undefined) return known;
    if (this.#active.has(schema)) {
      throw new SchemaRefusal(path, "a $ref leads back to itself", "Leave the nested value open with {}.");
    }
    this.#active.add(schema);
    this.#checkKeywords(schema, path);
    let size = 1 + keysOf(schema.dependentRequired).length;
    for (const [child, childPath] of children(schema, path)) size += this.sizeOf(child, childPath);
    if (schema.$ref !== undefined) size += this.#referredSize(schema.$ref, join(path, "$ref"));
    this.#active.delete(schema);
    if (size > schemaBounds.subschemas) {
      throw new SchemaRefusal(
        path,
        `it has more than ${schemaBounds.subschemas} subschemas once each $ref is counted`,
        "Check less.",
      );
    }
    this.#sizes.set(schema, size);
    return size;
  }

  #referredSize(ref: Json, path: string): number {
    if (typeof ref !== "string" || !ref.startsWith("#/")) {
      throw new SchemaRefusal(
        path,
        `it refers to ${JSON.stringify(ref)}, which is outside this schema`,
        'Copy it into $defs and write {"$ref": "#/$defs/NAME"}.',
      );
    }
    const target = resolvePointer(this.#root, ref.slice(2));
    if (target === undefined) {
      throw new SchemaRefusal(path, `it refers to ${ref}, which does not exist`, "Name one of this schema's $defs.");
    }
    return this.sizeOf(target, ref.slice(2).replaceAll("/", "."));
  }

  #checkKeywords(schema: JsonObject, path: string): void {
    for (const keyword of refusedKeywords) {
      if (schema[keyword] === undefined) continue;
      throw new SchemaRefusal(
        join(path, keyword),
        `${keyword} is not supported`,
        "Leave it out; to share a subschema use $defs and $ref.",
      );
    }
    if (path !== "" && typeof schema.$id === "string") {
      throw new SchemaRefusal(join(path, "$id"), "$id inside a schema is not supported", "Leave it out.");
    }
    this.#checkPatterns(schema, path);
    const { uniqueItems, maxItems } = schema;
    if (uniqueItems === true && !(typeof maxItems === "number" && maxItems <= schemaBounds.uniqueItems)) {
      throw new SchemaRefusal(
        join(path, "uniqueItems"),
        "uniqueItems compares each item with each other one, and the list has no bound",
        `Add maxItems of at most ${schemaBounds.uniqueItems}.`,
      );
    }
  }

  /** Before anything is compiled. */
  #checkPatterns(schema: JsonObject, path: string): void {
    const { pattern } = schema;
    const patterns = [...(typeof pattern === "string" ? [pattern] : []), ...keysOf(schema.patternProperties)];
    for (const text of patterns) this.#patternsSize += patternSize(RE2JS.translateRegExp(text));
    if (this.#patternsSize <= schemaBounds.patternsSize) return;
    throw new SchemaRefusal(
      path,
      `its patterns together are larger than ${schemaBounds.patternsSize} instructions, repetitions and Unicode classes counted`,
      "Use fewer patterns, or repeat less in them.",
    );
  }
}

function keysOf(value: Json | undefined): readonly string[] {
  return isObject(value) ? Object.keys(value) : [];
}

function* children(schema: JsonObject, path: string): Generator<[Json, string]> {
  for (const keyword of oneSubschema) {
    const child = schema[keyword];
    if (isObject(child)) yield [child, join(path, keyword)];
  }
  for (const keyword of listOfSubschemas) {
    const list = schema[keyword];
    if (!Array.isArray(list)) continue;
    for (const [index, child] of list.entries()) yield [child, `${join(path, keyword)}[${index}]`];
  }
  for (const keyword of mapOfSubschemas) {
    const map = schema[keyword];
    if (!isObject(map)) continue;
    for (const [name, child] of Object.entries(map)) yield [child, join(join(path, keyword), name)];
  }
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}
