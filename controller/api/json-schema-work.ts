import type { Json, JsonObject } from "../../engine/payload.ts";

/** What a branch that may fail and be none the worse takes: its errors are made, and thrown away. */
const branchWork = 20;
const namesPerUnit = 4;

/** What applying a schema takes at one place of a value. */
interface Work {
  /** Where it is applied. */
  readonly here: number;
  /** At any one place beneath. */
  readonly beneath: number;
}

const none: Work = { here: 0, beneath: 0 };

/**
 * The most work that a schema makes of any one place in a value, in units of about one simple keyword: times the places
 * of a value it bounds what a check takes. For a schema within `schemaBounds`, whose references end.
 */
export function workOf(schema: JsonObject): number {
  const { here, beneath } = new WorkCount(schema).of(schema);
  return Math.max(here, beneath);
}

/** The places of a value: it, and all that it holds. Counts no further than just over `limit`. */
export function placesOf(value: Json, limit: number): number {
  const open: Json[] = [value];
  let places = 0;
  for (let next = open.pop(); next !== undefined && places <= limit; next = open.pop()) {
    places++;
    if (typeof next !== "object" || next === null) continue;
    for (const child of Object.values(next) as Json[]) open.push(child);
  }
  return places;
}

class WorkCount {
  readonly #root: JsonObject;
  readonly #known = new Map<object, Work>();

  constructor(root: JsonObject) {
    this.#root = root;
  }

  of(schema: Json | undefined): Work {
    if (!isObject(schema)) return none;
    const known = this.#known.get(schema);
    if (known !== undefined) return known;
    const same = this.#inPlace(schema);
    const own = 1 + valuesIn(schema.enum) + valuesIn(schema.const) + namesIn(schema) / namesPerUnit;
    const work = {
      here: same.reduce((sum, { here }) => sum + here, own),
      beneath: same.reduce((sum, { beneath }) => sum + beneath, this.#beneath(schema)),
    };
    this.#known.set(schema, work);
    return work;
  }

  /** Of the subschemas that are applied to the same place. */
  #inPlace(schema: JsonObject): readonly Work[] {
    const { anyOf, oneOf, not, if: condition, then, else: otherwise } = schema;
    const branches = [...itemsOf(anyOf), ...itemsOf(oneOf), not, condition, then, otherwise];
    const tried = branches.filter((branch) => branch !== undefined).map((branch) => this.of(branch));
    const always = [...itemsOf(schema.allOf), ...valuesOf(schema.dependentSchemas), ...valuesOf(schema.dependencies)];
    return [
      ...always.map((child) => this.of(child)),
      ...tried.map(({ here, beneath }) => ({ here: here + branchWork, beneath })),
      this.of(this.#referred(schema.$ref)),
    ];
  }

  /** Of those that are applied to what the place holds: of properties, which are named, one each, and all others. */
  #beneath(schema: JsonObject): number {
    const largest = (children: readonly Json[]) =>
      children.reduce<number>((most, child) => Math.max(most, this.#most(child)), 0);
    const others = [
      schema.additionalProperties,
      schema.unevaluatedProperties,
      schema.propertyNames,
      schema.additionalItems,
      schema.unevaluatedItems,
      Array.isArray(schema.items) ? undefined : schema.items,
      ...valuesOf(schema.patternProperties),
    ];
    const sum = others.reduce<number>((total, child) => total + this.#most(child), 0);
    const contained = schema.contains === undefined ? 0 : branchWork + this.#most(schema.contains);
    const named = largest(valuesOf(schema.properties));
    return sum + contained + named + largest([...itemsOf(schema.prefixItems), ...itemsOf(schema.items)]);
  }

  #most(schema: Json | undefined): number {
    const { here, beneath } = this.of(schema);
    return Math.max(here, beneath);
  }

  #referred(ref: Json | undefined): Json | undefined {
    if (typeof ref !== "string") return undefined;
    return resolvePointer(this.#root, ref.slice(2));
  }
}

/** What a JSON pointer's parts, as they stand in a `$ref` behind `#/`, lead to. */
export function resolvePointer(root: JsonObject, pointer: string): Json | undefined {
  let value: Json | undefined = root;
  for (const part of pointer.split("/")) {
    if (typeof value !== "object" || value === null) return undefined;
    const key = decodePart(part);
    value = Object.hasOwn(value, key) ? (value as JsonObject)[key] : undefined;
  }
  return value;
}

function decodePart(part: string): string {
  const unescaped = part.replaceAll("~1", "/").replaceAll("~0", "~");
  try {
    return decodeURIComponent(unescaped);
  } catch {
    return unescaped;
  }
}

/** Names that are looked for in each object. */
function namesIn({ properties, required, dependentRequired, patternProperties }: JsonObject): number {
  const named = [properties, dependentRequired, patternProperties].map((map) => valuesOf(map).length);
  return named.reduce((sum, count) => sum + count, itemsOf(required).length);
}

function valuesIn(value: Json | undefined): number {
  return value === undefined ? 0 : placesOf(value, Number.POSITIVE_INFINITY) / namesPerUnit;
}

/** Whether a value of JSON is a map. */
export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function itemsOf(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : [];
}

function valuesOf(value: Json | undefined): readonly Json[] {
  return isObject(value) ? Object.values(value) : [];
}
