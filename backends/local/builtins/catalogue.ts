import type { JsonObject } from "../../../engine/payload.ts";
import type { Builtin } from "./builtin.ts";
import { encodingBuiltins } from "./encoding.ts";
import { jsonBuiltins } from "./json.ts";
import { optionsSchema } from "./options.ts";
import { patternBuiltins } from "./pattern.ts";
import { templateBuiltins } from "./template.ts";
import { testBuiltins } from "./testing.ts";
import { textBuiltins } from "./text.ts";

/** Every built-in by name, in the order of `docs/builtins.md`. */
export const builtinCatalogue: ReadonlyMap<string, Builtin> = new Map(
  [...textBuiltins, ...patternBuiltins, ...templateBuiltins, ...jsonBuiltins, ...encodingBuiltins, ...testBuiltins].map(
    (builtin) => [builtin.name, builtin],
  ),
);

/** The JSON Schema of a built-in's options; undefined: there is no such built-in. */
export function builtinOptionsSchema(name: string): JsonObject | undefined {
  const builtin = builtinCatalogue.get(name);
  return builtin === undefined ? undefined : optionsSchema(builtin.options);
}

/** Why there is no built-in of that name to be had: the message has those that are near. */
export function unknownBuiltin(name: string): string {
  const group = name.split(".")[0] ?? name;
  const names = [...builtinCatalogue.keys()];
  const near = names.filter((known) => known.split(".").includes(group) || known.includes(name));
  return `there is no built-in ${JSON.stringify(name)}; known: ${(near.length > 0 ? near : names).join(", ")}`;
}
