import { closest } from "../../engine/names.ts";
import {
  childPath,
  type Draft,
  type DraftObject,
  type FieldProblem,
  isDraftObject,
  propertySchema,
  type StructuralSchema,
} from "./structural-schema.ts";

/**
 * Removes every field that the schema does not know, and names it, as `fieldValidation=Strict` does. Then removes every
 * null that is no value of its field, as the server does before it fills in defaults.
 */
export function prune(value: Draft, schema: StructuralSchema, path: string): FieldProblem[] {
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? [] : value.flatMap((item, index) => prune(item, items, `${path}[${index}]`));
  }
  if (!isDraftObject(value)) return [];
  return Object.keys(value).flatMap((key) => pruneField(value, key, schema, path));
}

function pruneField(object: DraftObject, key: string, schema: StructuralSchema, path: string): FieldProblem[] {
  const known = propertySchema(schema, key);
  if (known === undefined) {
    if (schema["x-kubernetes-preserve-unknown-fields"] === true || isOfAnotherType(schema)) return [];
    delete object[key];
    return [unknownField(childPath(path, key), key, Object.keys(schema.properties ?? {}))];
  }
  const value = object[key];
  if (value !== null && value !== undefined) return prune(value, known, childPath(path, key));
  if (known.nullable !== true) delete object[key];
  return [];
}

/** An object where a scalar or a list is wanted is refused for its type; its fields are nobody's. */
function isOfAnotherType(schema: StructuralSchema): boolean {
  return schema.type !== "object";
}

/** The refusal of a field, with the closest one that there is. */
export function unknownField(path: string, key: string, known: readonly string[]): FieldProblem {
  const similar = closest(key, known);
  const mend =
    similar === undefined ? `Remove it; the fields here are ${known.join(", ")}.` : `Did you mean ${similar}?`;
  return { path, message: `unknown field ${JSON.stringify(key)}`, mend };
}
