import type { ModuleFlags } from "../module-options.ts";

/** What `millrace run` was told. */
export interface RunFlags extends ModuleFlags {
  readonly filename: readonly string[];
  readonly input?: string;
  readonly contentType?: string;
  readonly param: readonly string[];
  readonly output: "text" | "json" | "yaml";
  readonly pluginsDir?: string;
  readonly modulesDir?: string;
  readonly allowIsolation: readonly string[];
  readonly save?: string;
  readonly logs?: true;
  readonly quiet?: true;
}
