import type { Dag, DagFault } from "./dag.ts";
import { Ancestry, buildDag } from "./dag.ts";
import { MillraceError } from "./errors.ts";
import type { Expression, ExpressionSite } from "./expressions.ts";
import { ExpressionCompiler, executionInput } from "./expressions.ts";
import { maxOptionsBytes } from "./metadata.ts";
import { closest } from "./names.ts";
import type { Json, JsonObject } from "./payload.ts";
import type {
  FailurePolicy,
  ParameterDefinition,
  PartialRetryPolicy,
  PipelineDefinition,
  Problem,
  ProblemReason,
  ProcessorFacts,
  RetryPolicy,
  StepDefinition,
} from "./pipeline.ts";
import type { Intent } from "./processor.ts";

export { executionInput } from "./expressions.ts";

/** A Pipeline, checked and resolved: what a run reads and never changes, so that any number of runs share it. */
export interface Plan {
  readonly name: string;
  readonly failurePolicy: FailurePolicy;
  readonly maxParallelSteps: number;
  readonly timeoutMs: number | undefined;
  readonly parameters: readonly ParameterDefinition[];
  /** In the order of the definition. */
  readonly steps: readonly PlanStep[];
  /** All steps, each after its dependencies. */
  readonly order: readonly number[];
  /** Absent: the output is `outputOrigin`'s payload. */
  readonly output: Expression | undefined;
  /** The step whose payload the only sink gives, or {@link executionInput}. Not looked at where `output` is set. */
  readonly outputOrigin: number;
  /** Whose payloads the output looks into, like {@link PlanStep.reads}. */
  readonly outputReads: readonly number[];
  readonly graph: GraphFacts;
}

/** A step with its defaults resolved and its neighbours as indices into {@link Plan.steps}. */
export interface PlanStep {
  readonly index: number;
  readonly name: string;
  readonly processor: string;
  readonly intent: Intent;
  /** The Processor's with the step's merged over them. */
  readonly options: JsonObject;
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
  readonly dependencies: readonly number[];
  readonly dependents: readonly number[];
  /** Whose output it receives, or {@link executionInput}. Not looked at where `input` is set. */
  readonly origin: number;
  readonly input: Expression | undefined;
  readonly when: Expression | undefined;
  /** Whose payloads its expressions look into, each once: step indices, and {@link executionInput}. */
  readonly reads: readonly number[];
}

/** The shape of the graph, for `status.graph`. */
export interface GraphFacts {
  readonly steps: number;
  /** The number of steps on the longest path. */
  readonly levels: number;
  /** The number of steps on the widest level. */
  readonly width: number;
}

export type Compilation =
  | { readonly ok: true; readonly plan: Plan }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** The length of all expressions of a Pipeline together, in characters. */
export const maxExpressionsLength = 64 * 1024;

/** How many expressions, and how many faults of the graph, are told: nobody mends hundreds at once, and saying each takes time. */
const maxRefusals = 20;

/**
 * Checks a definition against the Processors that it names and resolves it; gives all problems, not only the first, but
 * of expressions and of the graph no more than twenty.
 */
export function compile(definition: PipelineDefinition, processors: ReadonlyMap<string, ProcessorFacts>): Compilation {
  return new Compiler(definition, processors).compile();
}

/**
 * The parameters of a run: those given, and the defaults of those that are not. Schemas are the caller's to check.
 * Throws MillraceError InvalidInput when one is missing or unknown.
 */
export function bindParameters(plan: Plan, given: JsonObject): JsonObject {
  const names = plan.parameters.map((parameter) => parameter.name);
  for (const name of Object.keys(given)) {
    if (names.includes(name)) continue;
    const suggestion = closest(name, names);
    const mend = names.length === 0 ? "it takes none" : `it takes ${names.join(", ")}`;
    const guess = suggestion === undefined ? "" : `; did you mean ${suggestion}?`;
    throw new MillraceError("InvalidInput", `Pipeline ${plan.name} has no parameter named ${name}: ${mend}${guess}`);
  }
  return Object.fromEntries(plan.parameters.map((parameter) => [parameter.name, boundValue(plan, parameter, given)]));
}

function boundValue(plan: Plan, parameter: ParameterDefinition, given: JsonObject): Json {
  const value = Object.hasOwn(given, parameter.name) ? given[parameter.name] : parameter.default;
  if (value !== undefined) return value;
  throw new MillraceError(
    "InvalidInput",
    `Pipeline ${plan.name} needs the parameter ${parameter.name}: it has no default`,
  );
}

/** What a step's dependents receive of it: the step itself, or what passes through it. */
interface Origins {
  /** By step: whose payload it receives. */
  readonly received: readonly number[];
  /** By step: whose payload it gives on. */
  readonly given: readonly number[];
}

/** What a step is resolved against. */
interface Surroundings {
  readonly dag: Dag;
  readonly ancestry: Ancestry;
  readonly origins: Origins;
  readonly facts: ProcessorFacts | undefined;
}

class Compiler {
  readonly #definition: PipelineDefinition;
  readonly #processors: ReadonlyMap<string, ProcessorFacts>;
  readonly #problems: Problem[] = [];
  #refusedExpressions = 0;
  readonly #expressions = new ExpressionCompiler();
  readonly #indexes: ReadonlyMap<string, number>;

  constructor(definition: PipelineDefinition, processors: ReadonlyMap<string, ProcessorFacts>) {
    this.#definition = definition;
    this.#processors = processors;
    this.#indexes = new Map(definition.steps.map((step, index) => [step.name, index]));
  }

  compile(): Compilation {
    this.#checkParameters();
    this.#checkExpressionLengths();
    const facts = this.#definition.steps.map((step, index) => this.#factsOf(step, index));
    const built = buildDag(this.#definition.steps);
    if (!built.ok) return this.#refuseGraph(built.faults, facts);
    const origins = this.#resolveOrigins(built.dag, facts);
    const ancestry = new Ancestry(built.dag);
    const steps = this.#definition.steps.map((step, index) =>
      this.#planStep(step, index, { ...built, ancestry, origins, facts: facts[index] }),
    );
    const output = this.#expression(this.#definition.output, "output", undefined, () => true, "any");
    const outputOrigin = this.#definition.output === undefined ? this.#soleSink(built.dag, origins) : executionInput;
    if (this.#problems.length > 0) return { ok: false, problems: this.#problems };
    const { name, failurePolicy, maxParallelSteps, timeoutMs, parameters } = this.#definition;
    const graph = { steps: steps.length, levels: built.dag.depth, width: built.dag.width };
    const order = built.dag.order;
    const outputReads = readsOf([output], origins);
    const policies = { failurePolicy, maxParallelSteps, timeoutMs };
    return {
      ok: true,
      plan: { name, ...policies, parameters, steps, order, output, outputOrigin, outputReads, graph },
    };
  }

  /** Without a graph nobody knows what comes before what, but all else is still worth saying. */
  #refuseGraph(faults: readonly DagFault[], facts: readonly (ProcessorFacts | undefined)[]): Compilation {
    for (const fault of faults.slice(0, maxRefusals)) this.#problems.push(this.#dagProblem(fault));
    for (const [index, step] of this.#definition.steps.entries()) {
      this.#options(step, index, facts[index]);
      this.#expression(step.input, `steps[${index}].input`, step.name, () => true, "any");
      this.#expression(step.when, `steps[${index}].when`, step.name, () => true, "bool");
    }
    this.#expression(this.#definition.output, "output", undefined, () => true, "any");
    return { ok: false, problems: this.#problems };
  }

  #report(path: string, reason: ProblemReason, message: string, mend: string): void {
    this.#problems.push({ path, reason, message, mend });
  }

  #checkParameters(): void {
    const seen = new Set<string>();
    for (const [index, { name }] of this.#definition.parameters.entries()) {
      if (seen.has(name)) {
        this.#report(
          `parameters[${index}].name`,
          "InvalidParameter",
          `The parameter ${name} is declared twice.`,
          "Remove or rename one of the two.",
        );
      }
      seen.add(name);
    }
  }

  /** Parsing and checking take up to 2 µs a character, and nothing else runs meanwhile. */
  #checkExpressionLengths(): void {
    const { steps, output } = this.#definition;
    let length = output?.length ?? 0;
    for (const { when, input } of steps) length += (when?.length ?? 0) + (input?.length ?? 0);
    if (length <= maxExpressionsLength) return;
    const message = `The Pipeline's expressions have ${length} characters together; the limit is ${maxExpressionsLength}.`;
    const mend = "Shorten them, or let processors do what they do.";
    this.#report("steps", "InvalidExpression", message, mend);
    this.#refusedExpressions = maxRefusals;
  }

  #factsOf(step: StepDefinition, index: number): ProcessorFacts | undefined {
    const facts = this.#processors.get(step.processor);
    if (facts !== undefined) return facts;
    const isOneOfMany = this.#problems.length >= maxRefusals;
    const suggestion = isOneOfMany ? undefined : closest(step.processor, this.#processors.keys());
    const mend =
      suggestion === undefined
        ? `Create a Processor named ${step.processor}, or name another.`
        : `Write ${suggestion}, or create it.`;
    const message = `Step ${step.name} names the Processor ${step.processor}, which does not exist.`;
    this.#report(`steps[${index}].processor`, "ProcessorNotFound", message, mend);
    return undefined;
  }

  #dagProblem(fault: DagFault): Problem {
    const steps = this.#definition.steps;
    const nameOf = (index: number) => steps[index]?.name ?? "";
    switch (fault.kind) {
      case "Duplicate": {
        const message = `Two steps are named ${nameOf(fault.node)}: steps[${fault.first}] and steps[${fault.node}].`;
        return { path: `steps[${fault.node}].name`, reason: "DuplicateStep", message, mend: "Rename one of the two." };
      }
      case "Missing": {
        const missing = steps[fault.node]?.dependsOn[fault.edge] ?? "";
        const suggestion = closest(missing, this.#indexes.keys());
        const mend =
          suggestion === undefined
            ? `Add a step named ${missing}, or remove it from dependsOn.`
            : `Write ${suggestion}.`;
        const message = `Step ${nameOf(fault.node)} depends on ${missing}, but no step has that name.`;
        return { path: `steps[${fault.node}].dependsOn[${fault.edge}]`, reason: "StepNotFound", message, mend };
      }
      case "Cycle": {
        const [first = 0] = fault.cycle;
        const printed = [...fault.cycle, first].map(nameOf).join(" → ");
        const message = `The steps depend on each other in a circle: ${printed} (each depends on the next).`;
        return {
          path: `steps[${first}].dependsOn`,
          reason: "Cycle",
          message,
          mend: "Remove one of these dependencies.",
        };
      }
    }
  }

  #resolveOrigins(dag: Dag, facts: readonly (ProcessorFacts | undefined)[]): Origins {
    const received: number[] = [];
    const given: number[] = [];
    for (const index of dag.order) {
      const step = this.#definition.steps[index];
      const origins = new Set((dag.dependencies[index] ?? []).map((dependency) => given[dependency] ?? executionInput));
      if (origins.size > 1 && step?.input === undefined) this.#ambiguousPayload(index, origins);
      const [origin = executionInput] = origins;
      received[index] = origin;
      given[index] = facts[index]?.intent === "Analyze" && step?.input === undefined ? origin : index;
    }
    return { received, given };
  }

  #ambiguousPayload(index: number, origins: ReadonlySet<number>): void {
    const step = this.#definition.steps[index]?.name ?? "";
    const message = `Step ${step} would receive several payloads: ${this.#originNames(origins)}.`;
    const mend = "Say by `input` what it receives, or depend on one of them only.";
    this.#report(`steps[${index}]`, "AmbiguousPayload", message, mend);
  }

  #originNames(origins: ReadonlySet<number>): string {
    const name = (origin: number) =>
      origin === executionInput ? "the Execution's input" : `that of ${this.#definition.steps[origin]?.name}`;
    return [...origins]
      .sort((a, b) => a - b)
      .map(name)
      .join(", ");
  }

  #soleSink(dag: Dag, origins: Origins): number {
    const sinks = [...dag.dependents.keys()].filter((index) => dag.dependents[index]?.length === 0);
    const outputs = new Set(sinks.map((sink) => origins.given[sink] ?? executionInput));
    const [origin = executionInput] = outputs;
    if (outputs.size <= 1) return origin;
    const names = sinks.map((sink) => this.#definition.steps[sink]?.name).join(", ");
    const message = `The Pipeline ends in several steps (${names}), so its output could be any of: ${this.#originNames(outputs)}.`;
    this.#report("output", "AmbiguousOutput", message, "Say by `output` which it is, for example `steps.NAME.output`.");
    return origin;
  }

  #planStep(step: StepDefinition, index: number, { dag, ancestry, origins, facts }: Surroundings): PlanStep {
    const isAncestor = (other: number) => ancestry.isAncestor(other, index);
    const path = `steps[${index}]`;
    const input = this.#expression(step.input, `${path}.input`, step.name, isAncestor, "any");
    const when = this.#expression(step.when, `${path}.when`, step.name, isAncestor, "bool");
    return {
      index,
      name: step.name,
      processor: step.processor,
      intent: facts?.intent ?? "Transform",
      options: this.#options(step, index, facts),
      timeoutMs: step.timeoutMs ?? facts?.timeoutMs ?? 0,
      retry: mergeRetry(facts?.retry, step.retry),
      dependencies: dag.dependencies[index] ?? [],
      dependents: dag.dependents[index] ?? [],
      origin: origins.received[index] ?? executionInput,
      input,
      when,
      reads: readsOf([input, when], origins),
    };
  }

  #options(step: StepDefinition, index: number, facts: ProcessorFacts | undefined): JsonObject {
    const options = { ...facts?.options, ...step.options };
    const bytes = Buffer.byteLength(JSON.stringify(options));
    if (bytes > maxOptionsBytes) {
      const message = `The options of step ${step.name}, with its Processor's, take ${bytes} bytes of JSON; the limit is ${maxOptionsBytes}.`;
      this.#report(`steps[${index}].options`, "OptionsTooLarge", message, "Pass what is large as payload, by `input`.");
    }
    return options;
  }

  #expression(
    source: string | undefined,
    field: string,
    step: string | undefined,
    isAncestor: (step: number) => boolean,
    result: ExpressionSite["result"],
  ): Expression | undefined {
    if (source === undefined || this.#refusedExpressions >= maxRefusals) return undefined;
    const parameters = this.#definition.parameters.map((parameter) => parameter.name);
    const site: ExpressionSite = {
      field,
      ...(step === undefined ? {} : { step }),
      steps: this.#indexes,
      isAncestor,
      parameters,
      result,
    };
    const compiled = this.#expressions.compile(source, site);
    if (compiled.ok) return compiled.expression;
    this.#refusedExpressions++;
    for (const { message, mend } of compiled.faults) {
      this.#report(
        field,
        "InvalidExpression",
        `The expression \`${shorten(source)}\` is refused: ${message}.`,
        `${mend[0]?.toUpperCase()}${mend.slice(1)}.`,
      );
    }
    return undefined;
  }
}

const nothing: readonly number[] = [];

/** What an Analyze step gives is its origin's payload: who looks into it looks into that. */
function readsOf(expressions: readonly (Expression | undefined)[], { given }: Origins): readonly number[] {
  const read = expressions.flatMap((expression) =>
    expression === undefined || expression.passes !== undefined ? nothing : expression.payloads,
  );
  return read.length === 0 ? nothing : [...new Set(read.map((index) => given[index] ?? executionInput))];
}

function shorten(source: string): string {
  return source.length > 120 ? `${source.slice(0, 120)}…` : source;
}

/** What a Processor without facts would retry: such a Pipeline is refused, so nobody sees it. */
const noRetry: RetryPolicy = { limit: 0, backoff: { initialMs: 0, factor: 1, maxMs: 0, jitterPercent: 0 }, codes: [] };

function mergeRetry(inherited: RetryPolicy = noRetry, own: PartialRetryPolicy = {}): RetryPolicy {
  return {
    limit: own.limit ?? inherited.limit,
    backoff: { ...inherited.backoff, ...own.backoff },
    codes: own.codes ?? inherited.codes,
  };
}
