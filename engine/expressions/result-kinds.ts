import type { ExpressionFault, ExpressionSite, ResultKind } from "./expression-site.ts";
import type { Value } from "./json-values.ts";
import type { Type } from "./types.ts";
import { describe, kinds, mayBe } from "./types.ts";

/** What must be given where an expression stands. */
interface Wanted {
  readonly says: string;
  readonly mend: string;
  readonly is: (value: Value) => boolean;
}

const wantedKinds: Readonly<Record<Exclude<ResultKind, "any">, Wanted>> = {
  bool: {
    says: "true or false",
    mend: "write a condition that gives true or false",
    is: (value) => typeof value === "boolean",
  },
  list: { says: "a list", mend: "write what gives a list, for example input.items", is: Array.isArray },
  map: {
    says: "a map",
    mend: "write a map, for example {'width': input.width}",
    is: (value) => value instanceof Map,
  },
  string: {
    says: "a string",
    mend: "write what gives a string, for example string(input.size)",
    is: (value) => typeof value === "string",
  },
};

/** Where no value that the expression gives can be right: by cel-js's type, such as `list<int>` or `dyn`, or by the inferred one. */
export function resultFault(celType: string, type: Type, { result }: ExpressionSite): ExpressionFault | undefined {
  if (result === "any") return undefined;
  const { mend } = wantedKinds[result];
  const fits = celType.startsWith("dyn") || celType === result || celType.startsWith(`${result}<`);
  if (!fits) return { message: `it gives ${celType}`, mend };
  return mayBe(type, kinds[result]) ? undefined : { message: `it gives ${describe(type)}`, mend };
}

/** What is wrong with a value that an expression gave; undefined: nothing. */
export function wrongResult(value: Value, result: ResultKind): string | undefined {
  if (result === "any" || wantedKinds[result].is(value)) return undefined;
  return `gave ${kindOf(value)}; it must give ${wantedKinds[result].says}`;
}

function kindOf(value: Value): string {
  if (value === null) return "null";
  if (typeof value === "bigint") return "an int";
  if (typeof value === "number") return "a double";
  if (typeof value === "string") return "a string";
  return Array.isArray(value) ? "a list" : "a map or another value";
}
