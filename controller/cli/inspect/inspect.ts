import { Command, Option } from "commander";
import type { Execution } from "../../api/types.ts";
import { addClusterOptions, Cluster, type ClusterFlags, told } from "../cluster/cluster.ts";
import { savedOption } from "../cluster/execution-source.ts";
import { asKubectl } from "../cluster/kubectl-object.ts";
import { openSaved } from "../cluster/saved-run.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";
import { terminalStyle } from "../terminal/terminal.ts";
import { executionView } from "./execution-view.ts";
import { watchExecution } from "./execution-watch.ts";
import { finallyNames, finallyNamesOf } from "./finally-names.ts";

interface InspectFlags extends ClusterFlags {
  readonly output: "text" | "json" | "yaml";
  readonly watch?: true;
  readonly saved?: string;
}

/** `millrace inspect EXECUTION`. */
export function inspectCommand(context: CliContext): Command {
  const command = new Command("inspect")
    .summary("Show how an Execution goes, or went, step by step")
    .description("Show an Execution: its state, its steps as a tree, what failed and why, and when each step ran.")
    .argument("[execution]", "name of the Execution; with --saved it may be left out")
    .addOption(new Option("-w, --watch", "follow it until it ends, and end as it did").conflicts("saved"))
    .addOption(
      new Option("-o, --output <format>", "text: for people; json, yaml: the object as kubectl gives it")
        .choices(["text", "json", "yaml"])
        .default("text"),
    )
    .addOption(savedOption())
    .addHelpText("after", examples)
    .action((name: string | undefined, flags: InspectFlags) => told(context, () => inspect(name, flags, context)));
  return addClusterOptions(command);
}

const examples = `
Steps of a Pipeline that a step brings in stand below that step; the steps of finally stand last. A fan-out is one row: how
many of its items succeeded, and below it the first ones that failed. The bar at the right is when the step ran.
  ✔ Succeeded  ✖ Failed  ● Running  ↻ Retrying  – Skipped  ⊘ Cancelled  · Waiting
Where there is a reason it is shown instead of the state: Cached, Reused, Ignored, WhenFalse …

With --watch a terminal shows it anew after each change, and a pipe gets a line for each; -o json then prints an object a
line, and -o yaml a document. Exit code with --watch: 0: Succeeded; 1: Failed, or deleted; 130: Cancelled, or a signal came.

Examples:
  millrace inspect article-x7k2p                       as it is now
  millrace inspect article-x7k2p --watch               until it has ended
  millrace inspect article-x7k2p -o json | jq '.status.steps[] | select(.state == "Failed")'
  millrace inspect --saved run/                        what "millrace run --save run/" left`;

async function inspect(name: string | undefined, flags: InspectFlags, context: CliContext): Promise<void> {
  if (flags.saved !== undefined) {
    const { execution, closure } = await openSaved(flags.saved, name, context);
    return await show(execution, finallyNamesOf(closure?.spec), flags, context);
  }
  if (name === undefined) throw new CliError("name the Execution, or give --saved DIR", exitCodes.usage);
  await using cluster = new Cluster(flags, context);
  if (flags.watch === true) return await watchExecution(cluster, name, flags.output, context);
  const execution = await cluster.execution(name);
  await show(execution, await finallyNames(cluster, execution, context.interrupted), flags, context);
}

async function show(
  execution: Execution,
  finallySteps: ReadonlySet<string>,
  { output }: InspectFlags,
  { stdout, env, ports }: CliContext,
): Promise<void> {
  if (output === "text") {
    const options = { finallySteps, style: terminalStyle(stdout, env), nowMs: ports.clock.now() };
    stdout.write(
      executionView(execution, options)
        .map(({ text }) => `${text}\n`)
        .join(""),
    );
  } else if (output === "json") stdout.write(`${JSON.stringify(asKubectl(execution), undefined, 2)}\n`);
  else stdout.write((await import("yaml")).stringify(asKubectl(execution)));
}
