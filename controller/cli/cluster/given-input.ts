import { createReadStream } from "node:fs";
import { extname, resolve } from "node:path";
import { addAbortSignal, type Readable } from "node:stream";
import { BytesPayload, binaryType, type Json, type JsonObject, jsonType, textType } from "../../../engine/payload.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";

/** The most that `input.maxSize` of a Pipeline may be. */
const maxInputBytes = 64 * 1024 * 1024;

/** What `--input` and `--content-type` say. */
export interface InputFlags {
  /** `@FILE`, `-` for standard input, or the text itself. */
  readonly input?: string;
  readonly contentType?: string;
}

/** Undefined without `--input`. Throws CliError. */
export async function readInput(flags: InputFlags, context: CliContext): Promise<BytesPayload | undefined> {
  const { input, contentType } = flags;
  if (input === undefined) return undefined;
  if (input !== "-" && !input.startsWith("@"))
    return new BytesPayload(Buffer.from(input, "utf8"), contentType ?? textType);
  const file = input === "-" ? input : input.slice(1);
  const bytes = file === "-" ? await readStdin(context) : await readInputFile(resolve(context.cwd, file));
  return new BytesPayload(bytes, contentType ?? guessedType(file, bytes));
}

/** `name=value`: JSON where the value is JSON, unless `isText` says that a string is asked for; else a string. Throws CliError. */
export function parseParameters(params: readonly string[], isText: (name: string) => boolean): JsonObject {
  const values = new Map<string, Json>();
  for (const param of params) {
    const equals = param.indexOf("=");
    if (equals < 1) throw new CliError(`--param ${param}: write --param name=value`, exitCodes.usage);
    const name = param.slice(0, equals);
    if (values.has(name)) throw new CliError(`--param ${name}: is given twice; give it once`, exitCodes.usage);
    const value = param.slice(equals + 1);
    values.set(name, isText(name) ? value : jsonOrText(value));
  }
  return Object.fromEntries(values);
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

function jsonOrText(value: string): Json {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
