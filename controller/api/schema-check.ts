import {
  childPath,
  type Draft,
  type DraftObject,
  type FieldProblem,
  isDraftObject,
  propertySchema,
  type StructuralSchema,
} from "./structural-schema.ts";

/** A problem of a value's shape. `blocking`: the server then evaluates no rule, as a rule could not rely on its types. */
export interface ShapeProblem extends FieldProblem {
  readonly blocking: boolean;
}

/** What the schema says of types, required fields, enums, bounds, sets and list-maps, in the server's order. */
export function checkShape(value: Draft, schema: StructuralSchema, path: string): ShapeProblem[] {
  const typeProblem = checkType(value, schema, path);
  if (typeProblem !== undefined) return [typeProblem];
  if (typeof value === "string") return checkString(value, schema, path);
  if (typeof value === "number") return checkNumber(value, schema, path);
  if (Array.isArray(value)) return checkList(value, schema, path);
  if (isDraftObject(value)) return checkObject(value, schema, path);
  return [];
}

function problem(path: string, message: string): ShapeProblem {
  return { path, message, blocking: false };
}

function blocking(path: string, message: string): ShapeProblem {
  return { path, message, blocking: true };
}

function checkType(value: Draft, schema: StructuralSchema, path: string): ShapeProblem | undefined {
  if (value === null && schema.nullable === true) return undefined;
  if (schema["x-kubernetes-int-or-string"] === true) {
    if (typeof value === "string" || Number.isInteger(value)) return undefined;
    return blocking(path, `must be an integer or a string, not ${nameOf(value)}`);
  }
  if (schema.type === undefined || schema.type === nameOf(value)) return undefined;
  if (schema.type === "number" && typeof value === "number") return undefined;
  return blocking(path, `must be of type ${schema.type}, not ${nameOf(value)}`);
}

function nameOf(value: Draft): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function checkString(value: string, schema: StructuralSchema, path: string): ShapeProblem[] {
  const problems: ShapeProblem[] = [];
  // Counted in code points, as the server does.
  const length = value.length <= (schema.maxLength ?? Infinity) ? value.length : Array.from(value).length;
  if (schema.maxLength !== undefined && length > schema.maxLength) {
    problems.push(blocking(path, `must have at most ${schema.maxLength} characters, and has ${length}`));
  }
  if (schema.minLength !== undefined && length < schema.minLength) {
    problems.push(problem(path, `must have at least ${schema.minLength} characters, and has ${length}`));
  }
  if (schema.enum !== undefined && !schema.enum.includes(value)) {
    problems.push(blocking(path, `must be one of ${schema.enum.join(", ")}, not ${JSON.stringify(value)}`));
  }
  return problems;
}

function checkNumber(value: number, schema: StructuralSchema, path: string): ShapeProblem[] {
  if (schema.minimum !== undefined && value < schema.minimum) {
    return [problem(path, `must be at least ${schema.minimum}, not ${value}`)];
  }
  if (schema.maximum !== undefined && value > schema.maximum) {
    return [problem(path, `must be at most ${schema.maximum}, not ${value}`)];
  }
  return [];
}

function checkList(value: readonly Draft[], schema: StructuralSchema, path: string): ShapeProblem[] {
  const { items, minItems, maxItems } = schema;
  const problems: ShapeProblem[] = [];
  if (maxItems !== undefined && value.length > maxItems) {
    problems.push(blocking(path, `must have at most ${maxItems} items, and has ${value.length}`));
  }
  if (minItems !== undefined && value.length < minItems) {
    problems.push(problem(path, `must have at least ${minItems} items, and has ${value.length}`));
  }
  if (items !== undefined) {
    for (const [index, item] of value.entries()) problems.push(...checkShape(item, items, `${path}[${index}]`));
  }
  problems.push(...checkUnique(value, schema, path));
  return problems;
}

function checkUnique(value: readonly Draft[], schema: StructuralSchema, path: string): ShapeProblem[] {
  const identify = identityOf(schema);
  if (identify === undefined) return [];
  const problems: ShapeProblem[] = [];
  const seen = new Set<string>();
  for (const [index, item] of value.entries()) {
    const identity = JSON.stringify(identify(item));
    if (seen.has(identity)) problems.push(problem(`${path}[${index}]`, `${identity} is there already`));
    seen.add(identity);
  }
  return problems;
}

function identityOf(schema: StructuralSchema): ((item: Draft) => unknown) | undefined {
  if (schema["x-kubernetes-list-type"] === "set") return (item) => item;
  if (schema["x-kubernetes-list-type"] !== "map") return undefined;
  const keys = schema["x-kubernetes-list-map-keys"] ?? [];
  return (item) => (isDraftObject(item) ? Object.fromEntries(keys.map((key) => [key, item[key]])) : item);
}

function checkObject(value: DraftObject, schema: StructuralSchema, path: string): ShapeProblem[] {
  const problems: ShapeProblem[] = [];
  const size = Object.keys(value).length;
  if (schema.maxProperties !== undefined && size > schema.maxProperties) {
    problems.push(blocking(path, `must have at most ${schema.maxProperties} fields, and has ${size}`));
  }
  if (schema.minProperties !== undefined && size < schema.minProperties) {
    problems.push(problem(path, `must have at least ${schema.minProperties} fields, and has ${size}`));
  }
  for (const key of schema.required ?? []) {
    if (!Object.hasOwn(value, key)) problems.push(blocking(childPath(path, key), "is required"));
  }
  for (const [key, child] of Object.entries(value)) {
    const known = propertySchema(schema, key);
    if (known !== undefined) problems.push(...checkShape(child, known, childPath(path, key)));
  }
  return problems;
}
