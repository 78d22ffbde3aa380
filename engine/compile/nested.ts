import type { Type } from "../expressions/types.ts";
import { describe, kinds, mayBe } from "../expressions/types.ts";
import type { PipelineDefinition } from "../pipeline.ts";
import type { EnterFacts, NamedExpression } from "../plan.ts";
import type { Problems } from "./frames.ts";
import type { FlatStep } from "./inline.ts";
import type { SchemaChecks } from "./schema-checks.ts";
import { schemaType } from "./schema-types.ts";

/** Says how inlined Pipelines are entered, and reports where a step gives one what it does not take. */
export class NestedPipelines {
  readonly #schemas: SchemaChecks;
  readonly #problems: Problems;

  constructor(schemas: SchemaChecks, problems: Problems) {
    this.#schemas = schemas;
    this.#problems = problems;
  }

  enterFacts(
    step: FlatStep,
    { frame: { definition }, exit }: NonNullable<FlatStep["inlined"]>,
    parameters: readonly NamedExpression[],
  ): EnterFacts {
    this.#checkNames(step, definition);
    return {
      exit,
      pipeline: definition.name,
      declared: definition.parameters,
      parameters,
      checkParameters: this.#schemas.ofParameters(step, definition.parameters),
      checkInput: this.#schemas.ofInput(step, definition),
      maxInputBytes: definition.maxInputBytes,
    };
  }

  /** Refuses a value that is of no kind that the parameter's schema takes; JSON of bytes is a string. */
  checkType(
    { frame, field, definition: step }: FlatStep,
    inlined: FlatStep["inlined"],
    { name, at, type }: { readonly name: string; readonly at: number; readonly type: Type },
  ): void {
    const declared = inlined?.frame.definition.parameters.find((parameter) => parameter.name === name);
    const wanted = schemaType(declared?.schema);
    if (mayBe(type, wanted.kinds | kinds.bytes)) return;
    const message = `Step ${step.name} gives the parameter ${name} ${describe(type)}, which must be ${describe(wanted)}.`;
    const path = `${field}.parameters[${at}].value`;
    const mend = `Give what the schema of ${name} in the Pipeline ${step.pipeline} takes.`;
    this.#problems.report(frame, { field: path, reason: "InvalidParameter", message, mend });
  }

  #checkNames({ frame, field, definition: step }: FlatStep, { name: pipeline, parameters }: PipelineDefinition): void {
    const given = new Set<string>();
    const declared = parameters.map(({ name }) => name);
    for (const [index, { name }] of (step.parameters ?? []).entries()) {
      const path = `${field}.parameters[${index}].name`;
      const fault = given.has(name)
        ? givenTwice(step.name, name)
        : declared.includes(name)
          ? undefined
          : this.#unknown(pipeline, name, declared);
      if (fault !== undefined) this.#problems.report(frame, { field: path, reason: "InvalidParameter", ...fault });
      given.add(name);
    }
    for (const parameter of parameters) {
      if (parameter.default !== undefined || given.has(parameter.name)) continue;
      const message = `Step ${step.name} does not give the parameter ${parameter.name}, which the Pipeline ${pipeline} needs: it has no default.`;
      const mend = `Add {name: ${parameter.name}, value: …} to its parameters.`;
      this.#problems.report(frame, { field: `${field}.parameters`, reason: "InvalidParameter", message, mend });
    }
  }

  #unknown(pipeline: string, name: string, declared: readonly string[]): { message: string; mend: string } {
    const suggestion = this.#problems.suggestion(name, declared);
    const takes = declared.length === 0 ? "It takes none: remove it." : `It takes ${declared.join(", ")}.`;
    return {
      message: `The Pipeline ${pipeline} has no parameter named ${name}.`,
      mend: suggestion === undefined ? takes : `Write ${suggestion}.`,
    };
  }
}

function givenTwice(step: string, name: string): { message: string; mend: string } {
  return { message: `Step ${step} gives the parameter ${name} twice.`, mend: "Remove one of the two." };
}
