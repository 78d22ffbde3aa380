/** What a tree shows of a step: {@link PlanStep} has it. */
export interface TreeStep {
  readonly name: string;
  /** Indices into the same list. */
  readonly dependencies: readonly number[];
  readonly dependents: readonly number[];
  /** How many steps of a path it stands for: an inlined Pipeline is drawn as one. Default 1. */
  readonly length?: number;
}

export interface TreeRow {
  /** Index into the list. */
  readonly step: number;
  /** Box-drawing characters that lead to the name; empty for a root. */
  readonly prefix: string;
  /** What stands before the rows below it, up to their own branch. */
  readonly indent: string;
  /** Dependencies besides the one that the row hangs under, by name. */
  readonly alsoAfter: readonly string[];
}

/**
 * A DAG as a tree, parents before children. A step hangs under the dependency that ends the longest path to it, so that
 * reading downwards is a possible order of the run.
 */
export function stepTree(steps: readonly TreeStep[]): readonly TreeRow[] {
  const parents = parentsOf(steps);
  const children = Map.groupBy(steps.keys(), (step) => parents[step] ?? -1);
  const rows: TreeRow[] = [];
  const pending = (children.get(-1) ?? []).map((step) => ({ step, prefix: "", indent: "" })).reverse();
  for (let row = pending.pop(); row !== undefined; row = pending.pop()) {
    const { step, prefix, indent } = row;
    const others = (steps[step]?.dependencies ?? []).filter((dependency) => dependency !== parents[step]);
    rows.push({ step, prefix, indent, alsoAfter: others.map((dependency) => steps[dependency]?.name ?? "") });
    const below = children.get(step) ?? [];
    for (let index = below.length - 1; index >= 0; index -= 1) {
      const last = index === below.length - 1;
      pending.push({
        step: below[index] ?? 0,
        prefix: `${indent}${last ? "└─ " : "├─ "}`,
        indent: `${indent}${last ? "   " : "│  "}`,
      });
    }
  }
  return rows;
}

/** By step: the dependency whose end comes last, or -1 for a root. */
function parentsOf(steps: readonly TreeStep[]): readonly number[] {
  const ends = endsOf(steps);
  return steps.map(({ dependencies }) =>
    dependencies.reduce((best, next) => ((ends[next] ?? 0) > (ends[best] ?? -1) ? next : best), -1),
  );
}

/** By step: the length of the longest path that it ends. */
function endsOf(steps: readonly TreeStep[]): readonly number[] {
  const ends = steps.map(({ length = 1 }) => length);
  const waitingFor = steps.map(({ dependencies }) => dependencies.length);
  const ready = [...steps.keys()].filter((step) => waitingFor[step] === 0);
  for (const step of ready) {
    for (const next of steps[step]?.dependents ?? []) {
      ends[next] = Math.max(ends[next] ?? 0, (ends[step] ?? 0) + (steps[next]?.length ?? 1));
      waitingFor[next] = (waitingFor[next] ?? 0) - 1;
      if (waitingFor[next] === 0) ready.push(next);
    }
  }
  return ends;
}
