import { MillraceError } from "../../engine/errors.ts";
import type { Json, JsonObject } from "../../engine/payload.ts";
import type { Problem, ProcessorFacts } from "../../engine/pipeline.ts";
import { compile, type Plan } from "../../engine/plan.ts";
import type { SchemaCheck, SchemaCompiler } from "../api/json-schema.ts";
import { schemaBounds } from "../api/json-schema-bounds.ts";
import type { SchemaViolation } from "../api/json-schema-messages.ts";
import { parseBytes } from "../api/quantities.ts";
import type { InlinePipelineSpec, PipelineSpec, StepSpec } from "../api/types.ts";
import type { CompiledPipeline, PipelineClosure } from "../catalog.ts";
import { pipelineDefinition } from "./definition.ts";

type AnyPipelineSpec = PipelineSpec | InlinePipelineSpec;

/** What the check of a Pipeline needs to know of a Processor that it names. */
export interface KnownProcessor {
  readonly facts: ProcessorFacts;
  /** The Processor's own; absent: any options. */
  readonly optionsSchema?: JsonObject;
}

export type PipelineCheck =
  | { readonly ok: true; readonly pipeline: CompiledPipeline }
  /** At least one; the engine's first, then those of schemas, each in the order of the spec. */
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Whether a check needs a {@link SchemaCompiler}: a command that does not saves itself the loading of one. */
export function usesSchemas(spec: AnyPipelineSpec, processors: ReadonlyMap<string, KnownProcessor>): boolean {
  if (spec.input?.schema !== undefined) return true;
  if ((spec.parameters ?? []).some((parameter) => parameter.schema !== undefined)) return true;
  return spec.steps.some((step) => checkedOptions(step, processors) !== undefined);
}

/**
 * Checks and compiles a Pipeline: all that the engine asks of it, options against each Processor's `optionsSchema`,
 * parameters' schemas and defaults, `input.schema`. `schemas` may be absent where {@link usesSchemas} says so.
 */
export function checkPipeline(
  name: string,
  spec: AnyPipelineSpec,
  processors: ReadonlyMap<string, KnownProcessor>,
  schemas: SchemaCompiler | undefined,
): PipelineCheck {
  const facts = new Map([...processors].map(([processor, known]) => [processor, known.facts] as const));
  const compilation = compile(pipelineDefinition(name, spec), facts);
  const checks = schemaChecks(spec, schemas);
  const problems = [
    ...(compilation.ok ? [] : compilation.problems),
    ...checks.problems,
    ...optionsProblems(spec, processors, schemas),
  ];
  if (!compilation.ok || problems.length > 0) return { ok: false, problems };
  const closure = { name, spec, processors: namedFacts(spec, facts) };
  return { ok: true, pipeline: compiledPipeline(compilation.plan, closure, checks) };
}

/** Compiles what a revision holds. It was checked when it was written, so that a problem now is a defect of ours. */
export function compileClosure(closure: PipelineClosure, schemas: SchemaCompiler | undefined): PipelineCheck {
  const processors = new Map(closure.processors.map((facts) => [facts.name, { facts }] as const));
  return checkPipeline(closure.name, closure.spec, processors, schemas);
}

interface SchemaChecks {
  readonly parameters: readonly { readonly name: string; readonly check: SchemaCheck }[];
  readonly input: SchemaCheck | undefined;
  readonly problems: readonly Problem[];
}

function compiledPipeline(plan: Plan, closure: PipelineClosure, checks: SchemaChecks): CompiledPipeline {
  const { spec } = closure;
  const { input } = checks;
  return {
    plan,
    closure,
    checkParameters: (values) =>
      checks.parameters.flatMap(({ name, check }) => check(values[name] ?? null, `parameters.${name}`)),
    ...(input === undefined ? {} : { checkInput: (value: Json) => input(value, "input") }),
    maxInputBytes: parseBytes(spec.input.maxSize, "spec.input.maxSize"),
    ...("ttlSecondsAfterFinished" in spec ? { ttlSecondsAfterFinished: spec.ttlSecondsAfterFinished } : {}),
  };
}

/** Compiling a schema takes up to 10 ms a KiB, and a Pipeline may have one for each parameter. */
function schemasTooLarge({ input, parameters = [] }: AnyPipelineSpec): Problem | undefined {
  const schemas = [input?.schema, ...parameters.map(({ schema }) => schema)].filter((schema) => schema !== undefined);
  const bytes = schemas.reduce<number>((sum, schema) => sum + Buffer.byteLength(JSON.stringify(schema)), 0);
  if (schemas.length < 2 || bytes <= schemaBounds.bytes) return undefined;
  return {
    path: "parameters",
    reason: "InvalidParameter",
    message: `the schemas of the parameters and the input take ${bytes} bytes together, the limit is ${schemaBounds.bytes}`,
    mend: "Check less, or let a processor check.",
  };
}

function schemaChecks(spec: AnyPipelineSpec, schemas: SchemaCompiler | undefined): SchemaChecks {
  const tooLarge = schemasTooLarge(spec);
  if (tooLarge !== undefined) return { parameters: [], input: undefined, problems: [tooLarge] };
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
  if (spec.input?.schema === undefined) return { parameters, input: undefined, problems };
  // An input may take 64 MiB: its check ends at the first thing that is wrong.
  const input = compilerOf(schemas).compile(spec.input.schema as JsonObject, "input.schema", "First");
  if (input.ok) return { parameters, input: input.check, problems };
  problems.push({ ...input.violation, reason: "InvalidInputSchema" });
  return { parameters, input: undefined, problems };
}

function optionsProblems(
  spec: AnyPipelineSpec,
  processors: ReadonlyMap<string, KnownProcessor>,
  schemas: SchemaCompiler | undefined,
): readonly Problem[] {
  return spec.steps.flatMap((step, index) => {
    const checked = checkedOptions(step, processors);
    if (checked === undefined) return [];
    const compiled = compilerOf(schemas).compile(checked.schema, "spec.optionsSchema");
    const path = `steps[${index}].options`;
    const violations = compiled.ok ? compiled.check(checked.options, path) : [{ ...compiled.violation, path }];
    return violations.map((violation) => optionsProblem(violation, step));
  });
}

/** What a step's options are to be checked against; undefined where there is no schema, or none that could refuse them. */
function checkedOptions(
  step: StepSpec,
  processors: ReadonlyMap<string, KnownProcessor>,
): { readonly schema: JsonObject; readonly options: JsonObject } | undefined {
  const known = processors.get(step.processor);
  if (known?.optionsSchema === undefined) return undefined;
  const options = { ...known.facts.options, ...(step.options as JsonObject | undefined) };
  if (Object.keys(options).length === 0 && takesNothing(known.optionsSchema)) return undefined;
  return { schema: known.optionsSchema, options };
}

/** Keywords by which a schema says nothing against an empty object. */
const harmless = new Set(["type", "properties", "additionalProperties", "title", "description"]);

function takesNothing(schema: JsonObject): boolean {
  return schema.type === "object" && Object.keys(schema).every((keyword) => harmless.has(keyword));
}

function optionsProblem(violation: SchemaViolation, step: StepSpec): Problem {
  return {
    ...violation,
    reason: "InvalidOptions",
    message: `step ${step.name}: ${violation.message} (optionsSchema of Processor ${step.processor})`,
  };
}

function namedFacts(spec: AnyPipelineSpec, facts: ReadonlyMap<string, ProcessorFacts>): readonly ProcessorFacts[] {
  const names = [...new Set(spec.steps.map((step) => step.processor))].toSorted();
  return names.flatMap((name) => facts.get(name) ?? []);
}

function compilerOf(schemas: SchemaCompiler | undefined): SchemaCompiler {
  if (schemas !== undefined) return schemas;
  throw new MillraceError("Internal", "a Pipeline with JSON Schemas was checked without a SchemaCompiler");
}
