import { executionInput } from "../expressions/expressions.ts";
import type { PipelineDefinition, StepDefinition } from "../pipeline.ts";
import type { PlanStepKind } from "../plan.ts";
import type { DagFault } from "./dag.ts";
import { buildDag } from "./dag.ts";
import type { Frame, FrameProblem, Problems } from "./frames.ts";
import { pipelinesAround } from "./frames.ts";
import { graphProblem } from "./graph-problems.ts";

/** How many rows a run has: a Pipeline's own 1,000 steps and 32 of `finally`, or fewer with what is inlined. */
export const maxRows = 1_032;

/** How many Pipelines stand around an inlined step, the outermost not counted. */
const maxNesting = 8;

/** The length of a row's name, in characters: that of an object's name in Kubernetes. */
const maxRowNameLength = 253;

/** How many faults of the graph are told: nobody mends hundreds at once, and saying each takes time. */
const maxGraphFaults = 20;

/** A step of the flat graph before it is resolved. */
export interface FlatStep {
  readonly kind: PlanStepKind;
  /** Of its row. */
  readonly name: string;
  readonly definition: StepDefinition;
  /** Where its definition stands in its frame: `steps[2]`. */
  readonly field: string;
  /** The Pipeline in which it is written. */
  readonly frame: Frame;
  readonly isFinally: boolean;
  /** Filled in when all steps beside it are known. */
  readonly dependencies: number[];
  /** Of Enter and Exit: what stands between them, and where the other is. */
  inlined?: { readonly frame: Frame; readonly enter: number; exit: number };
}

export interface FlatGraph {
  readonly frame: Frame;
  readonly steps: readonly FlatStep[];
  readonly finallyFrom: number;
  /** Whether every step's dependencies are known and make no cycle. */
  readonly isSound: boolean;
  /** Whether there are more rows than a run may have: then `steps` is cut short. */
  readonly isTooLarge: boolean;
}

/** What steps may name; see `Surroundings`. */
export interface NamedPipelines {
  readonly pipelines: ReadonlyMap<string, PipelineDefinition>;
  readonly isInline?: boolean;
}

/** Puts the steps of Pipelines that steps name in the places of these steps, all the way down. */
export function flatten(definition: PipelineDefinition, named: NamedPipelines, problems: Problems): FlatGraph {
  return new Flattener(named, problems).flatten(definition);
}

/** Where the steps of one list begin and end. */
interface Ends {
  readonly roots: readonly number[];
  readonly sinks: readonly number[];
}

/** A list of steps in one Pipeline. */
interface Part {
  readonly frame: Frame;
  readonly steps: readonly StepDefinition[];
  readonly isFinally: boolean;
  /** Before the names of its rows: `outer/`. */
  readonly prefix: string;
}

class Flattener {
  readonly #named: NamedPipelines;
  readonly #problems: Problems;
  readonly #steps: FlatStep[] = [];
  #rows = 0;
  #graphFaults = 0;
  #isSound = true;
  #isTooLarge = false;
  #isNameTooLong = false;

  constructor(named: NamedPipelines, problems: Problems) {
    this.#named = named;
    this.#problems = problems;
  }

  flatten(definition: PipelineDefinition): FlatGraph {
    const frame: Frame = { definition, enter: executionInput, steps: new Map() };
    this.#part({ frame, steps: definition.steps, isFinally: false, prefix: "" });
    const finallyFrom = this.#steps.length;
    this.#part({ frame, steps: definition.finally, isFinally: true, prefix: "" });
    return { frame, steps: this.#steps, finallyFrom, isSound: this.#isSound, isTooLarge: this.#isTooLarge };
  }

  #part(part: Part): Ends {
    const { frame, steps } = part;
    if (this.#exceeds(frame, steps.length)) return { roots: [], sinks: [] };
    const built = buildDag(steps);
    if (!built.ok) this.#refuseGraph(part, built.faults);
    const places = steps.map((step, index) => this.#place(part, step, index));
    const dependencies = built.ok ? built.dag.dependencies : [];
    for (const [index, { entered }] of places.entries()) {
      for (const dependency of dependencies[index] ?? []) {
        this.#steps[entered]?.dependencies.push(places[dependency]?.left ?? executionInput);
      }
    }
    const dependents = built.ok ? built.dag.dependents : [];
    return {
      roots: places.filter((_, index) => dependencies[index]?.length === 0).map(({ entered }) => entered),
      sinks: places.filter((_, index) => dependents[index]?.length === 0).map(({ left }) => left),
    };
  }

  /** Before anything is expanded: Pipelines in Pipelines multiply. */
  #exceeds(frame: Frame, more: number): boolean {
    if (this.#rows + more <= maxRows) return this.#isTooLarge;
    if (!this.#isTooLarge) {
      const around = pipelinesAround(frame);
      const inside = around.length === 1 ? "" : `, those of the Pipelines inside counted (${around.join(" → ")})`;
      const message = `The Pipeline ${around[0]} has more than ${maxRows} steps${inside}.`;
      const mend = "Run a part of it as a Pipeline of its own, or take in fewer Pipelines.";
      this.#problems.found.push({ path: "steps", reason: "TooManySteps", message, mend });
    }
    this.#isTooLarge = true;
    return true;
  }

  #refuseGraph(part: Part, faults: readonly DagFault[]): void {
    this.#isSound = false;
    for (const fault of faults) {
      if (this.#graphFaults++ >= maxGraphFaults) return;
      this.#problems.report(part.frame, graphProblem(fault, part.frame.definition, part.isFinally));
    }
  }

  /** Gives the indices by which a step is entered and left. */
  #place(part: Part, definition: StepDefinition, index: number): { entered: number; left: number } {
    const field = `${part.isFinally ? "finally" : "steps"}[${index}]`;
    const { frame, isFinally } = part;
    const step = { name: `${part.prefix}${definition.name}`, definition, field, frame, isFinally };
    this.#rows++;
    if (definition.pipeline !== undefined && !isFinally) return this.#inline(step, definition.pipeline);
    const at = this.#add({ ...step, kind: "Processor", dependencies: [] });
    this.#know(step, at);
    return { entered: at, left: at };
  }

  #add(step: FlatStep): number {
    if (step.name.length > maxRowNameLength && !this.#isNameTooLong) {
      this.#isNameTooLong = true;
      const message = `Its row would be named ${step.name}, which has ${step.name.length} characters; the limit is ${maxRowNameLength}.`;
      const mend = "Shorten the names of the steps around it, or nest less.";
      this.#problems.report(step.frame, { field: `${step.field}.name`, reason: "InvalidStep", message, mend });
    }
    return this.#steps.push(step) - 1;
  }

  /** The first of two that have the same name keeps it. */
  #know({ frame, definition, field }: Pick<FlatStep, "frame" | "definition" | "field">, index: number): void {
    const known = frame.steps.get(definition.name);
    if (known === undefined) {
      frame.steps.set(definition.name, index);
      return;
    }
    const other = this.#steps[known];
    // Two in one list are a fault of the graph.
    if (other === undefined || other.isFinally === this.#steps[index]?.isFinally) return;
    const message = `Two steps are named ${definition.name}: ${other.field} and ${field}.`;
    const mend = "Rename one of the two: steps of `finally` share their names with all others.";
    this.#problems.report(frame, { field: `${field}.name`, reason: "DuplicateStep", message, mend });
  }

  #inline(step: Omit<FlatStep, "kind" | "dependencies">, name: string): { entered: number; left: number } {
    const enter = this.#add({ ...step, kind: "Enter", dependencies: [] });
    const definition = this.#nested(step, name);
    let dependencies = [enter];
    let inlined: FlatStep["inlined"];
    if (definition !== undefined) {
      const { frame: outer, field } = step;
      const frame: Frame = {
        definition,
        enter,
        steps: new Map(),
        outer: { frame: outer, step: step.definition, field },
      };
      const ends = this.#part({ frame, steps: definition.steps, isFinally: false, prefix: `${step.name}/` });
      for (const root of ends.roots) this.#steps[root]?.dependencies.push(enter);
      if (ends.sinks.length > 0) dependencies = [...ends.sinks];
      inlined = { frame, enter, exit: this.#steps.length };
    }
    const exit = this.#add({ ...step, kind: "Exit", dependencies, ...(inlined === undefined ? {} : { inlined }) });
    const entered = this.#steps[enter];
    if (entered !== undefined && inlined !== undefined) entered.inlined = inlined;
    this.#know(step, exit);
    return { entered: enter, left: exit };
  }

  /** The Pipeline that a step names, if it can be inlined there. */
  #nested(step: Omit<FlatStep, "kind" | "dependencies">, name: string): PipelineDefinition | undefined {
    const around = pipelinesAround(step.frame);
    const definition = this.#named.pipelines.get(name);
    const refusal = this.#refusal(step.definition.name, name, around, definition);
    if (refusal === undefined) return definition;
    this.#problems.report(step.frame, { ...refusal, field: `${step.field}.pipeline` });
    return undefined;
  }

  #refusal(
    step: string,
    name: string,
    around: readonly string[],
    definition: PipelineDefinition | undefined,
  ): Omit<FrameProblem, "field"> | undefined {
    const first = around.indexOf(name, this.#named.isInline === true ? 1 : 0);
    if (first >= 0) {
      const circle = [...around.slice(first), name].join(" → ");
      const message = `Pipelines take in each other in a circle: ${circle}.`;
      return { reason: "PipelineRecursion", message, mend: "Remove one of these steps." };
    }
    if (definition === undefined) {
      const suggestion = this.#problems.suggestion(name, this.#named.pipelines.keys());
      const create = `Create a Pipeline named ${name}, or name another.`;
      const mend = suggestion === undefined ? create : `Write ${suggestion}, or create it.`;
      const message = `Step ${step} names the Pipeline ${name}, which does not exist.`;
      return { reason: "PipelineNotFound", message, mend };
    }
    if (around.length > maxNesting) {
      const message = `Step ${step} would take in the Pipeline ${name} more than ${maxNesting} deep: ${around.join(" → ")}.`;
      return { reason: "InvalidPipeline", message, mend: "Nest less, or run a part as a Pipeline of its own." };
    }
    if (definition.finally.length === 0) return undefined;
    const message = `Step ${step} names the Pipeline ${name}, which has \`finally\`: only a run of its own could keep that promise.`;
    return {
      reason: "InvalidPipeline",
      message,
      mend: "Name a Pipeline without `finally`, and clean up in this one's.",
    };
  }
}
