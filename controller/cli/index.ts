import { Command, CommanderError } from "commander";
import { type CliContext, CliError, type ExitCode, exitCodes } from "./context.ts";

interface Entry {
  /** Under which the help lists it. */
  readonly group: string;
  readonly load: (context: CliContext) => Promise<Command>;
}

const here = "Without a cluster:";
const cluster = "Runs in a cluster, and saved ones:";
const server = "The controller:";

/** A file a command; one that is not asked for is not loaded, as loading is most of what a short command costs. */
const commands: Readonly<Record<string, Entry>> = {
  run: { group: here, load: async (context) => (await import("./run/run.ts")).runCommand(context) },
  validate: { group: here, load: async (context) => (await import("./validate.ts")).validateCommand(context) },
  graph: { group: here, load: async (context) => (await import("./graph/graph.ts")).graphCommand(context) },
  wasm: { group: here, load: async (context) => (await import("./wasm/wasm.ts")).wasmCommand(context) },
  create: { group: cluster, load: async (context) => (await import("./cluster/create.ts")).createCommand(context) },
  inspect: { group: cluster, load: async (context) => (await import("./inspect/inspect.ts")).inspectCommand(context) },
  logs: { group: cluster, load: async (context) => (await import("./cluster/logs.ts")).logsCommand(context) },
  output: { group: cluster, load: async (context) => (await import("./cluster/output.ts")).outputCommand(context) },
  delete: { group: cluster, load: async (context) => (await import("./cluster/delete.ts")).deleteCommand(context) },
  controller: { group: server, load: async (context) => (await import("./controller.ts")).controllerCommand(context) },
};

/** Runs one command line (without `node` and the script) and says what to exit with. Never throws. */
export async function runCli(args: readonly string[], context: CliContext): Promise<ExitCode> {
  try {
    const program = await buildProgram(args, context);
    await program.parseAsync([...args], { from: "user" });
    return exitCodes.ok;
  } catch (error) {
    return report(error, context);
  }
}

async function buildProgram(args: readonly string[], context: CliContext): Promise<Command> {
  const program = configure(new Command("millrace"), context)
    .description("Runs DAGs of small processors: local modules, RPC services and sandboxed WebAssembly.")
    .version(context.version, "--version", "print the version")
    .helpOption("-h, --help", "print help for a command")
    .helpCommand("help [command]", "print help for a command")
    .addHelpText("after", examples);
  const asked = commands[args[0] ?? ""];
  for (const { group, load } of asked === undefined ? Object.values(commands) : [asked]) {
    program.addCommand(configure(await load(context), context).helpGroup(group));
  }
  return program;
}

const examples = `
Examples:
  millrace run -f manifests/ article --input @book.txt     run a Pipeline here, without a cluster
  millrace validate -f manifests/                          check manifests as the API server would
  millrace graph -f manifests/ article -o mermaid          draw a Pipeline
  millrace wasm check words.wasm                           see what a WebAssembly module is and takes
  millrace create article --input @book.txt --wait         run a Pipeline in the cluster
  millrace inspect article-x7k2p --watch                   see how an Execution goes
  millrace logs article-x7k2p count                        print what a step logged
  millrace output article-x7k2p > report.txt               print what an Execution produced
  millrace controller                                      run the controller against a cluster`;

/** Output goes to the context's streams, and commander throws instead of exiting; of subcommands too. */
function configure(command: Command, context: CliContext): Command {
  for (const subcommand of command.commands) configure(subcommand, context);
  return (
    command
      .exitOverride()
      .showHelpAfterError("(see --help)")
      // Also beside long flags: a description in lines of twenty characters is better than one that runs out of the terminal.
      .configureHelp({ minWidthToWrap: 20 })
      .configureOutput({
        writeOut: (text) => context.stdout.write(text),
        writeErr: (text) => context.stderr.write(text),
        getOutHelpWidth: () => context.stdout.columns ?? 80,
        getErrHelpWidth: () => context.stderr.columns ?? 80,
        getOutHasColors: () => context.stdout.isTTY === true && context.env.NO_COLOR === undefined,
        getErrHasColors: () => context.stderr.isTTY === true && context.env.NO_COLOR === undefined,
      })
  );
}

function report(error: unknown, context: CliContext): ExitCode {
  // Commander has printed its own message already, the help text included.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  if (error instanceof CliError) {
    if (error.message !== "") context.stderr.write(`error: ${error.message}\n`);
    return error.exitCode;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  context.stderr.write(`error: this is a defect of millrace: ${text}\n`);
  return exitCodes.failed;
}
