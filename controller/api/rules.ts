import { Environment } from "@marcbachmann/cel-js";
import { canonicalJson } from "./canonical-json.ts";
import { nativeRules } from "./native-rules.ts";
import {
  childPath,
  type Draft,
  type FieldProblem,
  isDraftObject,
  propertySchema,
  type StructuralSchema,
  type ValidationRule,
} from "./structural-schema.ts";

type Evaluate = (variables: { readonly self: unknown; readonly oldSelf?: unknown }) => unknown;

/** Parses each rule once, when it is first needed: most objects need few, and most commands none. */
class RuleParser {
  #environment: Environment | undefined;
  readonly #parsed = new Map<string, Evaluate>();

  parse(rule: string): Evaluate {
    const known = this.#parsed.get(rule);
    if (known !== undefined) return known;
    this.#environment ??= new Environment().registerVariable("self", "dyn").registerVariable("oldSelf", "dyn");
    const evaluate: Evaluate = this.#environment.parse(rule);
    this.#parsed.set(rule, evaluate);
    return evaluate;
  }
}

const parser = new RuleParser();

/**
 * Evaluates the CEL rules of the schema and of all that is below it, each on the value it describes. Those that name
 * `oldSelf` need the old value: without one, they say nothing. A list whose items have no key has no old items.
 */
export function checkRules(
  value: Draft,
  old: Draft | undefined,
  schema: StructuralSchema,
  path: string,
): FieldProblem[] {
  const own = (schema["x-kubernetes-validations"] ?? []).flatMap((rule) => checkRule(rule, value, old, schema, path));
  return [...own, ...childrenOf(value, old, schema, path).flatMap((child) => checkRules(...child))];
}

type Child = Parameters<typeof checkRules>;

function childrenOf(value: Draft, old: Draft | undefined, schema: StructuralSchema, path: string): Child[] {
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? [] : value.map((item, index) => [item, undefined, items, `${path}[${index}]`]);
  }
  if (!isDraftObject(value)) return [];
  return Object.entries(value).flatMap(([key, child]): Child[] => {
    const known = propertySchema(schema, key);
    const oldChild = isDraftObject(old) && Object.hasOwn(old, key) ? old[key] : undefined;
    return known === undefined ? [] : [[child, oldChild, known, childPath(path, key)]];
  });
}

function checkRule(
  rule: ValidationRule,
  value: Draft,
  old: Draft | undefined,
  schema: StructuralSchema,
  path: string,
): FieldProblem[] {
  const native = nativeRules.get(rule.rule);
  if (native !== undefined) return native(value, path);
  const isTransition = rule.rule.includes("oldSelf");
  if (isTransition && old === undefined) return [];
  const self = toCel(value, schema);
  const variables = isTransition ? { self, oldSelf: toCel(old ?? null, schema) } : { self };
  if (holds(rule.rule, variables)) return [];
  return [{ path: `${path}${rule.fieldPath ?? ""}`.replace(/^\./, ""), message: rule.message }];
}

/** A rule that cannot be evaluated is not met: so does the server say. */
function holds(rule: string, variables: Parameters<Evaluate>[0]): boolean {
  const evaluate = parser.parse(rule);
  try {
    return evaluate(variables) === true;
  } catch {
    return false;
  }
}

/**
 * The value as CEL on the server sees it: fields that the schema types, integers as ints. JSON without a type can only be
 * compared. Sets and list-maps are equal in any order, so they are put into one.
 */
function toCel(value: Draft, schema: StructuralSchema): unknown {
  if (value === null) return null;
  if (schema.type === undefined && schema["x-kubernetes-int-or-string"] !== true) return canonicalJson(value);
  if (typeof value === "number") return schema.type === "number" ? value : BigInt(value);
  if (Array.isArray(value)) return toCelList(value, schema);
  if (!isDraftObject(value)) return value;
  const fields = Object.entries(value).map(([key, child]) => {
    return [key, toCel(child, propertySchema(schema, key) ?? {})] as const;
  });
  return new Map(fields);
}

function toCelList(value: readonly Draft[], schema: StructuralSchema): unknown[] {
  const { items = {} } = schema;
  const listType = schema["x-kubernetes-list-type"];
  if (listType !== "set" && listType !== "map") return value.map((item) => toCel(item, items));
  const [key = ""] = schema["x-kubernetes-list-map-keys"] ?? [];
  const sorted = value.toSorted((a, b) => (keyOf(a, key) < keyOf(b, key) ? -1 : 1));
  return sorted.map((item) => toCel(item, items));
}

function keyOf(item: Draft, key: string): string {
  return textOf(isDraftObject(item) ? item[key] : item);
}

function textOf(value: Draft | undefined): string {
  return typeof value === "string" ? value : JSON.stringify(value ?? null);
}
