import { createReadStream } from "node:fs";
import { extname, resolve } from "node:path";
import { addAbortSignal, type Readable } from "node:stream";
import { MillraceError } from "../../engine/errors.ts";
import {
  BytesPayload,
  binaryType,
  type Json,
  type JsonObject,
  jsonPayload,
  jsonType,
  textType,
} from "../../engine/payload.ts";
import type { CompiledPipeline } from "../catalog.ts";
import { checkedInput, type RunInput } from "../execution/input.ts";
import { type CliContext, CliError, exitCodes } from "./context.ts";
import type { RunFlags } from "./run-flags.ts";

/** The most that `input.maxSize` of a Pipeline may be. */
const maxInputBytes = 64 * 1024 * 1024;

/** The input and the parameters of the command line, checked as an Execution's are. Throws CliError. */
export async function readGiven(pipeline: CompiledPipeline, flags: RunFlags, context: CliContext): Promise<RunInput> {
  const input = await readInput(flags, context);
  const parameters = parseParameters(pipeline, flags.param);
  try {
    return checkedInput(pipeline, parameters, input);
  } catch (error) {
    if (error instanceof MillraceError) throw new CliError(`${error.code}: ${error.message}`, exitCodes.failed);
    throw error;
  }
}

async function readInput(flags: RunFlags, context: CliContext): Promise<BytesPayload> {
  const { input, contentType } = flags;
  if (input === undefined) return jsonPayload(null);
  if (input !== "-" && !input.startsWith("@"))
    return new BytesPayload(Buffer.from(input, "utf8"), contentType ?? textType);
  const file = input === "-" ? input : input.slice(1);
  const bytes = file === "-" ? await readStdin(context) : await readInputFile(resolve(context.cwd, file));
  return new BytesPayload(bytes, contentType ?? guessedType(file, bytes));
}

/** Ends with the first signal: whoever types the input may think better of it. */
async function readStdin({ stdin, interrupted }: CliContext): Promise<Uint8Array> {
  try {
    return await bounded(addAbortSignal(interrupted, stdin));
  } catch (error) {
    if (interrupted.aborted) throw new CliError("", exitCodes.cancelled);
    throw error;
  }
}

/** No Pipeline takes more, and an endless file must not fill the memory. */
async function bounded(stream: Readable): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > maxInputBytes)
      throw new CliError(`--input: has more than ${maxInputBytes} bytes, which no Pipeline takes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function readInputFile(file: string): Promise<Uint8Array> {
  try {
    return await bounded(createReadStream(file));
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "does not exist" : `cannot be read (${code})`;
    throw new CliError(`--input: ${file} ${why}`, exitCodes.usage, { cause });
  }
}

function guessedType(file: string, bytes: Uint8Array): string {
  if (extname(file) === ".json") return jsonType;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return textType;
  } catch {
    return binaryType;
  }
}

/** `name=value`: JSON where the value is JSON, unless the parameter's schema asks for a string; else a string. */
function parseParameters(pipeline: CompiledPipeline, params: readonly string[]): JsonObject {
  const schemas = new Map((pipeline.closure.spec.parameters ?? []).map(({ name, schema }) => [name, schema]));
  return Object.fromEntries(
    params.map((param) => {
      const equals = param.indexOf("=");
      if (equals < 1) throw new CliError(`--param ${param}: write --param name=value`, exitCodes.usage);
      const name = param.slice(0, equals);
      const value = param.slice(equals + 1);
      return [name, schemas.get(name)?.type === "string" ? value : jsonOrText(value)];
    }),
  );
}

function jsonOrText(value: string): Json {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
