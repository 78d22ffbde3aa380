import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import draft07 from "ajv/dist/refs/json-schema-draft-07.json" with { type: "json" };
import { LRUCache } from "lru-cache";
import { RE2JS } from "re2js";
import { digestOf, type Json, type JsonObject } from "../../engine/payload.ts";
import { checkBounds, SchemaRefusal, schemaBounds } from "./json-schema-bounds.ts";
import { type SchemaViolation, violationOf } from "./json-schema-messages.ts";
import { placesOf, workOf } from "./json-schema-work.ts";

/** What a value has against a schema; empty when it is right. `root` is what the paths begin with, for example `options`. */
export type SchemaCheck = (value: Json, root: string) => readonly SchemaViolation[];

export type CompiledSchema =
  | { readonly ok: true; readonly check: SchemaCheck }
  | { readonly ok: false; readonly violation: SchemaViolation };

/** How many of a value's violations are told: the first one stops the check of a large value early. */
export type Report = "First" | "All";

const maxViolations = 20;
const maxCachedSchemas = 500;
/** A longer string is refused by a `pattern` unread. */
const maxMatchedCharacters = 64 * 1024;
const encoder = new TextEncoder();

/**
 * JSON Schema 2020-12 (or draft-07, by `$schema`) for schemas from tenants: local references only, bounded in size and work
 * (`schemaBounds`), patterns in linear time (RE2's syntax: no look-around, no back-references), `format` not checked.
 * A schema is compiled once; the last 500 are kept.
 */
export class SchemaCompiler {
  readonly #meter = new MatchMeter();
  readonly #compilers = new Map<Report, Ajv2020>();
  readonly #compiled = new LRUCache<string, CompiledSchema>({ max: maxCachedSchemas });

  /** Never throws: a schema that is no schema, or is over a bound, is a violation with a path from `root` on. */
  compile(schema: JsonObject, root: string, report: Report = "All"): CompiledSchema {
    const key = `${report} ${root} ${digestOf(encoder.encode(JSON.stringify(schema)))}`;
    const known = this.#compiled.get(key);
    if (known !== undefined) return known;
    const compiled = compile(this.#compilerFor(report), this.#meter, schema, root);
    this.#compiled.set(key, compiled);
    return compiled;
  }

  #compilerFor(report: Report): Ajv2020 {
    const known = this.#compilers.get(report) ?? newAjv(report, this.#meter);
    this.#compilers.set(report, known);
    return known;
  }
}

function newAjv(report: Report, meter: MatchMeter): Ajv2020 {
  const ajv = new Ajv2020({
    allErrors: report === "All",
    verbose: true,
    strict: true,
    strictTypes: false,
    strictTuples: false,
    strictRequired: false,
    // In 2020-12 `format` says something to people, and is not checked.
    validateFormats: false,
    // Nothing is registered by its $id: two tenants' schemas may bear the same one.
    addUsedSchema: false,
    inlineRefs: false,
    ownProperties: true,
    logger: false,
    code: { regExp: Object.assign((pattern: string) => linearPattern(pattern, meter), { code: "linearPattern" }) },
  });
  ajv.addMetaSchema(draft07);
  return ajv;
}

/** Counts what matching takes in one check. A check is synchronous, so one serves all. */
class MatchMeter {
  #left = 0;

  start(): void {
    this.#left = schemaBounds.matching;
  }

  charge(units: number): void {
    this.#left -= units;
    if (this.#left < 0)
      throw new Error(`matching its strings against patterns takes over ${schemaBounds.matching} units`);
  }
}

/** ajv's `regExp` option: JavaScript's syntax where RE2 has the same, matched in linear time. */
function linearPattern(
  pattern: string,
  meter: MatchMeter,
): { test: (text: string) => boolean; toString: () => string } {
  const compiled = RE2JS.compile(RE2JS.translateRegExp(pattern));
  const size = compiled.programSize();
  return {
    // ajv shares compiled patterns by this string.
    toString: () => pattern,
    test(text) {
      meter.charge(20 + (text.length * size) / 20);
      if (text.length <= maxMatchedCharacters) return compiled.test(text);
      throw new Error(
        `a string of ${text.length} characters is over the ${maxMatchedCharacters} that a pattern is matched against`,
      );
    },
  };
}

function compile(ajv: Ajv2020, meter: MatchMeter, schema: JsonObject, root: string): CompiledSchema {
  const { $id: _, ...anonymous } = schema;
  try {
    checkBounds(anonymous);
    const validate = ajv.compile<Json>(anonymous);
    const maxPlaces = schemaBounds.work / workOf(anonymous);
    return {
      ok: true,
      check(value, valueRoot) {
        const refusal = tooLarge(value, valueRoot, maxPlaces);
        if (refusal !== undefined) return [refusal];
        meter.start();
        return check(validate, value, valueRoot);
      },
    };
  } catch (error) {
    return { ok: false, violation: schemaViolation(error, root) };
  } finally {
    ajv.removeSchema(anonymous);
  }
}

function schemaViolation(error: unknown, root: string): SchemaViolation {
  if (error instanceof SchemaRefusal) {
    const path = error.path === "" ? root : `${root}.${error.path}`;
    return { path, message: `${path} is refused as a JSON Schema: ${error.message}`, mend: error.mend };
  }
  const message = error instanceof Error ? error.message : String(error);
  return {
    path: root,
    message: `${root} is not a JSON Schema that can be used: ${message}`,
    mend: "Write JSON Schema 2020-12 with patterns in RE2's syntax.",
  };
}

function tooLarge(value: Json, path: string, maxPlaces: number): SchemaViolation | undefined {
  if (placesOf(value, maxPlaces) <= maxPlaces) return undefined;
  const limit = Math.floor(maxPlaces);
  return {
    path,
    message: `${path} cannot be checked: it holds more than ${limit} values, which is what this schema is checked against`,
    mend: "Give a smaller value, or a schema with fewer alternatives.",
  };
}

function check(validate: ValidateFunction<Json>, value: Json, root: string): readonly SchemaViolation[] {
  try {
    if (validate(value)) return [];
  } catch (error) {
    const message = `${root} cannot be checked: ${error instanceof Error ? error.message : String(error)}`;
    return [{ path: root, message, mend: "Give a smaller value." }];
  }
  const errors: readonly ErrorObject[] = validate.errors ?? [];
  return errors.slice(0, maxViolations).map((error) => violationOf(error, root));
}
