import type { JsonObject } from "../../engine/payload.ts";
import type { Problem, ProcessorFacts } from "../../engine/pipeline.ts";
import type { SchemaCompiler } from "../api/json-schema.ts";
import type { SchemaViolation } from "../api/json-schema-messages.ts";
import type { FinallyStepSpec, StepSpec } from "../api/types.ts";
import type { AnyPipelineSpec } from "../catalog.ts";
import { compilerOf } from "./schemas.ts";

type Processors = ReadonlyMap<string, ProcessorFacts>;
type AnyStep = StepSpec | FinallyStepSpec;

/** What a message calls the schema. */
const schemaField = "spec.optionsSchema";

/** What a step's options are to be checked against. */
interface OptionsCheck {
  readonly schema: JsonObject;
  /** Absent: only a run knows them, as an expression gives some; the schema itself is to be right all the same. */
  readonly options?: JsonObject;
}

/** Whether options of any step are to be checked, or will be when it runs. */
export function checksOptions(spec: AnyPipelineSpec, processors: Processors): boolean {
  return stepsOf(spec).some(([step]) => optionsCheck(step, processors) !== undefined);
}

/**
 * The options of all steps, those of `finally` too, against their Processors' `optionsSchema`. Of a step with
 * `optionsExpression` nothing can be said before it runs: the expression may give what the static part lacks, and put
 * another value in the place of one that is wrong.
 */
export function optionsProblems(
  spec: AnyPipelineSpec,
  processors: Processors,
  schemas: SchemaCompiler | undefined,
): readonly Problem[] {
  return stepsOf(spec).flatMap(([step, field]) => {
    const check = optionsCheck(step, processors);
    if (check === undefined) return [];
    const compiled = compilerOf(schemas).compile(check.schema, schemaField);
    const path = `${field}.options`;
    if (!compiled.ok) return [optionsProblem({ ...compiled.violation, path }, step)];
    if (check.options === undefined) return [];
    return compiled.check(check.options, path).map((violation) => optionsProblem(violation, step));
  });
}

function stepsOf({ steps, finally: after = [] }: AnyPipelineSpec): readonly (readonly [AnyStep, string])[] {
  return [
    ...steps.map((step, index) => [step, `steps[${index}]`] as const),
    ...after.map((step, index) => [step, `finally[${index}]`] as const),
  ];
}

/** Undefined where there is no schema, or none that could refuse the options. */
function optionsCheck(step: AnyStep, processors: Processors): OptionsCheck | undefined {
  const known = processors.get(step.processor ?? "");
  if (known?.optionsSchema === undefined) return undefined;
  if (step.optionsExpression !== undefined) return { schema: known.optionsSchema };
  const options = { ...known.options, ...(step.options as JsonObject | undefined) };
  if (Object.keys(options).length === 0 && takesNothing(known.optionsSchema)) return undefined;
  return { schema: known.optionsSchema, options };
}

/** Keywords by which a schema says nothing against an empty object. */
const harmless = new Set(["type", "properties", "additionalProperties", "title", "description"]);

function takesNothing(schema: JsonObject): boolean {
  return schema.type === "object" && Object.keys(schema).every((keyword) => harmless.has(keyword));
}

function optionsProblem(violation: SchemaViolation, step: AnyStep): Problem {
  return {
    ...violation,
    reason: "InvalidOptions",
    message: `step ${step.name}: ${violation.message} (optionsSchema of Processor ${step.processor})`,
  };
}
