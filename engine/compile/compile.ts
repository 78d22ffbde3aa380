import { executionInput } from "../expressions/expressions.ts";
import type { PipelineDefinition, Problem, ProcessorFacts } from "../pipeline.ts";
import type { GraphFacts, Plan } from "../plan.ts";
import type { Dag } from "./dag.ts";
import { dagOf, pathLengths, shapeOf } from "./dag.ts";
import { Problems } from "./frames.ts";
import type { FlatGraph } from "./inline.ts";
import { flatten } from "./inline.ts";
import { NestedPipelines } from "./nested.ts";
import type { Origins } from "./origins.ts";
import { resolveOrigins } from "./origins.ts";
import { planStep, readsOf } from "./plan-steps.ts";
import type { CompileSchema } from "./schema-checks.ts";
import { SchemaChecks } from "./schema-checks.ts";
import { SiteTypes } from "./site-types.ts";
import { SiteCompiler } from "./sites.ts";

export { executionInput } from "../expressions/expressions.ts";
export { bindParameters } from "./parameters.ts";
export { maxExpressionsLength } from "./sites.ts";

/** What a definition may name, and what it needs from outside the engine. */
export interface Surroundings {
  readonly processors: ReadonlyMap<string, ProcessorFacts>;
  /** Those that steps may name; of these the definition itself need not be one. */
  readonly pipelines: ReadonlyMap<string, PipelineDefinition>;
  /** The definition is an Execution's own: a Pipeline of its name is another one. */
  readonly isInline?: boolean;
  /** Throws Error for what is no schema. Absent: values that only a run knows are not checked. */
  readonly compileSchema?: CompileSchema;
}

export type Compilation =
  | { readonly ok: true; readonly plan: Plan }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/**
 * Checks a definition against the Processors and Pipelines that it names and resolves it; gives all problems, not only the
 * first, but of expressions and of the graph no more than twenty.
 */
export function compile(definition: PipelineDefinition, surroundings: Surroundings): Compilation {
  return new Compiler(definition, surroundings).compile();
}

const noOrigins: Origins = { received: [], given: [], output: executionInput };

class Compiler {
  readonly #definition: PipelineDefinition;
  readonly #surroundings: Surroundings;
  readonly #problems = new Problems();

  constructor(definition: PipelineDefinition, surroundings: Surroundings) {
    this.#definition = definition;
    this.#surroundings = surroundings;
  }

  compile(): Compilation {
    const problems = this.#problems.found;
    this.#refuseTwice("parameters", "InvalidParameter", "parameter");
    this.#refuseTwice("outputs", "InvalidOutput", "output");
    const graph = flatten(this.#definition, this.#surroundings, this.#problems);
    if (graph.isTooLarge) return { ok: false, problems };
    const plan = this.#plan(graph);
    return problems.length > 0 ? { ok: false, problems } : { ok: true, plan };
  }

  #refuseTwice(list: "parameters" | "outputs", reason: "InvalidParameter" | "InvalidOutput", what: string): void {
    const seen = new Set<string>();
    for (const [index, { name }] of this.#definition[list].entries()) {
      if (seen.has(name)) {
        const message = `The ${what} ${name} is declared twice.`;
        this.#problems.found.push({
          path: `${list}[${index}].name`,
          reason,
          message,
          mend: "Remove or rename one of the two.",
        });
      }
      seen.add(name);
    }
  }

  #plan(graph: FlatGraph): Plan {
    const facts = this.#factsOf(graph);
    const dag = dagOf(graph.isSound ? graph.steps.map(({ dependencies }) => dependencies) : graph.steps.map(() => []));
    const origins = graph.isSound ? resolveOrigins(graph, dag, facts, this.#problems) : noOrigins;
    const types = new SiteTypes(graph, facts, origins);
    const sites = new SiteCompiler(graph, graph.isSound ? dag : undefined, types, this.#problems);
    const counts = (index: number) => graph.steps[index]?.kind === "Processor";
    const schemas = new SchemaChecks(this.#surroundings.compileSchema, this.#problems);
    const nested = new NestedPipelines(schemas, this.#problems);
    const shared = { graph, dag, origins, facts, sites, schemas, nested, problems: this.#problems };
    const around = { ...shared, pathLengths: pathLengths(dag, counts) };
    const steps = graph.steps.map((step, index) => planStep(step, index, around));
    const { frame, finallyFrom } = graph;
    const output = sites.compile(this.#definition.output, { frame, field: "output" });
    const outputs = sites.compileNamed(this.#definition.outputs, { frame, field: "outputs" });
    const outputReads = readsOf([output, ...outputs.map(({ value }) => value)], origins);
    return {
      ...this.#policies(),
      steps,
      finallyFrom,
      order: [...dag.order.filter((at) => at < finallyFrom), ...dag.order.filter((at) => at >= finallyFrom)],
      output,
      outputOrigin: this.#definition.output === undefined ? origins.output : executionInput,
      outputs,
      outputReads,
      graph: graphFacts(graph, dag),
    };
  }

  #policies() {
    const { name, strategy, failurePolicy, maxParallelSteps, timeoutMs, finallyTimeoutMs, parameters } =
      this.#definition;
    return { name, strategy, failurePolicy, maxParallelSteps, timeoutMs, finallyTimeoutMs, parameters };
  }

  #factsOf(graph: FlatGraph): readonly (ProcessorFacts | undefined)[] {
    const { processors } = this.#surroundings;
    return graph.steps.map(({ kind, definition: { name, processor }, frame, field }) => {
      if (kind !== "Processor" || processor === undefined) return undefined;
      const facts = processors.get(processor);
      if (facts !== undefined) return facts;
      const suggestion = this.#problems.suggestion(processor, processors.keys());
      const create = `Create a Processor named ${processor}, or name another.`;
      const mend = suggestion === undefined ? create : `Write ${suggestion}, or create it.`;
      const message = `Step ${name} names the Processor ${processor}, which does not exist.`;
      this.#problems.report(frame, { field: `${field}.processor`, reason: "ProcessorNotFound", message, mend });
      return undefined;
    });
  }
}

/** Rows are counted; what has none, or only passes on what another gives, makes no path longer. */
function graphFacts({ steps, finallyFrom }: FlatGraph, dag: Dag): GraphFacts {
  const counts = (index: number) => index < finallyFrom && steps[index]?.kind === "Processor";
  const rows = steps.slice(0, finallyFrom).filter(({ kind }) => kind !== "Enter");
  return { steps: rows.length, ...shapeOf(dag, counts) };
}
