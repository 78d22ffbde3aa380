import { compile } from "../../engine/compile/compile.ts";
import { maxRows } from "../../engine/compile/inline.ts";
import type { Json } from "../../engine/payload.ts";
import type { PipelineDefinition, Problem, ProcessorFacts } from "../../engine/pipeline.ts";
import type { Plan } from "../../engine/plan.ts";
import type { SchemaCompiler } from "../api/json-schema.ts";
import { parseBytes, parseDurationMs } from "../api/quantities.ts";
import type { ConcurrencySpec, PipelineSpec } from "../api/types.ts";
import type { AnyPipelineSpec, CompiledPipeline, ConcurrencyRule, PipelineClosure } from "../catalog.ts";
import { closureOf, closureTooLarge, currentForm, type StoredClosure } from "./closure.ts";
import { pipelineDefinition } from "./definition.ts";
import { type BroughtIn, type Resolved, resolveNames } from "./named.ts";
import { checksOptions, optionsProblems } from "./options.ts";
import { hasSchemas, type SchemaChecks, schemaChecks, schemaPort, schemasTooLarge } from "./schemas.ts";

/** What the check of a Pipeline needs to know of what it names. */
export interface Known {
  /** By `resolveNames`. */
  readonly resolved: Resolved;
  /** By name, as they are now; those that do not exist are not in it. */
  readonly processors: ReadonlyMap<string, ProcessorFacts>;
  /** An Execution's own: it is called as the Execution, and a Pipeline of that name is another one. Default false. */
  readonly isInline?: boolean;
  /** Pipelines that it does not name: a misspelt name may mean one of them. Default none. */
  readonly others?: ReadonlyMap<string, PipelineSpec>;
}

export type PipelineCheck =
  | { readonly ok: true; readonly pipeline: CompiledPipeline }
  /** At least one; the engine's first, then those of schemas, each in the order of the spec. */
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Whether a check needs a {@link SchemaCompiler}: a command that does not saves itself the loading of one. */
export function usesSchemas(spec: AnyPipelineSpec, { resolved, processors }: Known): boolean {
  return allSpecs(spec, resolved).some((one) => hasSchemas(one) || checksOptions(one, processors));
}

/**
 * Checks and compiles a Pipeline with all that it brings in: all that the engine asks of it, options against each Processor's
 * `optionsSchema`, parameters' schemas and defaults, `input.schema`. `schemas` may be absent where {@link usesSchemas} says so.
 */
export function checkPipeline(
  name: string,
  spec: AnyPipelineSpec,
  known: Known,
  schemas: SchemaCompiler | undefined,
): PipelineCheck {
  const { resolved, processors, isInline = false } = known;
  const tooLarge = resolved.isTooLarge ? tooManySteps(name) : schemasTooLarge(allSpecs(spec, resolved));
  if (tooLarge !== undefined) return { ok: false, problems: [tooLarge] };
  const pipelines = definitionsAround(known);
  const port = schemas === undefined ? {} : { compileSchema: schemaPort(schemas) };
  const compilation = compile(pipelineDefinition(name, spec), { processors, pipelines, isInline, ...port });
  const checks = schemaChecks(spec, schemas);
  const problems = [
    ...(compilation.ok ? [] : compilation.problems),
    ...checks.problems,
    ...optionsProblems(spec, processors, schemas),
    ...[...resolved.pipelines].flatMap(([nested, one]) =>
      nested === name && !isInline ? [] : nestedProblems(nested, one, known, schemas),
    ),
  ];
  if (!compilation.ok || problems.length > 0) return { ok: false, problems };
  const closure = closureOf(name, spec, resolved, processors);
  const unholdable = closureTooLarge(closure);
  if (unholdable !== undefined) return { ok: false, problems: [unholdable] };
  return { ok: true, pipeline: compiledPipeline(compilation.plan, closure, checks) };
}

/** Compiles what a revision holds. It was checked when it was written, so that a problem now is a defect of ours. */
export function compileClosure(stored: StoredClosure, schemas: SchemaCompiler | undefined): PipelineCheck {
  const { name, spec, pipelines, processors } = currentForm(stored);
  const specs = new Map(pipelines.map((nested) => [nested.name, nested.spec]));
  const resolved = resolveNames(spec, (nested) => specs.get(nested));
  const facts = new Map(processors.map((one) => [one.name, one]));
  // A circle would not have been written: what is called as the whole is another one.
  return checkPipeline(name, spec, { resolved, processors: facts, isInline: specs.has(name) }, schemas);
}

function allSpecs(spec: AnyPipelineSpec, { pipelines }: Resolved): readonly AnyPipelineSpec[] {
  return [spec, ...[...pipelines.values()].map((one) => one.spec)];
}

/** Others than those that are named only where one is missing: its message says which may have been meant. */
function definitionsAround({ resolved: { names, pipelines }, others }: Known): ReadonlyMap<string, PipelineDefinition> {
  const named = [...pipelines].map(([name, { spec }]) => [name, spec] as const);
  const meant = names.pipelines.length > pipelines.size ? [...(others ?? [])] : [];
  return new Map([...meant, ...named].map(([name, spec]) => [name, pipelineDefinition(name, spec)]));
}

function tooManySteps(name: string): Problem {
  return {
    path: "steps",
    reason: "TooManySteps",
    message: `The Pipeline ${name} and the Pipelines that it brings in have more than ${maxRows} steps.`,
    mend: "Run a part of it as a Pipeline of its own, or take in fewer Pipelines.",
  };
}

/** What schemas have against a Pipeline that is brought in, told at the outermost one's step that leads to it, as the engine does. */
function nestedProblems(
  name: string,
  { spec, step, path }: BroughtIn,
  { processors }: Known,
  schemas: SchemaCompiler | undefined,
): readonly Problem[] {
  const problems = [...schemaChecks(spec, schemas).problems, ...optionsProblems(spec, processors, schemas)];
  return problems.map((problem) => ({
    path: `${path}.pipeline`,
    reason: "InvalidPipeline",
    message: `Step ${step} cannot take in the Pipeline ${name}, where ${problem.path} is wrong: ${problem.message}`,
    mend: `In the Pipeline ${name}: ${problem.mend}`,
  }));
}

function compiledPipeline(plan: Plan, closure: PipelineClosure, checks: SchemaChecks): CompiledPipeline {
  const { spec } = closure;
  const { input } = checks;
  return {
    plan,
    closure,
    processors: closure.processors.map(({ name }) => name),
    checkParameters: (values) =>
      checks.parameters.flatMap(({ name, check }) => check(values[name] ?? null, `parameters.${name}`)),
    ...(input === undefined ? {} : { checkInput: (value: Json) => input(value, "input") }),
    maxInputBytes: parseBytes(spec.input.maxSize, "spec.input.maxSize"),
    ...("ttlSecondsAfterFinished" in spec ? { ttlSecondsAfterFinished: spec.ttlSecondsAfterFinished } : {}),
    ...("concurrency" in spec && spec.concurrency ? { concurrency: concurrencyRule(spec.concurrency) } : {}),
    ...("historyLimit" in spec && spec.historyLimit ? { historyLimit: spec.historyLimit } : {}),
  };
}

function concurrencyRule({ limit, policy, queueTimeout }: ConcurrencySpec): ConcurrencyRule {
  if (queueTimeout === undefined) return { limit, policy };
  return { limit, policy, queueTimeoutMs: parseDurationMs(queueTimeout, "spec.concurrency.queueTimeout") };
}
