import { open, rename, rm } from "node:fs/promises";
import { resolve } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { stringify } from "yaml";
import { MillraceError } from "../../../engine/errors.ts";
import { BytesPayload, digestOf, type Payload } from "../../../engine/payload.ts";
import type { Execution, PayloadRow } from "../../api/types.ts";
import { inlineValue, payloadOf } from "../../execution/recording/values.ts";
import { manifestRef, readItem } from "../../payloads/manifest.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";
import { addClusterOptions, addPayloadOptions, told } from "./cluster.ts";
import { ExecutionSource, type SourceFlags, savedOption } from "./execution-source.ts";
import { itemOutput, itemsResults, runOutput, stepOutput } from "./output-rows.ts";

interface OutputFlags extends SourceFlags {
  readonly item?: number;
  readonly outputName?: string;
  readonly metadata?: true;
  readonly output: "raw" | "json" | "yaml";
  readonly to?: string;
}

/** `millrace output EXECUTION [STEP]`. */
export function outputCommand(context: CliContext): Command {
  const command = new Command("output")
    .description("Print what an Execution, or one of its steps, gave.")
    .argument("[execution]", "name of the Execution; with --saved it may be left out")
    .argument("[step]", "name of a step; without it the output of the whole run")
    .addOption(new Option("--item <index>", "of a step with forEach: what this item gave, from 0").argParser(itemIndex))
    .option("--output-name <name>", "one of the run's named outputs")
    .option("--metadata", "what the step, or the item, said about its payload, as JSON");
  addClusterOptions(command)
    .addOption(
      new Option("-o, --output <format>", "raw: the bytes; json, yaml: with content type, size and digest")
        .choices(["raw", "json", "yaml"])
        .default("raw"),
    )
    .option("--to <file>", "write to this file instead of the standard output");
  return addPayloadOptions(command)
    .addOption(savedOption())
    .addHelpText("after", examples)
    .action((execution: string | undefined, step: string | undefined, flags: OutputFlags) =>
      told(context, () => printOutput([execution, step], flags, context)),
    );
}

const examples = `
What is small is in the Execution's status; what is larger is fetched from the controller, which asks the cluster whether
you may get executions/payload in that namespace.

Examples:
  millrace output article-x7k2p > report.txt         what the run gave
  millrace output article-x7k2p count -o yaml        what one step gave, with its content type
  millrace output article-x7k2p page --item 17       what one item of a step with forEach gave
  millrace output article-x7k2p --output-name top    one of the named outputs
  millrace output article-x7k2p count --metadata     what the step said about its payload
  millrace output article-x7k2p --to report.pdf      into a file, all of it or nothing
  millrace output --saved run/ count                 of a run that "millrace run --save run/" left
  kubectl port-forward -n millrace-system deploy/millrace 8443 &
  millrace output article-x7k2p --server https://localhost:8443 --certificate-authority ca.crt`;

async function printOutput(
  names: readonly (string | undefined)[],
  flags: OutputFlags,
  context: CliContext,
): Promise<void> {
  if (flags.saved === undefined) checkUsage(names[1], flags);
  await using source = new ExecutionSource(flags, context, "this output is in the controller's payload store");
  const { execution, step } = await source.look(names);
  checkUsage(step, flags);
  await new OutputReader(source, flags, context).print(execution, step);
}

function checkUsage(step: string | undefined, { item, metadata, outputName }: OutputFlags): void {
  if (step === undefined && (item !== undefined || metadata)) {
    const flag = item === undefined ? "--metadata" : "--item";
    throw new CliError(`${flag} is of a step; name it: millrace output EXECUTION STEP ${flag}`, exitCodes.usage);
  }
  if (step !== undefined && outputName !== undefined) {
    throw new CliError("--output-name is of the whole run; leave the step out", exitCodes.usage);
  }
}

class OutputReader {
  readonly #source: ExecutionSource;
  readonly #flags: OutputFlags;
  readonly #context: CliContext;

  constructor(source: ExecutionSource, flags: OutputFlags, context: CliContext) {
    this.#source = source;
    this.#flags = flags;
    this.#context = context;
  }

  async print(execution: Execution, step: string | undefined): Promise<void> {
    const row = await this.#row(execution, step);
    await this.#write(row, await this.#chunks(row));
  }

  async #row(execution: Execution, step: string | undefined): Promise<PayloadRow> {
    const { item, metadata = false, outputName, saved } = this.#flags;
    const place = saved === undefined ? execution.metadata.name : `--saved ${saved}`;
    if (step === undefined) return runOutput(execution, outputName, `millrace output ${place}`);
    const wanted = { execution, step, metadata };
    if (item === undefined) return stepOutput(wanted);
    const ref = manifestRef(itemsResults(wanted, item));
    const { reader, owner } = await this.#source.payloads();
    return itemOutput(wanted, item, await readItem(reader, owner, ref, item, this.#context.interrupted));
  }

  async #chunks(row: PayloadRow): Promise<AsyncIterable<Uint8Array>> {
    const { interrupted } = this.#context;
    if (row.payload === undefined) return chunksOf(payloadOf(row, unreachable), interrupted);
    const { ref: digest, bytes } = row.payload;
    return (await this.#source.open({ digest, bytes, contentType: row.contentType ?? "" })).stream(interrupted);
  }

  async #write(row: PayloadRow, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const { output, to } = this.#flags;
    const shown = output === "raw" ? chunks : enveloped(row, chunks, output);
    if (to !== undefined) return await writeFileWhole(resolve(this.#context.cwd, to), shown);
    for await (const chunk of shown) {
      if (!this.#context.stdout.write(chunk)) await this.#drained();
    }
  }

  #drained(): Promise<void> {
    return new Promise((settle) => this.#context.stdout.once("drain", settle));
  }
}

function itemIndex(text: string): number {
  if (/^[0-9]{1,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It is not the index of an item, a whole number from 0.");
}

function unreachable(): Payload {
  throw new MillraceError("Internal", "a payload of the store was taken for an inline one");
}

async function* chunksOf(payload: Payload, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
  yield await payload.bytes(signal);
}

/** Content type, size and digest, and the content as a status would hold it, whatever its size. */
async function* enveloped(
  row: PayloadRow,
  chunks: AsyncIterable<Uint8Array>,
  format: "json" | "yaml",
): AsyncGenerator<Uint8Array, void> {
  const bytes = Buffer.concat(await Array.fromAsync(chunks));
  const { contentType, ...content } = inlineValue(new BytesPayload(bytes, row.contentType ?? ""));
  const envelope = { contentType, bytes: bytes.byteLength, digest: row.payload?.ref ?? digestOf(bytes), ...content };
  yield Buffer.from(format === "json" ? `${JSON.stringify(envelope, null, 2)}\n` : stringify(envelope));
}

/** Under another name until all of it is there. */
async function writeFileWhole(path: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const partial = `${path}.partial`;
  const file = await open(partial, "w");
  try {
    for await (const chunk of chunks) await file.writeFile(chunk);
    await file.close();
    await rename(partial, path);
  } catch (error) {
    await file.close();
    await rm(partial, { force: true });
    throw error;
  }
}
