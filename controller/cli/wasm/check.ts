import { createHash } from "node:crypto";
import { Command, Option } from "commander";
import { noCapabilities } from "../../../backends/wasm/abis/guest.ts";
import { inspect } from "../../../backends/wasm/admission/inspect.ts";
import { BytesPayload, binaryType } from "../../../engine/payload.ts";
import { type InputFlags, readInput } from "../cluster/given-input.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";
import { checkText, type ModuleCheck } from "./check-view.ts";
import { type CallReport, callModule } from "./module-call.ts";
import { type ModuleFlags, moduleFile, readModule, withModuleFlags } from "./module-flags.ts";

interface CheckFlags extends ModuleFlags, InputFlags {
  readonly output: "text" | "json";
}

/** How long the sample call may take, in milliseconds. */
const sampleTimeoutMs = 10_000;

/** `millrace wasm check`. */
export function wasmCheckCommand(context: CliContext): Command {
  const command = new Command("check")
    .description("Say what a module is, what it takes, and all that would be refused, with how to mend it.")
    .argument("<file>", "the module")
    .option("--input <text>", "of the sample call: @FILE, - for standard input, or the text itself (default: empty)")
    .option("--content-type <type>", "of the input (default: by the file's ending, else text or bytes as it is)");
  return withModuleFlags(command)
    .addOption(new Option("-o, --output <format>", "how it is printed").choices(["text", "json"]).default("text"))
    .addHelpText("after", examples)
    .action((file: string, flags: CheckFlags) => check(file, flags, context));
}

const examples = `
A module that would be admitted is called once; its fuel is that of making an instance and of the call. That the call
fails is no fault: many modules want another input.
Exit code 0: it would be admitted; 1: it would be refused; 2: wrong usage, or a file that cannot be read.

Examples:
  millrace wasm check words.wasm
  millrace wasm check words.wasm --input @book.txt --memory 16Mi
  millrace wasm check words.wasm -o json | jq -r '.refusals[].message'`;

async function check(file: string, flags: CheckFlags, context: CliContext): Promise<void> {
  const bytes = await readModule(file, context);
  const input = (await readInput(flags, context)) ?? new BytesPayload(new Uint8Array(), binaryType);
  const { abi, entrypoint, memory } = flags;
  const inspection = inspect({ bytes, abi, entrypoint, maxMemoryBytes: memory });
  const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  const facts = { file, bytes: bytes.byteLength, digest, entrypoint, maxMemoryBytes: memory, ...inspection };
  const found = inspection.refusals.length > 0 ? facts : await withSample(facts, file, flags, input, context);
  const text = flags.output === "json" ? `${JSON.stringify(found, undefined, 2)}\n` : checkText(found, context);
  context.stdout.write(text);
  if (found.refusals.length > 0) throw new CliError("", exitCodes.failed);
}

/** With what a call took; what keeps every call from its entrypoint is one refusal more. */
async function withSample(
  facts: ModuleCheck,
  file: string,
  flags: CheckFlags,
  input: BytesPayload,
  context: CliContext,
): Promise<ModuleCheck> {
  const report = await callModule(
    {
      file: moduleFile(file, flags, context),
      request: { payload: input, metadata: {}, options: {} },
      secrets: {},
      capabilities: noCapabilities,
      isolation: "Worker",
      timeoutMs: sampleTimeoutMs,
      network: {},
    },
    context,
  );
  const { error, fuel } = report;
  if (error !== undefined && fuel === undefined && error.code !== "DeadlineExceeded") {
    return { ...facts, refusals: [{ code: error.code, message: error.message }] };
  }
  const sample = { inputBytes: input.size, outcome: outcomeOf(report), ...(fuel === undefined ? {} : { fuel }) };
  return { ...facts, sample };
}

function outcomeOf({ response, error }: CallReport): string {
  if (error !== undefined) return `${error.code}: ${error.message}`;
  if (response?.ok === false) return `failed with ${response.error.code}: ${response.error.message}`;
  return response === undefined ? "nothing" : `${response.payload.size} bytes of ${response.payload.contentType}`;
}
