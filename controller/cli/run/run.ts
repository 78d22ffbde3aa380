import { Command, Option } from "commander";
import type { CliContext } from "../context.ts";
import { moduleOptions } from "../module-options.ts";
import { filenameOption, repeated } from "../options.ts";
import type { RunFlags } from "./run-flags.ts";

/** `millrace run`. */
export function runCommand(context: CliContext): Command {
  const command = new Command("run")
    .description("Run a Pipeline once, here, without a cluster.")
    .argument("[pipeline]", "name of the Pipeline; may be left out where there is only one")
    .addOption(filenameOption())
    .option("--input <text>", "the Execution's input: @FILE, - for standard input, or the text itself (default: null)")
    .option("--content-type <type>", "of the input (default: by the file's ending, else text or bytes as it is)")
    .addOption(repeated("--param <name=value>", "a parameter; a value that is JSON is taken as JSON"))
    .addOption(
      new Option("-o, --output <format>", "text: what the run gave; json, yaml: the whole Execution with its status")
        .choices(["text", "json", "yaml"])
        .default("text"),
    )
    .option("--plugins-dir <dir>", "where ES modules are (default: plugins/ beside the manifests)")
    .option("--modules-dir <dir>", "where WASM modules are (default: modules/ beside the manifests)")
    .addOption(repeated("--allow-isolation <name>", "allow an isolation beyond the default, for example Inline"))
    .option(
      "--save <dir>",
      "keep the whole run here, with payloads and logs, for inspect, logs, output and graph --saved",
    )
    .option("--logs", "show what steps log on standard error, as it comes")
    .option("-q, --quiet", "show nothing while it runs")
    .addHelpText("after", examples)
    .action(async (name: string | undefined, flags: RunFlags) => {
      const { runPipeline } = await import("./local-run.ts");
      await runPipeline(name, flags, context);
    });
  for (const option of moduleOptions()) command.addOption(option);
  return command;
}

const examples = `
Steps are shown on standard error, a live tree on a terminal; the output goes to standard output. When a step fails, the last
lines that it logged are shown. Nothing is cached from one run to the next: the "cache" of steps is never hit here.
The first Ctrl-C lets what runs finish and runs finally, the second aborts it, the third ends the process.
Exit code 0: Succeeded; 1: Failed, or the manifests are wrong; 2: wrong usage; 130: cancelled by a signal.

Examples:
  millrace run -f manifests/ article --input @book.txt
  millrace run -f manifests/ article --input '{"pages": 3}' --content-type application/json
  millrace run -f manifests/ article --param language=de --param top=10 -o yaml
  millrace run -f manifests/ article --save run/ && millrace inspect --saved run/
  cat book.txt | millrace run -f manifests/ article --input - > report.md`;
