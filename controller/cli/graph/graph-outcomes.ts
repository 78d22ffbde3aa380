import { createColors } from "picocolors";
import type { Plan, PlanStep } from "../../../engine/plan.ts";
import type { StepRow } from "../../api/types.ts";
import { glyphOf, stateWords } from "../terminal/row-words.ts";

/** What a run's steps came to, by the names of their rows. */
export type Outcomes = ReadonlyMap<string, StepRow>;

/** The rows of a run, to be coloured into the drawing of its Pipeline. */
export function outcomesOf(rows: readonly StepRow[]): Outcomes {
  return new Map(rows.map((row) => [row.name, row]));
}

/** For the tree: a symbol before the step, and words after it. */
export function textOutcome(
  outcomes: Outcomes,
  { name }: PlanStep,
  withColor: boolean,
): { readonly glyph: string; readonly words: string } {
  const row = outcomes.get(name);
  return { glyph: glyphOf(row, { colors: createColors(withColor) }), words: stateWords(row) };
}

type Shade = "Succeeded" | "Failed" | "Ignored" | "Running" | "Skipped" | "Cancelled" | "Waiting";

/** Dark text on them is legible, in print too. */
const fills: Readonly<Record<Shade, string>> = {
  Succeeded: "#c6efce",
  Failed: "#ffc7ce",
  Ignored: "#ffe0b3",
  Running: "#cfe8ff",
  Skipped: "#e8e8e8",
  Cancelled: "#fff2b3",
  Waiting: "#ffffff",
};

/** Lines after a flowchart's: https://mermaid.js.org/syntax/flowchart.html#classes. */
export function mermaidOutcomes(plan: Plan, outcomes: Outcomes): readonly string[] {
  return shaded(plan, outcomes).flatMap(([shade, steps]) => [
    `  classDef ${shade} fill:${fills[shade]},stroke:#555,color:#111`,
    `  class ${steps.map(({ index }) => `s${index}`).join(",")} ${shade}`,
  ]);
}

/** Statements within a digraph: one about a node or a cluster that is there already adds to it. */
export function dotOutcomes(plan: Plan, outcomes: Outcomes): readonly string[] {
  return shaded(plan, outcomes).flatMap(([shade, steps]) =>
    steps.map(({ kind, name }) =>
      kind === "Exit"
        ? `  subgraph "cluster_${name}" { style=filled; fillcolor="${fills[shade]}"; }`
        : `  "${name}" [style=filled, fillcolor="${fills[shade]}"];`,
    ),
  );
}

function shaded({ steps }: Plan, outcomes: Outcomes): readonly (readonly [Shade, readonly PlanStep[]])[] {
  const drawn = steps.filter(({ kind }) => kind !== "Enter");
  return [...Map.groupBy(drawn, ({ name }) => shadeOf(outcomes.get(name)))];
}

function shadeOf(row: StepRow | undefined): Shade {
  if (row === undefined) return "Waiting";
  if (row.state === "Failed" && row.reason === "Ignored") return "Ignored";
  return row.state === "Retrying" ? "Running" : row.state;
}
