import type { Expression } from "../expressions/expressions.ts";
import { executionInput } from "../expressions/expressions.ts";
import { maxOptionsBytes } from "../metadata.ts";
import type { JsonObject } from "../payload.ts";
import type { PartialRetryPolicy, ProcessorFacts, RetryPolicy } from "../pipeline.ts";
import type { PlanStep, StepCache } from "../plan.ts";
import type { Dag } from "./dag.ts";
import type { Problems } from "./frames.ts";
import type { FlatGraph, FlatStep } from "./inline.ts";
import type { NestedPipelines } from "./nested.ts";
import type { Origins } from "./origins.ts";
import type { SchemaChecks } from "./schema-checks.ts";
import type { Place, SiteCompiler } from "./sites.ts";

/** What steps are resolved against. */
export interface StepSurroundings {
  readonly graph: FlatGraph;
  readonly dag: Dag;
  readonly origins: Origins;
  readonly pathLengths: readonly number[];
  readonly facts: readonly (ProcessorFacts | undefined)[];
  readonly sites: SiteCompiler;
  readonly schemas: SchemaChecks;
  readonly nested: NestedPipelines;
  readonly problems: Problems;
}

/** Resolves one step: its expressions, its options, what it inherits. */
export function planStep(step: FlatStep, index: number, around: StepSurroundings): PlanStep {
  const { dag, origins, facts } = around;
  const shape = {
    index,
    kind: step.kind,
    name: step.name,
    localName: step.definition.name,
    dependencies: dag.dependencies[index] ?? [],
    dependents: dag.dependents[index] ?? [],
    origin: origins.received[index] ?? executionInput,
    pathLength: around.pathLengths[index] ?? 0,
  };
  if (step.kind === "Processor") return { ...shape, ...processorPart(step, index, facts[index], around) };
  const own = step.kind === "Enter" ? enterPart(step, index, around) : exitPart(step, around);
  return { ...shape, ...withoutProcessor, maxParallel: around.graph.frame.definition.maxParallelSteps, ...own };
}

type ProcessorPart = Omit<
  PlanStep,
  "index" | "kind" | "name" | "localName" | "dependencies" | "dependents" | "origin" | "pathLength"
>;

/** What a Processor without facts would retry: such a Pipeline is refused, so nobody sees it. */
const noRetry: RetryPolicy = { limit: 0, backoff: { initialMs: 0, factor: 1, maxMs: 0, jitterPercent: 0 }, codes: [] };

const withoutProcessor = {
  processor: "",
  lane: "Local",
  intent: "Transform",
  delivery: "AtLeastOnce",
  options: {},
  optionsExpression: undefined,
  checkOptions: undefined,
  timeoutMs: 0,
  retry: noRetry,
  budgetPercent: 0,
  ignoresFailure: false,
  forEach: undefined,
  cache: undefined,
} as const;

function processorPart(
  step: FlatStep,
  index: number,
  facts: ProcessorFacts | undefined,
  around: StepSurroundings,
): ProcessorPart {
  const { definition } = step;
  const { problems, schemas, graph, origins } = around;
  checkProcessorStep(step, facts, problems);
  const expressions = processorExpressions(step, index, around.sites);
  const { when, forEach, input, optionsExpression, cache } = expressions;
  return {
    frame: step.frame.enter,
    processor: definition.processor ?? "",
    lane: facts?.lane ?? "Local",
    intent: facts?.intent ?? "Transform",
    delivery: facts?.delivery ?? "AtLeastOnce",
    options: mergedOptions(step, facts, problems),
    ...expressions,
    checkOptions: optionsExpression === undefined ? undefined : schemas.ofOptions(step, facts?.optionsSchema),
    timeoutMs: definition.timeoutMs ?? facts?.timeoutMs ?? 0,
    retry: mergeRetry(facts?.retry, definition.retry),
    budgetPercent: facts?.budgetPercent ?? 0,
    ignoresFailure: definition.onFailure === "Ignore",
    maxParallel: definition.maxParallel ?? graph.frame.definition.maxParallelSteps,
    enter: undefined,
    enteredBy: undefined,
    reads: readsOf([when, forEach, input, optionsExpression, cache?.key], origins),
  };
}

/** `when` and `forEach` are of the step, all others of an item where there are items. */
function processorExpressions(step: FlatStep, index: number, sites: SiteCompiler) {
  const { definition, frame, field: path } = step;
  const at = (field: string, more: Partial<Place> = {}): Place => ({
    frame,
    step: index,
    field: `${path}.${field}`,
    ...more,
  });
  const when = sites.compile(definition.when, at("when", { result: "bool" }));
  const list = sites.compileTyped(definition.forEach, at("forEach", { result: "list" }));
  const variables = definition.forEach === undefined ? "Run" : "Item";
  const items = list === undefined ? {} : { item: list.type.item() };
  const input = sites.compile(definition.input, at("input", { variables, ...items }));
  const optionsExpression = sites.compile(
    definition.optionsExpression,
    at("optionsExpression", { result: "map", variables, ...items }),
  );
  const cache = stepCache(step, sites, (field, more) => at(field, { ...more, ...items }));
  return { when, forEach: list?.expression, input, optionsExpression, cache };
}

function stepCache(
  { definition: { cache, forEach } }: FlatStep,
  sites: SiteCompiler,
  at: (field: string, more: Partial<Place>) => Place,
): StepCache | undefined {
  if (cache === undefined) return undefined;
  const variables = forEach === undefined ? "CacheKey" : "ItemCacheKey";
  const key = sites.compile(cache.key, at("cache.key", { result: "string", variables }));
  return { maxAgeMs: cache.maxAgeMs, key };
}

function enterPart(step: FlatStep, index: number, { sites, nested, origins }: StepSurroundings) {
  const { definition, frame, field, inlined } = step;
  const place = { frame, step: index };
  const when = sites.compile(definition.when, { ...place, field: `${field}.when`, result: "bool" });
  const input = sites.compile(definition.input, { ...place, field: `${field}.input` });
  const given = (definition.parameters ?? []).flatMap(({ name, value }, at) => {
    const typed = sites.compileTyped(value, { ...place, field: `${field}.parameters[${at}].value` });
    return typed === undefined ? [] : [{ name, at, ...typed }];
  });
  for (const parameter of given) nested.checkType(step, inlined, parameter);
  const parameters = given.map(({ name, expression }) => ({ name, value: expression }));
  const values = parameters.map(({ value }) => value);
  return {
    frame: frame.enter,
    when,
    input,
    enter: inlined === undefined ? undefined : nested.enterFacts(step, inlined, parameters),
    enteredBy: undefined,
    reads: readsOf([when, input, ...values], origins),
  };
}

/** An Exit stands in the inlined Pipeline: its `input` is that one's output. */
function exitPart({ frame, inlined }: FlatStep, { sites, origins }: StepSurroundings) {
  const inner = inlined?.frame ?? frame;
  const input =
    inlined === undefined ? undefined : sites.compile(inner.definition.output, { frame: inner, field: "output" });
  return {
    frame: inner.enter,
    when: undefined,
    input,
    enter: undefined,
    enteredBy: inlined?.enter,
    reads: readsOf([input], origins),
  };
}

function checkProcessorStep(
  { definition, field, frame }: FlatStep,
  facts: ProcessorFacts | undefined,
  problems: Problems,
): void {
  const { name, processor, pipeline, forEach, retry } = definition;
  if ((processor === undefined) === (pipeline === undefined)) {
    const message = `Step ${name} names ${processor === undefined ? "neither a Processor nor a Pipeline" : "a Processor and a Pipeline"}.`;
    problems.report(frame, { field, reason: "InvalidStep", message, mend: "Name one of the two." });
  } else if (pipeline !== undefined) {
    const message = `Step ${name} of \`finally\` names a Pipeline; these steps name Processors.`;
    const mend = "Name the Processors that clean up.";
    problems.report(frame, { field: `${field}.pipeline`, reason: "InvalidStep", message, mend });
  }
  if (forEach !== undefined && facts?.intent === "Analyze") {
    const message = `Step ${name} would call the Processor ${processor} for each item, but that one analyzes: its calls give no output to make a list of.`;
    const mend = "Name a Processor with intent Transform, or let this one analyze the whole list.";
    problems.report(frame, { field: `${field}.forEach`, reason: "InvalidStep", message, mend });
  }
  if (facts?.delivery === "AtMostOnce" && (retry?.limit ?? 0) > 0) {
    const message = `Step ${name} asks for ${retry?.limit} retries, but its Processor ${processor} is to be called at most once.`;
    const mend = "Remove retry.limit, or let the Processor have delivery AtLeastOnce.";
    problems.report(frame, { field: `${field}.retry.limit`, reason: "InvalidStep", message, mend });
  }
}

function mergedOptions(
  { definition, frame, field }: FlatStep,
  facts: ProcessorFacts | undefined,
  problems: Problems,
): JsonObject {
  const options = { ...facts?.options, ...definition.options };
  const bytes = Buffer.byteLength(JSON.stringify(options));
  if (bytes > maxOptionsBytes) {
    const message = `The options of step ${definition.name}, with its Processor's, take ${bytes} bytes of JSON; the limit is ${maxOptionsBytes}.`;
    const mend = "Pass what is large as payload, by `input`.";
    problems.report(frame, { field: `${field}.options`, reason: "OptionsTooLarge", message, mend });
  }
  return options;
}

function mergeRetry(inherited: RetryPolicy = noRetry, own: PartialRetryPolicy = {}): RetryPolicy {
  return {
    limit: own.limit ?? inherited.limit,
    backoff: { ...inherited.backoff, ...own.backoff },
    codes: own.codes ?? inherited.codes,
  };
}

const nothing: readonly number[] = [];

/** What an Analyze step gives is its origin's payload: who looks into it looks into that. */
export function readsOf(expressions: readonly (Expression | undefined)[], { given }: Origins): readonly number[] {
  const read = expressions.flatMap((expression) =>
    expression === undefined || expression.passes !== undefined ? nothing : expression.payloads,
  );
  return read.length === 0 ? nothing : [...new Set(read.map((index) => given[index] ?? executionInput))];
}
