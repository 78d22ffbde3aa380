import { Command, Option } from "commander";
import type { Plan } from "../../../engine/plan.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";
import { repeated } from "../options.ts";
import { terminalStyle } from "../terminal/terminal.ts";
import { byPlace, checkLocated, choosePipeline, formatProblem, locateProblems, openWorkspace } from "../workspace.ts";
import { drawDot, drawMermaid, drawText } from "./graph-drawings.ts";
import type { Outcomes } from "./graph-outcomes.ts";
import type { RunGraph } from "./graph-sources.ts";

type Format = "text" | "mermaid" | "dot";

interface GraphFlags {
  readonly filename: readonly string[];
  readonly execution?: string;
  readonly saved?: string;
  readonly namespace?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly output: Format;
}

/** `millrace graph`. */
export function graphCommand(context: CliContext): Command {
  return new Command("graph")
    .description("Draw a Pipeline's DAG of steps, with the Pipelines that it brings in; or a run's, with its outcome.")
    .argument("[pipeline]", "with -f: name of the Pipeline; may be left out where there is only one")
    .addOption(repeated("-f, --filename <path>", "draw a Pipeline of this file or directory, - for standard input"))
    .option("--execution <name>", "draw this Execution's Pipeline as it started with it, and what its steps came to")
    .option("--saved <dir>", 'the same of what "millrace run --save DIR" left, without a cluster')
    .addOption(
      new Option("-o, --output <format>", "a tree as text, a Mermaid flowchart, or Graphviz DOT")
        .choices(["text", "mermaid", "dot"])
        .default("text"),
    )
    .option(
      "-n, --namespace <namespace>",
      "with --execution: its namespace (default: that of the kubeconfig's context)",
    )
    .option("--kubeconfig <file>", "with --execution: kubeconfig to use (default: as kubectl)")
    .option("--context <name>", "with --execution: context of the kubeconfig")
    .addHelpText("after", examples)
    .action((name: string | undefined, flags: GraphFlags) => graph(name, flags, context));
}

const examples = `
A run's steps have a symbol and a colour by what they came to: millrace inspect --help lists the symbols.

Examples:
  millrace graph -f manifests/ article
  millrace graph -f manifests/ article -o mermaid >> README.md
  millrace graph -f manifests/ article -o dot | dot -Tsvg > article.svg
  kubectl get mpipe,mproc -o yaml | millrace graph -f - article
  millrace graph --execution article-x7k2p             the run, as far as it is
  millrace graph --saved run/ -o dot | dot -Tsvg > run.svg`;

async function graph(name: string | undefined, flags: GraphFlags, context: CliContext): Promise<void> {
  const { filename, execution, saved } = flags;
  const sources = [filename.length > 0, execution !== undefined, saved !== undefined].filter(Boolean).length;
  if (sources !== 1) throw new CliError("give one of -f PATH, --execution NAME and --saved DIR", exitCodes.usage);
  if (filename.length > 0) return print(await definedPlan(name, flags, context), undefined, flags, context);
  const { told } = await import("../cluster/cluster.ts");
  await told(context, async () => {
    const { plan, outcomes, note } = await runGraph(name, flags, context);
    if (note !== undefined) context.stderr.write(`${note}\n`);
    print(plan, outcomes, flags, context);
  });
}

async function definedPlan(name: string | undefined, flags: GraphFlags, context: CliContext): Promise<Plan> {
  const workspace = await openWorkspace(flags.filename, context);
  const pipeline = choosePipeline(workspace, name);
  const check = await checkLocated(workspace, pipeline);
  if (check.ok) return check.pipeline.plan;
  throw new CliError(locateProblems(pipeline, check.problems).toSorted(byPlace).map(formatProblem).join("\n"));
}

/** What talks to a cluster is loaded only for that. */
async function runGraph(name: string | undefined, flags: GraphFlags, context: CliContext): Promise<RunGraph> {
  const { clusterGraph, savedGraph } = await import("./graph-sources.ts");
  if (flags.saved !== undefined) return await savedGraph(flags.saved, name, context);
  const { Cluster } = await import("../cluster/cluster.ts");
  await using cluster = new Cluster(flags, context);
  return await clusterGraph(cluster, flags.execution ?? "", context.interrupted);
}

function print(plan: Plan, outcomes: Outcomes | undefined, { output }: GraphFlags, { stdout, env }: CliContext): void {
  const { colors, symbols } = terminalStyle(stdout, env);
  if (output === "mermaid") stdout.write(`${drawMermaid(plan, outcomes)}\n`);
  else if (output === "dot") stdout.write(`${drawDot(plan, outcomes)}\n`);
  else {
    const text = drawText(plan, colors.isColorSupported, outcomes);
    stdout.write(`${outcomes === undefined ? text : symbols(text)}\n`);
  }
}
