import { executionInput } from "../../../engine/expressions/expressions.ts";
import type { Plan, PlanStep } from "../../../engine/plan.ts";
import type { TreeStep } from "./step-tree.ts";

/** A step as a drawing shows it: beside those of its Pipeline, and around those that it brings in. */
export interface GraphNode extends TreeStep {
  /** The step itself; of an inlined Pipeline its Exit, which has the row. */
  readonly step: PlanStep;
  /** The Pipeline that is inlined here, and its steps. */
  readonly group?: { readonly pipeline: string; readonly nodes: readonly GraphNode[] };
}

/** The graph of a Plan and that of its `finally`; dependencies are indices into the same list. */
export interface GraphNodes {
  readonly main: readonly GraphNode[];
  readonly after: readonly GraphNode[];
}

/** A Plan is flat; this puts what was inlined back into the step that brought it in. */
export function graphNodes(plan: Plan): GraphNodes {
  const rows = plan.steps.filter(({ kind }) => kind !== "Enter");
  const main = rows.filter(({ index }) => index < plan.finallyFrom);
  const byFrame = Map.groupBy(main, (row) => (enterOf(plan, row) ?? row).frame);
  return {
    main: nodesOf(plan, byFrame, byFrame.get(executionInput) ?? []),
    after: nodesOf(plan, byFrame, rows.slice(main.length)),
  };
}

/** By the Enter of the Pipeline that steps are written in. */
type ByFrame = ReadonlyMap<number, readonly PlanStep[]>;

/** Of a row that stands for an inlined Pipeline: how it is entered. */
function enterOf({ steps }: Plan, { enteredBy }: PlanStep): PlanStep | undefined {
  return enteredBy === undefined ? undefined : steps[enteredBy];
}

function nodesOf(plan: Plan, byFrame: ByFrame, steps: readonly PlanStep[]): readonly GraphNode[] {
  const places = new Map(steps.map(({ index }, place) => [index, place]));
  const dependents: number[][] = steps.map(() => []);
  const dependencies = steps.map((step, place) => {
    const entered = enterOf(plan, step) ?? step;
    // The Enter around all of them is none of them.
    const found = entered.dependencies.flatMap((dependency) => places.get(dependency) ?? []);
    for (const dependency of found) dependents[dependency]?.push(place);
    return found;
  });
  return steps.map((step, place) => {
    const enter = enterOf(plan, step);
    const edges = { dependencies: dependencies[place] ?? [], dependents: dependents[place] ?? [] };
    const node = { step, name: step.localName, ...edges };
    if (enter?.enter === undefined) return node;
    const nodes = nodesOf(plan, byFrame, byFrame.get(enter.index) ?? []);
    // All paths through it lead from its Enter to its Exit.
    const length = enter.pathLength - step.pathLength;
    return { ...node, length, group: { pipeline: enter.enter.pipeline, nodes } };
  });
}

/** What does the work: a Processor, or the Pipeline that is inlined. */
export function workOf({ step, group }: GraphNode): string {
  return group === undefined ? step.processor : `Pipeline ${group.pipeline}`;
}

/** Dependencies, as pairs of nodes. */
export function edgesOf(nodes: readonly GraphNode[]): readonly (readonly [from: GraphNode, to: GraphNode])[] {
  return nodes.flatMap((to) =>
    to.dependencies.flatMap((dependency) => {
      const from = nodes[dependency];
      return from === undefined ? [] : [[from, to] as const];
    }),
  );
}
