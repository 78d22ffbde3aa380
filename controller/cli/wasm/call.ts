import { Command, InvalidArgumentError, Option } from "commander";
import type { WasmModule } from "../../../backends/backend.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { type BytesPayload, type JsonObject, jsonPayload } from "../../../engine/payload.ts";
import { parseDurationMs } from "../../api/quantities.ts";
import { type InputFlags, readInput } from "../cluster/given-input.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";
import { allowAddressesOption, repeatable } from "../module-options.ts";
import { repeated } from "../options.ts";
import { formatDuration } from "../terminal/durations.ts";
import { printable } from "../terminal/printable.ts";
import { type CallReport, callModule } from "./module-call.ts";
import { type ModuleFlags, moduleFile, readModule, withModuleFlags } from "./module-flags.ts";

interface CallFlags extends ModuleFlags, InputFlags {
  readonly options: JsonObject;
  readonly metadata: readonly string[];
  readonly secret: readonly string[];
  readonly config: readonly string[];
  readonly env: readonly string[];
  readonly allowHost: readonly string[];
  readonly allowAddresses: readonly string[];
  readonly seed?: string;
  readonly isolation: WasmModule["isolation"];
  readonly timeout: number;
  readonly output: "text" | "json";
}

/** `millrace wasm call`. */
export function wasmCallCommand(context: CliContext): Command {
  const command = new Command("call")
    .description("Call a module once, as a step would, with the limits of a Processor.")
    .argument("<file>", "the module")
    .option("--input <text>", "the payload: @FILE, - for standard input, or the text itself (default: null)")
    .option("--content-type <type>", "of the input (default: by the file's ending, else text or bytes as it is)")
    .addOption(new Option("--options <json>", "the step's options").argParser(jsonObject).default({}, "{}"))
    .addOption(repeated("--metadata <name=value>", "metadata as a step before would give it, such as count.words=3"))
    .addOption(repeated("--secret <name=value>", "one of the Processor's secrets"))
    .addOption(repeated("--config <name=value>", "one of capabilities.config"))
    .addOption(repeated("--env <name=value>", "one of capabilities.env"))
    .addOption(repeatable("--allow-host <host>", "one of capabilities.allowedHosts", allowedHost))
    .addOption(allowAddressesOption("addresses that allowed hosts may have although they are not public"))
    .option("--seed <text>", "capabilities.randomSeed (default: the system's random numbers)")
    .addOption(new Option("--isolation <name>", "where it runs").choices(["Worker", "Inline"]).default("Worker"))
    .addOption(new Option("--timeout <duration>", "how long it may take").argParser(duration).default(30_000, "30s"));
  return withModuleFlags(command)
    .addOption(
      new Option("-o, --output <format>", "text: what it gave; json: everything, in one object")
        .choices(["text", "json"])
        .default("text"),
    )
    .addHelpText("after", examples)
    .action((file: string, flags: CallFlags) => call(file, flags, context));
}

const examples = `
The output goes to standard output as it is; the log, metadata, fuel and time to standard error.
Exit code 0: it succeeded; 1: it failed, or was refused or ended; 2: wrong usage, or a file that cannot be read.
130: it was interrupted.

Examples:
  millrace wasm call words.wasm --input @book.txt
  millrace wasm call words.wasm --input 'one two' --options '{"minimum": 3}'
  millrace wasm call fetch.wasm --input '"x"' --allow-host api.example.com --secret token=s3cr3t -o json`;

async function call(file: string, flags: CallFlags, context: CliContext): Promise<void> {
  await readModule(file, context);
  const report = await callModule(
    {
      file: moduleFile(file, flags, context),
      request: {
        payload: await payloadOf(flags, context),
        metadata: texts("--metadata", flags.metadata),
        options: flags.options,
      },
      secrets: texts("--secret", flags.secret),
      capabilities: {
        allowedHosts: flags.allowHost,
        env: texts("--env", flags.env),
        config: texts("--config", flags.config),
        ...(flags.seed === undefined ? {} : { randomSeed: flags.seed }),
      },
      isolation: flags.isolation,
      timeoutMs: flags.timeout,
      network: { allowAddresses: flags.allowAddresses },
    },
    context,
  );
  if (flags.output === "json") context.stdout.write(`${JSON.stringify(await plain(report), undefined, 2)}\n`);
  else await print(report, context);
  if (report.response?.ok !== true) throw new CliError("", exitCodes.failed);
}

async function payloadOf(flags: CallFlags, context: CliContext): Promise<BytesPayload> {
  return (await readInput(flags, context)) ?? jsonPayload(null);
}

async function print({ response, error, fuel, durationMs, log }: CallReport, context: CliContext): Promise<void> {
  const { stdout, stderr } = context;
  for (const line of log) stderr.write(`${printable(line)}\n`);
  for (const [name, value] of Object.entries(response?.metadata ?? {}))
    stderr.write(`metadata ${printable(`${name}: ${value}`)}\n`);
  const took = fuel === undefined ? "" : `, ${fuel} units of fuel`;
  stderr.write(`${formatDuration(durationMs)}${took}\n`);
  if (response?.ok === true) stdout.write(await response.payload.bytes(context.interrupted));
  const failure = response?.ok === false ? response.error : error;
  if (failure !== undefined) stderr.write(`error: ${printable(`${failure.code}: ${failure.message}`)}\n`);
}

/** A payload is text where it is UTF-8, else Base64. */
async function plain({ response, error, fuel, durationMs, log }: CallReport): Promise<object> {
  const common = { durationMs: Math.round(durationMs), ...(fuel === undefined ? {} : { fuel }), log };
  if (response === undefined) return { ok: false, error: { code: error?.code, message: error?.message }, ...common };
  const { metadata } = response;
  if (!response.ok) return { ok: false, error: response.error, metadata, ...common };
  const bytes = await response.payload.bytes(new AbortController().signal);
  const { contentType } = response.payload;
  return { ok: true, output: { ...textOrBase64(bytes), contentType }, metadata, ...common };
}

function textOrBase64(bytes: Uint8Array): object {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return { base64: Buffer.from(bytes).toString("base64") };
  }
}

/** A secret's value has no place in an error: what is no pair is not repeated. */
function texts(flag: string, pairs: readonly string[]): Readonly<Record<string, string>> {
  const entries = pairs.map((pair) => {
    const equals = pair.indexOf("=");
    if (equals < 1) throw new CliError(`${flag}: write ${flag} name=value`, exitCodes.usage);
    return [pair.slice(0, equals), pair.slice(equals + 1)] as const;
  });
  return Object.fromEntries(entries);
}

function jsonObject(text: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as JsonObject;
  } catch {
    // Said below, as of any other text.
  }
  throw new InvalidArgumentError(`Write a JSON object, such as '{"minimum": 3}'.`);
}

function allowedHost(text: string): string {
  if (/^([*][.])?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$/.test(text)) return text;
  throw new InvalidArgumentError("Write a host without scheme and path, such as api.example.com or *.example.com.");
}

function duration(text: string): number {
  try {
    return parseDurationMs(text, "--timeout");
  } catch (error) {
    if (error instanceof MillraceError) throw new InvalidArgumentError("Write a duration, such as 5s.");
    throw error;
  }
}
