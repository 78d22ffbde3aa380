import { executionInput } from "../expressions/expressions.ts";
import type { ProcessorFacts } from "../pipeline.ts";
import type { Dag } from "./dag.ts";
import type { Problems } from "./frames.ts";
import type { FlatGraph, FlatStep } from "./inline.ts";

/** What a step's dependents receive of it: the step itself, or what passes through it. */
export interface Origins {
  /** By step: whose payload it receives. */
  readonly received: readonly number[];
  /** By step: whose payload it gives on. */
  readonly given: readonly number[];
  /** Whose payload the only sink gives. */
  readonly output: number;
}

/** Follows the payloads through the graph, and reports where a step, or the output, could have any of several. */
export function resolveOrigins(
  graph: FlatGraph,
  dag: Dag,
  facts: readonly (ProcessorFacts | undefined)[],
  problems: Problems,
): Origins {
  return new OriginResolver(graph, dag, facts, problems).resolve();
}

class OriginResolver {
  readonly #graph: FlatGraph;
  readonly #dag: Dag;
  readonly #facts: readonly (ProcessorFacts | undefined)[];
  readonly #problems: Problems;
  readonly #given: number[] = [];

  constructor(graph: FlatGraph, dag: Dag, facts: readonly (ProcessorFacts | undefined)[], problems: Problems) {
    this.#graph = graph;
    this.#dag = dag;
    this.#facts = facts;
    this.#problems = problems;
  }

  resolve(): Origins {
    const received: number[] = [];
    for (const index of this.#dag.order) {
      const step = this.#graph.steps[index];
      if (step === undefined) continue;
      const origin = this.#received(step, index);
      received[index] = origin;
      const passesOn = step.kind === "Processor" && step.definition.input === undefined;
      this.#given[index] = passesOn && this.#facts[index]?.intent === "Analyze" ? origin : index;
    }
    return { received, given: this.#given, output: this.#output() };
  }

  #received(step: FlatStep, index: number): number {
    const dependencies = this.#dag.dependencies[index] ?? [];
    const origins = this.#givenBy(dependencies);
    const [origin = executionInput] = origins;
    if (origins.size <= 1) return origin;
    const { inlined } = step;
    if (step.kind === "Exit") {
      if (inlined !== undefined && inlined.frame.definition.output === undefined)
        this.#ambiguousOutput(inlined.frame, dependencies, origins);
    } else if (step.definition.input === undefined && step.definition.forEach === undefined) {
      this.#ambiguousPayload(step, origins);
    }
    return origin;
  }

  #givenBy(steps: readonly number[]): ReadonlySet<number> {
    return new Set(steps.map((step) => this.#given[step] ?? executionInput));
  }

  #output(): number {
    const { frame, finallyFrom } = this.#graph;
    const sinks = [...this.#dag.dependents.keys()].filter(
      (index) => index < finallyFrom && this.#dag.dependents[index]?.length === 0,
    );
    const origins = this.#givenBy(sinks);
    if (origins.size > 1 && frame.definition.output === undefined) this.#ambiguousOutput(frame, sinks, origins);
    const [origin = executionInput] = origins;
    return origin;
  }

  #ambiguousPayload({ frame, definition, field }: FlatStep, origins: ReadonlySet<number>): void {
    const message = `Step ${definition.name} would receive several payloads: ${this.#names(origins)}.`;
    const mend = "Say by `input` what it receives, or depend on one of them only.";
    this.#problems.report(frame, { field, reason: "AmbiguousPayload", message, mend });
  }

  #ambiguousOutput(frame: FlatStep["frame"], sinks: readonly number[], origins: ReadonlySet<number>): void {
    const names = sinks.map((sink) => this.#graph.steps[sink]?.definition.name).join(", ");
    const message = `The Pipeline ends in several steps (${names}), so its output could be any of: ${this.#names(origins)}.`;
    const mend = "Say by `output` which it is, for example `steps.NAME.output`.";
    this.#problems.report(frame, { field: "output", reason: "AmbiguousOutput", message, mend });
  }

  #names(origins: ReadonlySet<number>): string {
    return [...origins]
      .sort((a, b) => a - b)
      .map((origin) => this.#nameOf(origin))
      .join(", ");
  }

  #nameOf(origin: number): string {
    const step = this.#graph.steps[origin];
    if (step === undefined) return "the Execution's input";
    return step.kind === "Enter" ? "the Pipeline's input" : `that of ${step.definition.name}`;
  }
}
