import { Command, InvalidArgumentError, Option } from "commander";
import type { Execution, StepRow } from "../../api/types.ts";
import { isFinished } from "../../execution/objects.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";
import { addClusterOptions, addPayloadOptions, told } from "./cluster.ts";
import { ExecutionSource, type SourceFlags, savedOption } from "./execution-source.ts";
import { follow } from "./follow.ts";
import { LogPrinter, type LogPrinterFlags } from "./log-printer.ts";
import { stepRow } from "./output-rows.ts";

interface LogsFlags extends SourceFlags, LogPrinterFlags {
  readonly follow?: true;
}

/** `millrace logs EXECUTION [STEP]`. */
export function logsCommand(context: CliContext): Command {
  const command = new Command("logs")
    .summary("Print what the steps of an Execution logged")
    .description("Print what the steps of an Execution logged. A step's log is there when the step has ended.")
    .argument("[execution]", "name of the Execution; with --saved it may be left out")
    .argument("[step]", "name of a step; without it those of all steps, in the order of the rows")
    .addOption(new Option("--item <index>", "of a step with forEach: only this item, from 0").argParser(wholeNumber))
    .addOption(new Option("--attempt <number>", "only this attempt, from 1").argParser(wholeNumber))
    .option("--timestamps", "begin each line with its time")
    .option("--prefix", "begin each line with its step (default where there are several)")
    .option("-f, --follow", "go on until the Execution has ended, and print each log when its step has");
  addPayloadOptions(addClusterOptions(command)).addOption(savedOption());
  return command
    .addHelpText("after", examples)
    .action((execution: string | undefined, step: string | undefined, flags: LogsFlags) =>
      told(context, () => logs([execution, step], flags, context)),
    );
}

const examples = `
Logs are in the controller's payload store, which asks the cluster whether you may get executions/payload in that namespace.
A step keeps up to 64 KiB of each attempt; several attempts are told apart by a line "--- attempt 2 ---".

Examples:
  millrace logs article-x7k2p                          of all steps, each line with its step
  millrace logs article-x7k2p publish/upload           of one step, here of a Pipeline that publish brings in
  millrace logs article-x7k2p pages --item 17 --attempt 2 --timestamps
  millrace logs article-x7k2p -f                       as the steps end
  millrace logs --saved run/ count                     of a run that "millrace run --save run/" left`;

async function logs(names: readonly (string | undefined)[], flags: LogsFlags, context: CliContext): Promise<void> {
  await using source = new ExecutionSource(flags, context, "logs are in the controller's payload store");
  const { execution, step } = await source.look(names);
  if (flags.item !== undefined && step === undefined) {
    throw new CliError("--item is of a step; name it: millrace logs EXECUTION STEP --item N", exitCodes.usage);
  }
  const printer = new LogPrinter(source, step, flags, context);
  const last = flags.follow === true ? await printAll(source, execution, printer, context) : execution;
  const rows = rowsOf(last, step, flags.follow === true);
  await printer.print(rows);
  printer.explainSilence(last, rows);
}

/** Prints each log when it is there; gives the last version. */
async function printAll(
  { cluster }: ExecutionSource,
  first: Execution,
  printer: LogPrinter,
  { ports, interrupted }: CliContext,
): Promise<Execution> {
  let last = first;
  if (cluster === undefined || isFinished(first.status)) return last;
  for await (const execution of follow(cluster.client, first, ports.scheduler, interrupted)) {
    last = execution;
    if (isFinished(execution.status)) return last;
    await printer.print(execution.status?.steps ?? []);
  }
  throw new CliError(`Execution "${first.metadata.name}" was deleted before it had ended`);
}

function rowsOf(execution: Execution, step: string | undefined, isOver: boolean): readonly StepRow[] {
  const rows = execution.status?.steps ?? [];
  if (step === undefined) return rows;
  return isOver && rows.length === 0 ? [] : [stepRow({ execution, step })];
}

function wholeNumber(text: string): number {
  if (/^[0-9]{1,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It is not a whole number.");
}
