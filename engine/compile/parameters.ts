import { MillraceError } from "../errors.ts";
import { closest } from "../names.ts";
import type { Json, JsonObject } from "../payload.ts";
import type { Plan } from "../plan.ts";

/** Faults that one message tells. */
const maxFaults = 4;

/**
 * The parameters of a run: those given, and the defaults of those that are not. Schemas are the caller's to check.
 * Throws MillraceError InvalidInput, which names the first few that are missing or unknown.
 */
export function bindParameters(plan: Plan, given: JsonObject): JsonObject {
  const bound: [string, Json | undefined][] = plan.parameters.map((parameter) => [
    parameter.name,
    Object.hasOwn(given, parameter.name) ? given[parameter.name] : parameter.default,
  ]);
  const names = bound.map(([name]) => name);
  const unknown = Object.keys(given).filter((name) => !names.includes(name));
  const missing = bound.filter(([, value]) => value === undefined).map(([name]) => name);
  const faults = [
    ...unknown.map((name) => unknownFault(plan, name, names)),
    ...missing.map((name) => missingFault(plan, name)),
  ];
  if (faults.length > 0) throw new MillraceError("InvalidInput", faults.slice(0, maxFaults).join("; "));
  return Object.fromEntries(bound) as JsonObject;
}

function unknownFault({ name: pipeline }: Plan, name: string, names: readonly string[]): string {
  const suggestion = closest(name, names);
  const mend = names.length === 0 ? "it takes none" : `it takes ${names.join(", ")}`;
  const guess = suggestion === undefined ? "" : `; did you mean ${suggestion}?`;
  return `Pipeline ${pipeline} has no parameter named ${name}: ${mend}${guess}`;
}

function missingFault({ name: pipeline }: Plan, name: string): string {
  return `Pipeline ${pipeline} needs the parameter ${name}: it has no default`;
}
