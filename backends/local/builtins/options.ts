import type { Json, JsonObject } from "../../../engine/payload.ts";
import { Refusal } from "./refusal.ts";

/** One option of a built-in: what it may be, and what it says. */
export interface OptionSpec {
  readonly type: "string" | "integer" | "boolean" | "strings" | "object" | "any";
  /** One sentence; becomes the schema's description. */
  readonly description: string;
  /** Default false. */
  readonly required?: boolean;
  readonly default?: Json;
  readonly enum?: readonly string[];
  /** Of an integer. */
  readonly minimum?: number;
  readonly maximum?: number;
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

const schemaTypes: Readonly<Record<OptionSpec["type"], JsonObject>> = {
  string: { type: "string" },
  integer: { type: "integer" },
  boolean: { type: "boolean" },
  strings: { type: "array", items: { type: "string" } },
  object: { type: "object" },
  any: {},
};

/** The options as a JSON Schema: an object that allows nothing else. */
export function optionsSchema(specs: OptionSpecs): JsonObject {
  const properties: Record<string, Json> = {};
  for (const [name, spec] of Object.entries(specs)) {
    const { type, required: _required, ...rest } = spec;
    properties[name] = { ...schemaTypes[type], ...(rest as JsonObject) };
  }
  const required = Object.keys(specs).filter((name) => specs[name]?.required === true);
  return { type: "object", additionalProperties: false, properties, ...(required.length === 0 ? {} : { required }) };
}

/** Options that fit their specs, with the defaults filled in. */
export class Options {
  readonly #values: ReadonlyMap<string, Json>;

  /** @throws Refusal naming the option, what it is and what would be right */
  constructor(specs: OptionSpecs, given: JsonObject) {
    const values = new Map<string, Json>();
    for (const name of Object.keys(given)) {
      if (Object.hasOwn(specs, name)) continue;
      const known = Object.keys(specs);
      throw new Refusal(
        `unknown option ${JSON.stringify(name)}; ${known.length === 0 ? "there are none" : `known: ${known.join(", ")}`}`,
      );
    }
    for (const [name, spec] of Object.entries(specs)) {
      const value = Object.hasOwn(given, name) ? given[name] : spec.default;
      if (value === undefined && spec.required === true)
        throw new Refusal(`option ${name} is missing: ${spec.description}`);
      if (value === undefined) continue;
      check(name, value, spec);
      values.set(name, value);
    }
    this.#values = values;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** Of a required option, or one with a default. */
  text(name: string): string {
    return this.#values.get(name) as string;
  }

  integer(name: string): number {
    return this.#values.get(name) as number;
  }

  flag(name: string): boolean {
    return this.#values.get(name) === true;
  }

  texts(name: string): readonly string[] {
    return (this.#values.get(name) ?? []) as readonly string[];
  }

  object(name: string): JsonObject {
    return (this.#values.get(name) ?? {}) as JsonObject;
  }

  any(name: string): Json {
    return this.#values.get(name) ?? null;
  }
}

const checks: Readonly<Record<OptionSpec["type"], (value: Json) => boolean>> = {
  string: (value) => typeof value === "string",
  integer: (value) => Number.isInteger(value),
  boolean: (value) => typeof value === "boolean",
  strings: (value) => Array.isArray(value) && value.every((item) => typeof item === "string"),
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  any: () => true,
};

const wantedTypes: Readonly<Record<OptionSpec["type"], string>> = {
  string: "a string",
  integer: "an integer",
  boolean: "true or false",
  strings: "a list of strings",
  object: "an object",
  any: "any value",
};

function check(name: string, value: Json, spec: OptionSpec): void {
  const shown = JSON.stringify(value).slice(0, 80);
  if (!checks[spec.type](value)) throw new Refusal(`option ${name} is ${shown}; it must be ${wantedTypes[spec.type]}`);
  if (spec.enum !== undefined && !spec.enum.includes(value as string)) {
    throw new Refusal(`option ${name} is ${shown}; it must be one of ${spec.enum.join(", ")}`);
  }
  const low = spec.minimum ?? Number.NEGATIVE_INFINITY;
  const high = spec.maximum ?? Number.POSITIVE_INFINITY;
  if (spec.type === "integer" && ((value as number) < low || (value as number) > high)) {
    throw new Refusal(`option ${name} is ${shown}; it must be from ${low} to ${high}`);
  }
}
