import type { StepRow } from "../../api/types.ts";

/** A row of a status, and what hangs under it: the rows of the Pipeline that the step names. */
export interface RowNode {
  /** The last part of the row's name. */
  readonly label: string;
  /** Absent while only rows of the inlined Pipeline are there. */
  readonly row: StepRow | undefined;
  readonly inner: readonly RowNode[];
}

interface OpenNode {
  readonly label: string;
  row: StepRow | undefined;
  readonly inner: OpenNode[];
  readonly byLabel: Map<string, OpenNode>;
}

/** Rows nested as their names say, `outer/inner`, each in the place where the first of its group is. */
export function rowTree(rows: readonly StepRow[]): readonly RowNode[] {
  const root = openNode("");
  for (const row of rows) {
    const node = row.name.split("/").reduce(innerOf, root);
    node.row = row;
  }
  return root.inner;
}

function innerOf(outer: OpenNode, label: string): OpenNode {
  const known = outer.byLabel.get(label);
  if (known !== undefined) return known;
  const made = openNode(label);
  outer.byLabel.set(label, made);
  outer.inner.push(made);
  return made;
}

function openNode(label: string): OpenNode {
  return { label, row: undefined, inner: [], byLabel: new Map() };
}

/** A line of the tree. */
export interface RowLine {
  readonly node: RowNode;
  /** Characters that lead to the label. */
  readonly prefix: string;
  /** The same for what is said below the row. */
  readonly indent: string;
}

/** The nodes as lines, each group's after the line of its step. */
export function rowLines(nodes: readonly RowNode[], depth = 0, lead = ""): readonly RowLine[] {
  return nodes.flatMap((node, index) => {
    const isLast = index === nodes.length - 1;
    const prefix = depth === 0 ? "" : `${lead}${isLast ? "└─ " : "├─ "}`;
    const indent = depth === 0 ? "" : `${lead}${isLast ? "   " : "│  "}`;
    return [{ node, prefix, indent }, ...rowLines(node.inner, depth + 1, indent)];
  });
}
