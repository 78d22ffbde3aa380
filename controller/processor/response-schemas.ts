import type { ResponseChecks } from "../../backends/checked.ts";
import type { Json, JsonObject } from "../../engine/payload.ts";
import type { ProcessorFacts } from "../../engine/pipeline.ts";
import type { Report, SchemaCompiler } from "../api/json-schema.ts";
import type { SchemaViolation } from "../api/json-schema-messages.ts";
import type { RefusalReason } from "./refusal.ts";

/** A Processor's schemas, compiled; or which of them is none. */
export type ResponseSchemas =
  | { readonly ok: true; readonly checks?: ResponseChecks }
  | { readonly ok: false; readonly reason: RefusalReason; readonly violation: SchemaViolation };

const reasons = {
  optionsSchema: "InvalidOptionsSchema",
  outputSchema: "InvalidOutputSchema",
  metadataSchema: "InvalidMetadataSchema",
} as const satisfies Record<string, RefusalReason>;

type SchemaField = keyof typeof reasons;

/** Compiles all schemas of a Processor: those of what it gives become checks. */
export function compileSchemas(facts: ProcessorFacts, schemas: SchemaCompiler): ResponseSchemas {
  const compiled = (field: SchemaField, report: Report) => {
    const schema: JsonObject | undefined = facts[field];
    return schema === undefined ? undefined : schemas.compile(schema, `spec.${field}`, report);
  };
  const options = compiled("optionsSchema", "All");
  const [output, metadata] = [compiled("outputSchema", "First"), compiled("metadataSchema", "First")];
  if (options?.ok === false) return refused("optionsSchema", options.violation);
  if (output?.ok === false) return refused("outputSchema", output.violation);
  if (metadata?.ok === false) return refused("metadataSchema", metadata.violation);
  if (output === undefined && metadata === undefined) return { ok: true };
  const first = (violations: readonly SchemaViolation[]) => violations[0]?.message;
  const checks = {
    ...(output === undefined ? {} : { output: (value: Json) => first(output.check(value, "output")) }),
    ...(metadata === undefined
      ? {}
      : { metadata: (value: Readonly<Record<string, string>>) => first(metadata.check(value, "metadata")) }),
  };
  return { ok: true, checks };
}

function refused(field: SchemaField, violation: SchemaViolation): ResponseSchemas {
  return { ok: false, reason: reasons[field], violation };
}
