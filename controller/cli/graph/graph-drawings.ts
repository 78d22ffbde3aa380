import { createColors } from "picocolors";
import type { Plan, PlanStep } from "../../../engine/plan.ts";
import { edgesOf, type GraphNode, graphNodes, workOf } from "./graph-nodes.ts";
import { dotOutcomes, mermaidOutcomes, type Outcomes, textOutcome } from "./graph-outcomes.ts";
import { stepTree } from "./step-tree.ts";

/** What is said of a step that runs once for each item of a list. */
const forEach = "for each";

interface TextRow {
  readonly label: string;
  readonly rest: string;
  readonly step: PlanStep;
}

/**
 * A tree: an inlined Pipeline's steps stand under the step that brings it in, behind a dotted line. With outcomes each line
 * begins with a symbol.
 */
export function drawText(plan: Plan, withColor: boolean, outcomes?: Outcomes): string {
  const colors = createColors(withColor);
  const { steps, levels, width } = plan.graph;
  const { main, after } = graphNodes(plan);
  const rows = textRows(main, "");
  const last = textRows(after, "");
  const widest = Math.max(...[...rows, ...last].map(({ label }) => label.length));
  const line = ({ label, rest, step }: TextRow) => {
    const text = `${label.padEnd(widest)}  ${colors.dim(rest)}`;
    if (outcomes === undefined) return text;
    const { glyph, words } = textOutcome(outcomes, step, withColor);
    return `${glyph} ${text}${words === "" ? "" : `  ${words}`}`;
  };
  return [
    `${plan.name}: ${steps} steps, ${levels} levels, ${width} wide`,
    ...rows.map(line),
    ...(last.length === 0 ? [] : ["finally:", ...last.map(line)]),
  ].join("\n");
}

function textRows(nodes: readonly GraphNode[], margin: string): readonly TextRow[] {
  return stepTree(nodes).flatMap(({ step, prefix, indent, alsoAfter }) => {
    const node = nodes[step];
    if (node === undefined) return [];
    const notes = [
      ...(node.step.forEach === undefined ? [] : [forEach]),
      ...(alsoAfter.length === 0 ? [] : [`also after ${alsoAfter.join(", ")}`]),
    ];
    const rest = [workOf(node), ...notes].join("  ");
    const row = { label: `${margin}${prefix}${node.name}`, rest, step: node.step };
    return [row, ...textRows(node.group?.nodes ?? [], `${margin}${indent}┊  `)];
  });
}

/** https://mermaid.js.org/syntax/flowchart.html; node identities are numbers, as a step may be called `end`. */
export function drawMermaid(plan: Plan, outcomes?: Outcomes): string {
  const { main, after } = graphNodes(plan);
  const last = after.length === 0 ? [] : ['  subgraph finally["finally"]', ...mermaidLines(after, "    "), "  end"];
  const shades = outcomes === undefined ? [] : mermaidOutcomes(plan, outcomes);
  return ["flowchart TD", ...mermaidLines(main, "  "), ...last, ...shades].join("\n");
}

function mermaidLines(nodes: readonly GraphNode[], indent: string): readonly string[] {
  return [
    ...nodes.flatMap((node) => mermaidNode(node, indent)),
    ...edgesOf(nodes).map(([from, to]) => `${indent}s${from.step.index} --> s${to.step.index}`),
  ];
}

function mermaidNode(node: GraphNode, indent: string): readonly string[] {
  const { step, name, group } = node;
  const label = `"${name}<br/><i>${workOf(node)}</i>${step.forEach === undefined ? "" : `<br/>${forEach}`}"`;
  if (group !== undefined) {
    return [`${indent}subgraph s${step.index}[${label}]`, ...mermaidLines(group.nodes, `${indent}  `), `${indent}end`];
  }
  // A subroutine's shape, with doubled sides.
  return [`${indent}s${step.index}${step.forEach === undefined ? `[${label}]` : `[[${label}]]`}`];
}

/** https://graphviz.org/doc/info/lang.html; names are DNS labels, so that nothing needs escaping within the quotes. */
export function drawDot(plan: Plan, outcomes?: Outcomes): string {
  const { main, after } = graphNodes(plan);
  const last =
    after.length === 0
      ? []
      : ['  subgraph "cluster_finally" {', '    label="finally";', ...dotLines(after, "    "), "  }"];
  return [
    `digraph "${plan.name}" {`,
    "  compound=true;",
    "  node [shape=box];",
    ...dotLines(main, "  "),
    ...last,
    ...(outcomes === undefined ? [] : dotOutcomes(plan, outcomes)),
    "}",
  ].join("\n");
}

function dotLines(nodes: readonly GraphNode[], indent: string): readonly string[] {
  return [
    ...nodes.flatMap((node) => dotNode(node, indent)),
    ...edgesOf(nodes).map((edge) => `${indent}${dotEdge(edge)}`),
  ];
}

function dotNode(node: GraphNode, indent: string): readonly string[] {
  const { step, name, group } = node;
  const label = `${name}\\n${workOf(node)}${step.forEach === undefined ? "" : `\\n${forEach}`}`;
  if (group === undefined) {
    const lines = step.forEach === undefined ? "" : ", peripheries=2";
    return [`${indent}"${step.name}" [label="${label}"${lines}];`];
  }
  const inner = dotLines(group.nodes, `${indent}  `);
  return [`${indent}subgraph "${cluster(node)}" {`, `${indent}  label="${label}";`, ...inner, `${indent}}`];
}

/** DOT has no edges between clusters: they are drawn between two of their nodes and cut off at the border. */
function dotEdge([from, to]: readonly [GraphNode, GraphNode]): string {
  const ends = [
    ...(from.group === undefined ? [] : [`ltail="${cluster(from)}"`]),
    ...(to.group === undefined ? [] : [`lhead="${cluster(to)}"`]),
  ];
  const attributes = ends.length === 0 ? "" : ` [${ends.join(", ")}]`;
  return `"${lastOf(from)}" -> "${firstOf(to)}"${attributes};`;
}

function cluster({ step }: GraphNode): string {
  return `cluster_${step.name}`;
}

function firstOf(node: GraphNode): string {
  const first = node.group?.nodes.find(({ dependencies }) => dependencies.length === 0);
  return first === undefined ? node.step.name : firstOf(first);
}

function lastOf(node: GraphNode): string {
  const last = node.group?.nodes.findLast(({ dependents }) => dependents.length === 0);
  return last === undefined ? node.step.name : lastOf(last);
}
