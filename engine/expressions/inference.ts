import { closest } from "../names.ts";
import type { ExpressionFault } from "./expression-site.ts";
import { maxFaults } from "./expression-site.ts";
import type { CelNode } from "./references.ts";
import type { Kind, Type, VariableTypes } from "./types.ts";
import { anyType, describe, eitherOf, kinds, listOf, mapOf, mayBe, numberKinds, ofKinds, typeOf } from "./types.ts";

const boolType = typeOf("bool");
const intType = typeOf("int");
const doubleType = typeOf("double");
const stringType = typeOf("string");

/**
 * Says what an expression gives, and what in it would fail whenever it is evaluated, by the types of its variables. cel-js checks
 * what the expression itself says; this what schemas say: see `adr/0005-types-from-schemas.md`.
 */
export class Inference {
  /** At most {@link maxFaults}. */
  readonly faults: ExpressionFault[] = [];
  readonly type: Type;

  constructor(root: CelNode, variables: VariableTypes) {
    this.type = this.#of(root, variables);
  }

  #of(node: CelNode, scope: VariableTypes): Type {
    switch (node.op) {
      case "value":
        return literalType(node.args);
      case "id":
        return scope.get(String(node.args)) ?? anyType;
      case ".":
      case "[]":
        return this.#access(node, scope);
      case "call":
        return this.#call(node, scope);
      case "rcall":
        return this.#method(node, scope);
      case "list":
        return listOf(this.#union(node.args as CelNode[], scope));
      case "map":
        return this.#map(node.args as [CelNode, CelNode][], scope);
      case "?:": {
        const [condition, then, otherwise] = node.args as [CelNode, CelNode, CelNode];
        this.#want(condition, scope, kinds.bool, "a condition before `?`");
        return eitherOf(this.#of(then, scope), this.#of(otherwise, scope));
      }
      case "!_":
        this.#want(node.args as CelNode, scope, kinds.bool, "what follows `!`");
        return boolType;
      case "-_": {
        const type = this.#want(node.args as CelNode, scope, numberKinds, "what follows `-`");
        return mayBe(type, kinds.other) ? anyType : ofKinds(type.kinds & numberKinds);
      }
      default:
        return this.#binary(node, scope);
    }
  }

  #union(nodes: readonly CelNode[], scope: VariableTypes): Type {
    const types = nodes.map((node) => this.#of(node, scope));
    return (
      types.reduce<Type | undefined>((sum, type) => (sum === undefined ? type : eitherOf(sum, type)), undefined) ??
      anyType
    );
  }

  #map(entries: readonly [CelNode, CelNode][], scope: VariableTypes): Type {
    const properties = new Map<string, Type>();
    for (const [key, value] of entries) {
      const type = this.#of(value, scope);
      if (key.op === "value" && typeof key.args === "string") properties.set(key.args, type);
      else this.#of(key, scope);
    }
    return mapOf(properties, anyType);
  }

  /** Reports where no value of the node could be of the kinds. */
  #want(node: CelNode, scope: VariableTypes, bits: number, what: string): Type {
    const type = this.#of(node, scope);
    if (mayBe(type, bits)) return type;
    this.#fault(
      `${what} must be ${describe(ofKinds(bits))}, and ${textOf(node)} is ${describe(type)}`,
      "compare or convert it",
    );
    return anyType;
  }

  #fault(message: string, mend: string): void {
    if (this.faults.length < maxFaults) this.faults.push({ message, mend });
  }

  #access(node: CelNode, scope: VariableTypes): Type {
    const [left, right] = node.args as [CelNode, CelNode | string];
    const type = this.#of(left, scope);
    const key = typeof right === "string" ? right : right.op === "value" ? right.args : undefined;
    if (typeof right !== "string") this.#of(right, scope);
    if (!mayBe(type, kinds.map | kinds.list)) {
      this.#fault(`${textOf(left)} is ${describe(type)}, which has no ${keyText(key)}`, "take it from a map or a list");
      return anyType;
    }
    if (typeof key === "string" && !mayBe(type, kinds.map)) {
      this.#fault(
        `${textOf(left)} is a list, which has no ${keyText(key)}`,
        "take one of its items, or loop over it by map() or filter()",
      );
      return anyType;
    }
    if (typeof key === "string") return this.#property(left, type, key);
    return mayBe(type, kinds.map) ? anyType : type.item();
  }

  #property(left: CelNode, type: Type, key: string): Type {
    const property = type.property(key);
    if (property !== undefined || this.faults.length >= maxFaults) return property ?? anyType;
    const suggestion = closest(key, type.keys);
    const there =
      type.keys.length === 0 ? "its schema declares none" : `there are ${type.keys.slice(0, 10).join(", ")}`;
    this.#fault(
      `${textOf(left)} cannot have ${keyText(key)}: its schema excludes it`,
      suggestion === undefined ? there : `write ${suggestion}; ${there}`,
    );
    return anyType;
  }

  #call(node: CelNode, scope: VariableTypes): Type {
    const [name, args] = node.args as [string, CelNode[]];
    if (name === "has") return this.#has(args[0], scope);
    for (const argument of args) this.#of(argument, scope);
    return callTypes.get(name) ?? anyType;
  }

  /** Asking is what has() is for: only what the last key is taken from must be there. */
  #has(argument: CelNode | undefined, scope: VariableTypes): Type {
    if (argument?.op === ".") this.#of((argument.args as [CelNode])[0], scope);
    return boolType;
  }

  #method(node: CelNode, scope: VariableTypes): Type {
    const [name, receiver, args] = node.args as [string, CelNode, CelNode[]];
    const [variable, ...rest] = args;
    const isMacro = node.meta.alternate !== undefined || node.meta.macro !== undefined;
    if (isMacro && variable?.op === "id") {
      const bound = String(variable.args);
      return name === "bind" ? this.#bind(bound, rest, scope) : this.#loop(name, receiver, bound, rest, scope);
    }
    const type = this.#of(receiver, scope);
    for (const argument of args) this.#of(argument, scope);
    const result = textMethods.get(name);
    if (result !== undefined && !mayBe(type, kinds.string)) {
      this.#fault(
        `${name}() is there for strings, and ${textOf(receiver)} is ${describe(type)}`,
        "convert it by string(), or take another function",
      );
    }
    return result ?? (name === "size" ? intType : name === "join" ? stringType : anyType);
  }

  #bind(name: string, [value, body]: readonly CelNode[], scope: VariableTypes): Type {
    if (value === undefined || body === undefined) return anyType;
    return this.#of(body, new Map([...scope, [name, this.#of(value, scope)]]));
  }

  #loop(name: string, receiver: CelNode, bound: string, body: readonly CelNode[], scope: VariableTypes): Type {
    const range = this.#of(receiver, scope);
    if (!mayBe(range, kinds.list | kinds.map | kinds.bytes)) {
      this.#fault(
        `${name}() goes through a list or a map, and ${textOf(receiver)} is ${describe(range)}`,
        "take what holds several values",
      );
    }
    const item = mayBe(range, ~kinds.list & anyType.kinds) ? anyType : range.item();
    const inside = new Map([...scope, [bound, item]]);
    const last = body.at(-1);
    if (last === undefined) return anyType;
    if (name === "map") {
      for (const condition of body.slice(0, -1)) this.#want(condition, inside, kinds.bool, "the condition of map()");
      return listOf(this.#of(last, inside));
    }
    this.#want(last, inside, kinds.bool, `the condition of ${name}()`);
    return name === "filter" ? listOf(item) : boolType;
  }

  #binary({ op, args }: CelNode, scope: VariableTypes): Type {
    const operator = operators.get(op);
    const [left, right] = args as [CelNode, CelNode];
    if (operator === undefined) return anyType;
    if (operator === "logical") {
      for (const side of [left, right]) this.#want(side, scope, kinds.bool, `each side of \`${op}\``);
      return boolType;
    }
    const [leftType, rightType] = [this.#of(left, scope), this.#of(right, scope)];
    if (operator === "equality") return boolType;
    const possible = resultsOf(operator, leftType, rightType);
    if (possible !== 0) return operator.gives === "bool" ? boolType : ofKinds(possible);
    const shown = `${textOf(left)} is ${describe(leftType)}, and ${textOf(right)} is ${describe(rightType)}`;
    this.#fault(
      `\`${op}\` is not there for these: ${shown}`,
      "convert one of them, for example by int(), double() or string()",
    );
    return anyType;
  }
}

/** Which kinds an operator takes on its sides, and gives. */
interface Operator {
  readonly pairs: readonly (readonly [left: Kind, right: Kind])[];
  readonly gives: "bool" | "left";
}

const same = (...names: readonly Kind[]): Operator["pairs"] => names.map((name) => [name, name] as const);
const numeric = same("int", "double");
const ordered: Operator = {
  pairs: [...numeric, ["int", "double"], ["double", "int"], ...same("bool", "string")],
  gives: "bool",
};
const membership: Operator = {
  pairs: (Object.keys(kinds) as Kind[]).flatMap((left) => [[left, "list"] as const, [left, "map"] as const]),
  gives: "bool",
};

/** Equality is asked of all: values of different kinds are not equal. */
const operators: ReadonlyMap<string, Operator | "equality" | "logical"> = new Map<
  string,
  Operator | "equality" | "logical"
>([
  ["==", "equality"],
  ["!=", "equality"],
  ["&&", "logical"],
  ["||", "logical"],
  ["+", { pairs: [...numeric, ...same("string", "bytes", "list")], gives: "left" }],
  ["-", { pairs: numeric, gives: "left" }],
  ["*", { pairs: numeric, gives: "left" }],
  ["/", { pairs: numeric, gives: "left" }],
  ["%", { pairs: same("int"), gives: "left" }],
  ["<", ordered],
  ["<=", ordered],
  [">", ordered],
  [">=", ordered],
  ["in", membership],
]);

/** The kinds that the operator may give; none: it fails whatever the values are. */
function resultsOf({ pairs }: Operator, left: Type, right: Type): number {
  if (((left.kinds | right.kinds) & kinds.other) !== 0) return anyType.kinds;
  return pairs.reduce(
    (sum, [a, b]) => ((left.kinds & kinds[a]) !== 0 && (right.kinds & kinds[b]) !== 0 ? sum | kinds[a] : sum),
    0,
  );
}

const callTypes: ReadonlyMap<string, Type> = new Map([
  ["size", intType],
  ["int", intType],
  ["double", doubleType],
  ["string", stringType],
  ["bool", boolType],
  ["bytes", typeOf("bytes")],
]);

/** What only strings have, and what it gives. */
const textMethods: ReadonlyMap<string, Type> = new Map([
  ["contains", boolType],
  ["startsWith", boolType],
  ["endsWith", boolType],
  ["matches", boolType],
  ["lowerAscii", stringType],
  ["upperAscii", stringType],
  ["trim", stringType],
  ["substring", stringType],
  ["indexOf", intType],
  ["lastIndexOf", intType],
  ["split", listOf(stringType)],
]);

function literalType(value: unknown): Type {
  switch (typeof value) {
    case "boolean":
      return boolType;
    case "bigint":
      return intType;
    case "number":
      return doubleType;
    case "string":
      return stringType;
    default:
      return value === null ? typeOf("null") : anyType;
  }
}

function keyText(key: unknown): string {
  return typeof key === "string" ? `property ${key}` : "items";
}

/** A node as it was written, where it is a variable with constant keys. */
function textOf(node: CelNode): string {
  if (node.op === "id") return String(node.args);
  if (node.op === "value") return typeof node.args === "string" ? `'${node.args.slice(0, 40)}'` : String(node.args);
  if (node.op !== "." && node.op !== "[]") return "what is computed there";
  const [left, right] = node.args as [CelNode, CelNode | string];
  const key = typeof right === "string" ? right : right.op === "value" ? right.args : undefined;
  const shown =
    typeof key === "string" && /^[a-zA-Z_]\w*$/.test(key)
      ? `.${key}`
      : `[${JSON.stringify(typeof key === "bigint" ? Number(key) : key) ?? "…"}]`;
  return `${textOf(left)}${shown}`;
}
