import { MillraceError } from "../errors.ts";
import { closest } from "../names.ts";
import type { Json, JsonObject } from "../payload.ts";
import type { ParameterDefinition } from "../pipeline.ts";
import type { Plan } from "../plan.ts";

/**
 * The parameters of a run: those given, and the defaults of those that are not. Schemas are the caller's to check.
 * Throws MillraceError InvalidInput when one is missing or unknown.
 */
export function bindParameters(plan: Plan, given: JsonObject): JsonObject {
  const names = plan.parameters.map((parameter) => parameter.name);
  for (const name of Object.keys(given)) {
    if (names.includes(name)) continue;
    const suggestion = closest(name, names);
    const mend = names.length === 0 ? "it takes none" : `it takes ${names.join(", ")}`;
    const guess = suggestion === undefined ? "" : `; did you mean ${suggestion}?`;
    throw new MillraceError("InvalidInput", `Pipeline ${plan.name} has no parameter named ${name}: ${mend}${guess}`);
  }
  return Object.fromEntries(plan.parameters.map((parameter) => [parameter.name, boundValue(plan, parameter, given)]));
}

function boundValue(plan: Plan, parameter: ParameterDefinition, given: JsonObject): Json {
  const value = Object.hasOwn(given, parameter.name) ? given[parameter.name] : parameter.default;
  if (value !== undefined) return value;
  throw new MillraceError(
    "InvalidInput",
    `Pipeline ${plan.name} needs the parameter ${parameter.name}: it has no default`,
  );
}
