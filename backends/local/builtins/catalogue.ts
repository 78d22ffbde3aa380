import type { Builtin } from "./builtin.ts";
import { encodingBuiltins } from "./encoding.ts";
import { jsonBuiltins } from "./json.ts";
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
