import type { Type } from "../expressions/types.ts";
import { anyType, eitherOf, kinds, numberKinds, ofKinds } from "../expressions/types.ts";
import type { Json, JsonObject } from "../payload.ts";

const kindsOfTypes: Readonly<Record<string, number>> = {
  null: kinds.null,
  boolean: kinds.bool,
  // A schema takes 1.0 for an integer too, and in an expression that is a double.
  integer: numberKinds,
  number: numberKinds,
  string: kinds.string,
  array: kinds.list,
  object: kinds.map,
};

/** Keywords that say elsewhere what a value is. */
const elsewhere = ["$ref", "$dynamicRef"] as const;

/**
 * What a JSON Schema (2020-12) says of its values, as far as expressions can make use of it: never less than it allows. What
 * only narrows further (`allOf`, `anyOf`, `not`, formats, bounds) is not looked at.
 */
export function schemaType(schema: Json | undefined): Type {
  if (!isObject(schema) || elsewhere.some((keyword) => keyword in schema)) return anyType;
  const bits = kindsOf(schema);
  return {
    kinds: bits,
    property: (key) => propertyOf(schema, key),
    get keys() {
      return isObject(schema.properties) ? Object.keys(schema.properties) : [];
    },
    item: () => itemOf(schema),
    alternatives: 1,
  };
}

/** As {@link schemaType}, for metadata: what a schema says of a key's value, it says of text. */
export function metadataType(schema: JsonObject | undefined): Type {
  const declared = schemaType(schema);
  const text = ofKinds(kinds.string);
  return {
    kinds: kinds.map,
    property: (key) => (declared.property(key) === undefined ? undefined : text),
    get keys() {
      return declared.keys;
    },
    item: anyType.item,
    alternatives: 1,
  };
}

function isObject(json: Json | undefined): json is JsonObject {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

function kindsOf(schema: JsonObject): number {
  const { type, enum: values } = schema;
  let bits = anyType.kinds;
  if (typeof type === "string") bits = kindsOfTypes[type] ?? bits;
  else if (Array.isArray(type)) bits = type.reduce<number>((sum, one) => sum | (kindsOfTypes[String(one)] ?? bits), 0);
  if (schema.nullable === true) bits |= kinds.null;
  if (Array.isArray(values)) bits &= values.reduce<number>((sum, value) => sum | kindOf(value), 0);
  if (schema.const !== undefined) bits &= kindOf(schema.const);
  // Of a schema that nothing fits, nothing is said.
  return bits === 0 ? anyType.kinds : bits;
}

function kindOf(value: Json): number {
  if (value === null) return kinds.null;
  if (Array.isArray(value)) return kinds.list;
  switch (typeof value) {
    case "boolean":
      return kinds.bool;
    case "number":
      return numberKinds;
    case "string":
      return kinds.string;
    default:
      return kinds.map;
  }
}

function propertyOf(
  { properties, patternProperties, additionalProperties }: JsonObject,
  key: string,
): Type | undefined {
  if (isObject(properties) && Object.hasOwn(properties, key)) return schemaType(properties[key]);
  if (patternProperties !== undefined) return anyType;
  return additionalProperties === false ? undefined : schemaType(additionalProperties);
}

function itemOf({ items, prefixItems }: JsonObject): Type {
  return prefixItems === undefined ? schemaType(items) : anyType;
}

/** With null beside it. */
export function orNull(type: Type): Type {
  return eitherOf(type, ofKinds(kinds.null));
}
