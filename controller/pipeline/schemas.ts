import type { CompileSchema } from "../../engine/compile/schema-checks.ts";
import { MillraceError } from "../../engine/errors.ts";
import type { Json, JsonObject } from "../../engine/payload.ts";
import type { Problem } from "../../engine/pipeline.ts";
import type { SchemaCheck, SchemaCompiler } from "../api/json-schema.ts";
import { schemaBounds } from "../api/json-schema-bounds.ts";
import type { AnyPipelineSpec } from "../catalog.ts";

/** The checks of what a run of a Pipeline is given. */
export interface SchemaChecks {
  readonly parameters: readonly { readonly name: string; readonly check: SchemaCheck }[];
  readonly input: SchemaCheck | undefined;
  readonly problems: readonly Problem[];
}

/** Whether a spec has schemas of parameters or of the input. */
export function hasSchemas(spec: AnyPipelineSpec): boolean {
  return schemasOf(spec).length > 0;
}

function schemasOf({ input, parameters = [] }: AnyPipelineSpec): readonly object[] {
  return [input.schema, ...parameters.map(({ schema }) => schema)].filter((schema) => schema !== undefined);
}

/** Compiling a schema takes up to 10 ms a KiB, and a Pipeline, and each that it brings in, may have one for each parameter. */
export function schemasTooLarge(specs: readonly AnyPipelineSpec[]): Problem | undefined {
  const schemas = specs.flatMap(schemasOf);
  const bytes = schemas.reduce((sum, schema) => sum + Buffer.byteLength(JSON.stringify(schema)), 0);
  if (schemas.length < 2 || bytes <= schemaBounds.bytes) return undefined;
  const brought = specs.length > 1 ? ", those of the Pipelines that it brings in counted" : "";
  return {
    path: "parameters",
    reason: "InvalidParameter",
    message: `the schemas of the parameters and the input take ${bytes} bytes together${brought}, the limit is ${schemaBounds.bytes}`,
    mend: "Check less, or let a processor check.",
  };
}

/** Compiles the schemas of a spec's parameters and of its input, and checks the parameters' defaults. */
export function schemaChecks(spec: AnyPipelineSpec, schemas: SchemaCompiler | undefined): SchemaChecks {
  const problems: Problem[] = [];
  const parameters: { name: string; check: SchemaCheck }[] = [];
  for (const [index, parameter] of (spec.parameters ?? []).entries()) {
    if (parameter.schema === undefined) continue;
    const path = `parameters[${index}]`;
    const compiled = compilerOf(schemas).compile(parameter.schema as JsonObject, `${path}.schema`);
    if (!compiled.ok) {
      problems.push({ ...compiled.violation, reason: "InvalidParameter" });
      continue;
    }
    parameters.push({ name: parameter.name, check: compiled.check });
    if (parameter.default === undefined) continue;
    const violations = compiled.check(parameter.default as Json, `${path}.default`);
    problems.push(...violations.map((violation) => ({ ...violation, reason: "InvalidParameter" }) as const));
  }
  if (spec.input.schema === undefined) return { parameters, input: undefined, problems };
  // An input may take 64 MiB: its check ends at the first thing that is wrong.
  const input = compilerOf(schemas).compile(spec.input.schema as JsonObject, "input.schema", "First");
  if (input.ok) return { parameters, input: input.check, problems };
  problems.push({ ...input.violation, reason: "InvalidInputSchema" });
  return { parameters, input: undefined, problems };
}

/**
 * The engine's port to JSON Schema, for what only a run knows. What is wrong with the schemas themselves is told by the
 * check of a Pipeline, with the place where each is declared: the engine need not tell it again.
 */
export function schemaPort(schemas: SchemaCompiler): CompileSchema {
  return (schema) => {
    const compiled = schemas.compile(schema, "schema", "First");
    if (!compiled.ok) return () => undefined;
    return (value) => {
      const [violation] = compiled.check(value, "value");
      return violation === undefined ? undefined : `${violation.message}: ${uncapitalized(violation.mend)}`;
    };
  };
}

/** A mend is a sentence; here it ends one. */
function uncapitalized(mend: string): string {
  return `${mend[0]?.toLowerCase()}${mend.slice(1)}`.replace(/\.$/, "");
}

export function compilerOf(schemas: SchemaCompiler | undefined): SchemaCompiler {
  if (schemas !== undefined) return schemas;
  throw new MillraceError("Internal", "a Pipeline with JSON Schemas was checked without a SchemaCompiler");
}
