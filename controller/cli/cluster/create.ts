import { Command, InvalidArgumentError, Option } from "commander";
import { stringify } from "yaml";
import type { JsonObject } from "../../../engine/payload.ts";
import { ApiError, type KubernetesObject } from "../../api/client.ts";
import { executions, pipelines } from "../../api/kinds.ts";
import { parseDurationMs } from "../../api/quantities.ts";
import type { Execution, Pipeline } from "../../api/types.ts";
import { validateObject } from "../../api/validation.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";
import { repeated } from "../options.ts";
import { addClusterOptions, addPayloadOptions, Cluster, type PayloadFlags, told } from "./cluster.ts";
import { type DraftFlags, draftExecution } from "./execution-draft.ts";
import { checkVerdict, waitForEnd } from "./execution-wait.ts";
import { type InputFlags, parseParameters, readInput } from "./given-input.ts";

interface CreateFlags extends PayloadFlags, DraftFlags, InputFlags {
  readonly param: readonly string[];
  readonly wait?: true;
  readonly timeout?: number;
  readonly output?: "name" | "json" | "yaml";
  readonly dryRun: "none" | "client" | "server";
}

/** `millrace create PIPELINE`. */
export function createCommand(context: CliContext): Command {
  const command = new Command("create")
    .description("Create an Execution of a Pipeline in the cluster.")
    .argument("<pipeline>", "name of the Pipeline");
  for (const option of executionOptions()) command.addOption(option);
  addClusterOptions(command);
  command
    .option("--wait", "show how the run goes, and end with its outcome")
    .addOption(
      new Option("--timeout <duration>", "with --wait: how long to wait (default: until it ends)").argParser(
        durationMs,
      ),
    )
    .addOption(
      new Option("-o, --output <format>", "print its name, or the whole Execution").choices(["name", "json", "yaml"]),
    )
    .addOption(
      new Option("--dry-run <where>", "client: send nothing; server: let the server check it and keep nothing")
        .choices(["none", "client", "server"])
        .default("none"),
    );
  addPayloadOptions(command);
  return command
    .addHelpText("after", examples)
    .action((pipeline: string, flags: CreateFlags) => told(context, () => create(pipeline, flags, context)));
}

function executionOptions(): readonly Option[] {
  return [
    new Option("--name <name>", "name of the Execution").conflicts("generateName"),
    new Option(
      "--generate-name <prefix>",
      "let the server append five characters (default: the Pipeline's name and a hyphen)",
    ),
    new Option("--input <text>", "the input: @FILE, - for standard input, or the text itself (default: null)"),
    new Option("--content-type <type>", "of the input (default: by the file's ending, else text or bytes as it is)"),
    repeated("--param <name=value>", "a parameter; a value that is JSON is taken as JSON"),
    new Option("--priority <number>", "among queued Executions of the namespace, higher ones first").argParser(integer),
    new Option("--retry-from <execution>", "take over what that run's steps gave, where nothing has changed"),
    new Option("--suspend", "create it without starting it"),
  ];
}

const examples = `
Input up to 256 KiB goes into the Execution; larger input, and one of another content type than JSON, text or bytes, into the
controller's payload store, for which you must be allowed to create executions/payload in that namespace.
Exit code with --wait 0: Succeeded; 1: Failed, or the time was over; 130: Cancelled. Always 2: wrong usage.

Examples:
  millrace create article --input @book.txt
  millrace create article --param language=de --param top=10 --wait > /dev/null
  name=$(millrace create article --input @scan.pdf -o name)
  millrace create article --retry-from article-x7k2p --wait --timeout 5m
  millrace create article --input '{"pages": 3}' --content-type application/json --dry-run=client -o yaml`;

async function create(pipeline: string, flags: CreateFlags, context: CliContext): Promise<void> {
  if (flags.timeout !== undefined && flags.wait === undefined) {
    throw new CliError("--timeout says how long --wait waits; give --wait too", exitCodes.usage);
  }
  const given = await readInput(flags, context);
  await using cluster = new Cluster(flags, context);
  const isText = flags.dryRun === "client" ? () => false : await textParameters(cluster, pipeline, context);
  const parameters = parseParameters(flags.param, isText);
  const { object, upload } = draftExecution(pipeline, cluster.namespace, flags, parameters, given);
  checkDraft(object);
  if (flags.dryRun === "client")
    return print(object as unknown as KubernetesObject, " (client dry run)", flags, context);
  if (upload !== undefined && flags.dryRun === "none") {
    await using payloads = await cluster.payloads(flags, "this input goes to the controller's payload store");
    await payloads.put(cluster.namespace, upload, context.interrupted);
  }
  const where = { namespace: cluster.namespace, ...(flags.dryRun === "server" && { dryRun: true }) };
  const created = (await cluster.client.create(executions, object, where, context.interrupted)) as Execution;
  if (flags.dryRun === "server") return print(created, " (server dry run)", flags, context);
  if (flags.wait === undefined) return print(created, "", flags, context);
  await waitAndPrint(cluster, created, flags, context);
}

/** The name at once, so that it is known whatever happens; the whole Execution with its outcome. */
async function waitAndPrint(
  cluster: Cluster,
  created: Execution,
  flags: CreateFlags,
  context: CliContext,
): Promise<void> {
  const isWhole = flags.output === "json" || flags.output === "yaml";
  if (!isWhole) print(created, "", flags, context);
  const ended = await waitForEnd(cluster.client, created, flags.timeout, context);
  if (isWhole) print(ended, "", flags, context);
  checkVerdict(ended);
}

/** Which parameters the Pipeline wants as strings; one that is not there yet, or may not be read, says nothing. */
async function textParameters(
  cluster: Cluster,
  name: string,
  context: CliContext,
): Promise<(parameter: string) => boolean> {
  const { client, namespace } = cluster;
  const pipeline = await client.get(pipelines, { namespace, name }, context.interrupted).catch((error: unknown) => {
    if (error instanceof ApiError && [403, 404].includes(error.status.code)) return undefined;
    throw error;
  });
  const declared = (pipeline as Pipeline | undefined)?.spec.parameters ?? [];
  const texts = new Set(
    declared.filter(({ schema }) => schema?.type === "string").map(({ name: parameter }) => parameter),
  );
  return (parameter) => texts.has(parameter);
}

/** As the server would, before anything is sent. */
function checkDraft(object: JsonObject): void {
  const { problems } = validateObject(object);
  if (problems.length === 0) return;
  const lines = problems.map(
    ({ path, message, mend }) => `${path}: ${message}${mend === undefined ? "" : ` (${mend})`}`,
  );
  throw new CliError(`the Execution would be refused: ${lines.join("\n")}`);
}

function print(object: KubernetesObject, suffix: string, flags: CreateFlags, { stdout }: CliContext): void {
  const { name, generateName } = object.metadata;
  const reference = `execution.millrace.dev/${name ?? `${generateName}?`}`;
  if (flags.output === "json") stdout.write(`${JSON.stringify(object, undefined, 2)}\n`);
  else if (flags.output === "yaml") stdout.write(stringify(object));
  else if (flags.output === "name") stdout.write(`${reference}\n`);
  else stdout.write(`${reference} created${suffix}\n`);
}

function integer(text: string): number {
  if (/^-?[0-9]{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It is not a whole number.");
}

function durationMs(text: string): number {
  try {
    return parseDurationMs(text, "--timeout");
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
