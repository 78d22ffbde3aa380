import type { Json, JsonObject } from "../payload.ts";
import type { ParameterDefinition, PipelineDefinition } from "../pipeline.ts";
import type { ValueCheck } from "../plan.ts";
import type { Problems } from "./frames.ts";
import type { FlatStep } from "./inline.ts";

/** Makes a check of a JSON Schema; throws Error where it is none. The engine knows no JSON Schema itself. */
export type CompileSchema = (schema: JsonObject) => ValueCheck<Json>;

/** The checks that a run makes of values which only it knows; each schema is compiled once. */
export class SchemaChecks {
  readonly #compile: CompileSchema | undefined;
  readonly #problems: Problems;
  readonly #known = new Map<JsonObject, ValueCheck<Json> | undefined>();

  /** Without `compile` nothing is checked. */
  constructor(compile: CompileSchema | undefined, problems: Problems) {
    this.#compile = compile;
    this.#problems = problems;
  }

  ofOptions(step: FlatStep, schema: JsonObject | undefined): ValueCheck<JsonObject> | undefined {
    return this.#checkOf(step, `${step.field}.optionsExpression`, schema);
  }

  /** Of what an inlined Pipeline receives. */
  ofInput(step: FlatStep, { inputSchema }: PipelineDefinition): ValueCheck<Json> | undefined {
    return this.#checkOf(step, `${step.field}.pipeline`, inputSchema);
  }

  /** Of the complete parameters of an inlined Pipeline. */
  ofParameters(step: FlatStep, declared: readonly ParameterDefinition[]): ValueCheck<JsonObject> | undefined {
    const checks = declared.flatMap(({ name, schema }) => {
      const check = this.#checkOf(step, `${step.field}.pipeline`, schema);
      return check === undefined ? [] : [{ name, check }];
    });
    if (checks.length === 0) return undefined;
    return (parameters) => {
      for (const { name, check } of checks) {
        const wrong = check(parameters[name] ?? null);
        if (wrong !== undefined) return `parameters.${name}: ${wrong}`;
      }
      return undefined;
    };
  }

  #checkOf(step: FlatStep, field: string, schema: JsonObject | undefined): ValueCheck<Json> | undefined {
    if (schema === undefined || this.#compile === undefined) return undefined;
    if (!this.#known.has(schema)) this.#known.set(schema, this.#compiled(step, field, schema));
    return this.#known.get(schema);
  }

  #compiled({ frame, definition }: FlatStep, field: string, schema: JsonObject): ValueCheck<Json> | undefined {
    try {
      return this.#compile?.(schema);
    } catch (error) {
      const why = error instanceof Error ? error.message : "it is no schema";
      const message = `A schema that step ${definition.name} needs cannot be used: ${why}`;
      this.#problems.report(frame, {
        field,
        reason: "InvalidStep",
        message,
        mend: "Correct the schema where it is declared.",
      });
      return undefined;
    }
  }
}
