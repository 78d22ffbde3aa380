import type { ExpressionSite } from "../expressions/expression-site.ts";
import type { Expression } from "../expressions/expressions.ts";
import { ExpressionCompiler } from "../expressions/expressions.ts";
import type { Type } from "../expressions/types.ts";
import type { NamedSource, PipelineDefinition, StepDefinition } from "../pipeline.ts";
import type { NamedExpression } from "../plan.ts";
import type { Dag } from "./dag.ts";
import { Ancestry } from "./dag.ts";
import type { Frame, Problems } from "./frames.ts";
import { fieldIn } from "./frames.ts";
import type { FlatGraph } from "./inline.ts";
import type { SiteTypes } from "./site-types.ts";

/** The length of all expressions of a Pipeline together, what it takes in counted, in characters. */
export const maxExpressionsLength = 64 * 1024;

/** How many expressions are refused: nobody mends hundreds at once, and saying each takes time. */
const maxRefusals = 20;

/** Where an expression stands. */
export interface Place {
  readonly frame: Frame;
  readonly field: string;
  /** Whose it is; absent: a Pipeline's output, which may name every step of `steps`. */
  readonly step?: number;
  readonly result?: ExpressionSite["result"];
  readonly variables?: ExpressionSite["variables"];
  /** Of a fan-out's: the type of its items. */
  readonly item?: Type;
}

/** An expression, and what is known of what it gives. */
export interface TypedExpression {
  readonly expression: Expression;
  readonly type: Type;
}

/** Compiles the expressions of a flat graph, each in its frame, and reports what is wrong with them. */
export class SiteCompiler {
  readonly #expressions = new ExpressionCompiler();
  readonly #graph: FlatGraph;
  readonly #ancestry: Ancestry | undefined;
  readonly #types: SiteTypes;
  readonly #problems: Problems;
  readonly #parameters = new Map<Frame, readonly string[]>();
  #refusals = 0;

  /** Without a `dag` nobody knows what comes before what, but all else is still worth saying. */
  constructor(graph: FlatGraph, dag: Dag | undefined, types: SiteTypes, problems: Problems) {
    this.#graph = graph;
    this.#types = types;
    this.#ancestry = dag === undefined ? undefined : new Ancestry(dag);
    this.#problems = problems;
    this.#checkLengths();
  }

  compile(source: string | undefined, place: Place): Expression | undefined {
    return this.compileTyped(source, place)?.expression;
  }

  compileTyped(source: string | undefined, place: Place): TypedExpression | undefined {
    if (source === undefined || this.#refusals >= maxRefusals) return undefined;
    const compiled = this.#expressions.compile(source, this.#site(place));
    if (compiled.ok) return compiled;
    this.#refusals++;
    for (const fault of compiled.faults) {
      this.#problems.report(place.frame, {
        field: place.field,
        reason: "InvalidExpression",
        message: `The expression \`${shorten(source)}\` is refused: ${fault.message}.`,
        mend: `${fault.mend[0]?.toUpperCase()}${fault.mend.slice(1)}.`,
      });
    }
    return undefined;
  }

  /** Those that are right, of a list of named ones in `place.field`. */
  compileNamed(sources: readonly NamedSource[], place: Place): readonly NamedExpression[] {
    return sources.flatMap(({ name, value: source }, index) => {
      const value = this.compile(source, { ...place, field: `${place.field}[${index}].value` });
      return value === undefined ? [] : [{ name, value }];
    });
  }

  /** Parsing and checking take up to 2 µs a character, and nothing else runs meanwhile. */
  #checkLengths(): void {
    const length = lengthTogether(this.#graph);
    if (length <= maxExpressionsLength) return;
    const { frame, steps } = this.#graph;
    const inside = steps.some(({ kind }) => kind === "Enter") ? ", with those of the Pipelines inside," : "";
    this.#problems.report(frame, {
      field: "steps",
      reason: "InvalidExpression",
      message: `The Pipeline's expressions${inside} have ${length} characters together; the limit is ${maxExpressionsLength}.`,
      mend: "Shorten them, or let processors do what they do.",
    });
    this.#refusals = maxRefusals;
  }

  #site({ frame, field, step, result = "any", variables = "Run", item }: Place): ExpressionSite {
    const isCacheKey = variables === "CacheKey" || variables === "ItemCacheKey";
    return {
      field: fieldIn(frame, field),
      frame: frame.enter,
      steps: frame.steps,
      ...(step === undefined ? {} : { step: this.#graph.steps[step]?.definition.name ?? "" }),
      visibility: (other) => this.#visibility(other, step),
      parameters: this.#parametersOf(frame),
      result,
      variables,
      types: this.#types.variables(frame, isCacheKey, item),
    };
  }

  #visibility(other: number, step: number | undefined): "Visible" | "NotBefore" | "Finally" {
    const { finallyFrom } = this.#graph;
    if (other >= finallyFrom && (step === undefined || step < finallyFrom)) return "Finally";
    if (step === undefined || this.#ancestry === undefined) return "Visible";
    if (step >= finallyFrom && other < finallyFrom) return "Visible";
    return this.#ancestry.isAncestor(other, step) ? "Visible" : "NotBefore";
  }

  #parametersOf(frame: Frame): readonly string[] {
    let names = this.#parameters.get(frame);
    if (names === undefined) {
      names = frame.definition.parameters.map(({ name }) => name);
      this.#parameters.set(frame, names);
    }
    return names;
  }
}

function lengthTogether({ frame, steps }: FlatGraph): number {
  let length = lengthOfOutputs(frame.definition);
  for (const { kind, definition, inlined } of steps) {
    if (kind === "Exit") length += inlined?.frame.definition.output?.length ?? 0;
    else length += lengthOfStep(definition);
  }
  return length;
}

function lengthOfOutputs({ output, outputs }: PipelineDefinition): number {
  return outputs.reduce((sum, { value }) => sum + value.length, output?.length ?? 0);
}

function lengthOfStep({ when, input, forEach, optionsExpression, cache, parameters = [] }: StepDefinition): number {
  const sources = [when, input, forEach, optionsExpression, cache?.key, ...parameters.map(({ value }) => value)];
  return sources.reduce((sum, source) => sum + (source?.length ?? 0), 0);
}

function shorten(source: string): string {
  return source.length > 120 ? `${source.slice(0, 120)}…` : source;
}
