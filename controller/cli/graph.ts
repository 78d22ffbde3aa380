import { Command, Option } from "commander";
import { createColors } from "picocolors";
import type { Plan, PlanStep } from "../../engine/plan.ts";
import { type CliContext, CliError } from "./context.ts";
import { filenameOption } from "./options.ts";
import { stepTree } from "./step-tree.ts";
import { byPlace, checkLocated, choosePipeline, formatProblem, locateProblems, openWorkspace } from "./workspace.ts";

type Format = "text" | "mermaid" | "dot";

interface GraphFlags {
  readonly filename: readonly string[];
  readonly output: Format;
}

/** `millrace graph`. */
export function graphCommand(context: CliContext): Command {
  return new Command("graph")
    .description("Draw a Pipeline's DAG of steps.")
    .argument("[pipeline]", "name of the Pipeline; may be left out where there is only one")
    .addOption(filenameOption())
    .addOption(
      new Option("-o, --output <format>", "a tree as text, a Mermaid flowchart, or Graphviz DOT")
        .choices(["text", "mermaid", "dot"])
        .default("text"),
    )
    .addHelpText("after", examples)
    .action((name: string | undefined, flags: GraphFlags) => graph(name, flags, context));
}

const examples = `
Examples:
  millrace graph -f manifests/ article
  millrace graph -f manifests/ article -o mermaid >> README.md
  millrace graph -f manifests/ article -o dot | dot -Tsvg > article.svg
  kubectl get mpipe,mproc -o yaml | millrace graph -f - article`;

async function graph(name: string | undefined, flags: GraphFlags, context: CliContext): Promise<void> {
  const workspace = await openWorkspace(flags.filename, context);
  const pipeline = choosePipeline(workspace, name);
  const check = await checkLocated(workspace, pipeline);
  if (!check.ok)
    throw new CliError(locateProblems(pipeline, check.problems).toSorted(byPlace).map(formatProblem).join("\n"));
  const withColor = context.stdout.isTTY === true && context.env.NO_COLOR === undefined;
  context.stdout.write(`${draw(check.pipeline.plan, flags.output, withColor)}\n`);
}

function draw(plan: Plan, format: Format, withColor: boolean): string {
  if (format === "mermaid") return mermaid(plan);
  return format === "dot" ? dot(plan) : tree(plan, withColor);
}

function tree(plan: Plan, withColor: boolean): string {
  const colors = createColors(withColor);
  const { steps, levels, width } = plan.graph;
  const rows = stepTree(plan.steps).map(({ step, prefix, alsoAfter }) => ({
    label: `${prefix}${plan.steps[step]?.name ?? ""}`,
    processor: plan.steps[step]?.processor ?? "",
    after: alsoAfter.length === 0 ? "" : `  also after ${alsoAfter.join(", ")}`,
  }));
  const widest = Math.max(...rows.map(({ label }) => label.length));
  return [
    `${plan.name}: ${steps} steps, ${levels} levels, ${width} wide`,
    ...rows.map(({ label, processor, after }) => `${label.padEnd(widest)}  ${colors.dim(`${processor}${after}`)}`),
  ].join("\n");
}

/** https://mermaid.js.org/syntax/flowchart.html; node identities are numbers, as a step may be called `end`. */
function mermaid(plan: Plan): string {
  const nodes = plan.steps.map(({ index, name, processor }) => `  s${index}["${name}<br/><i>${processor}</i>"]`);
  return ["flowchart TD", ...nodes, ...edges(plan).map(([from, to]) => `  s${from.index} --> s${to.index}`)].join("\n");
}

/** https://graphviz.org/doc/info/lang.html; names are DNS labels, so that nothing needs escaping within the quotes. */
function dot(plan: Plan): string {
  const nodes = plan.steps.map(({ name, processor }) => `  "${name}" [label="${name}\\n${processor}"];`);
  return [
    `digraph "${plan.name}" {`,
    "  node [shape=box];",
    ...nodes,
    ...edges(plan).map(([from, to]) => `  "${from.name}" -> "${to.name}";`),
    "}",
  ].join("\n");
}

function edges(plan: Plan): (readonly [PlanStep, PlanStep])[] {
  return plan.steps.flatMap((to) =>
    to.dependencies.flatMap((dependency) => {
      const from = plan.steps[dependency];
      return from === undefined ? [] : [[from, to] as const];
    }),
  );
}
