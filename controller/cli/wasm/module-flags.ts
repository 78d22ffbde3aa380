import { readFile, stat } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { WasmAbi, WasmModule } from "../../../backends/backend.ts";
import { maxFuel } from "../../../backends/wasm/abis/fuel.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { parseBytes } from "../../api/quantities.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";

/** What is asked of a module, as a Processor's `spec.wasm` would. */
export interface ModuleFlags {
  readonly abi: "Auto" | WasmAbi;
  readonly entrypoint: string;
  /** In bytes. */
  readonly memory: number;
  readonly fuel: number;
}

const abis = ["Auto", "Direct", "Extism", "WaPC", "Dagwood"] as const;
/** The most that any Processor's module may have. */
const maxMemoryBytes = 4 * 1024 * 1024 * 1024;
/** The largest module that any Processor may have. */
const maxModuleBytes = 32 * 1024 * 1024;

/** Adds the options, with a Processor's defaults. */
export function withModuleFlags(command: Command): Command {
  return command
    .addOption(new Option("--abi <abi>", "the contract that it speaks").choices(abis).default("Auto"))
    .option("--entrypoint <name>", "the function that is called; of WaPC, the operation", "process")
    .addOption(
      new Option("--memory <bytes>", "the most memory it may have").argParser(sizeBytes).default(64 << 20, "64Mi"),
    )
    .addOption(
      new Option("--fuel <units>", "the most instructions that a call may take")
        .argParser(units)
        .default(10_000_000_000, "10000000000"),
    );
}

function sizeBytes(text: string): number {
  try {
    const bytes = parseBytes(text, "--memory");
    if (bytes <= maxMemoryBytes) return bytes;
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
  }
  throw new InvalidArgumentError("Write bytes, such as 64Mi, and 4Gi at most.");
}

function units(text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 1 && number <= maxFuel) return number;
  throw new InvalidArgumentError(`Write a whole number from 1 to ${maxFuel}.`);
}

/** A module's file as a Processor's module of the same directory. */
export interface ModuleFile {
  /** Absolute. */
  readonly directory: string;
  readonly module: Pick<WasmModule, "kind" | "source" | "abi" | "entrypoint" | "limits">;
}

export function moduleFile(file: string, flags: ModuleFlags, { cwd }: CliContext): ModuleFile {
  const path = resolve(cwd, file);
  return {
    directory: dirname(path),
    module: {
      kind: "WASM",
      source: { kind: "File", file: basename(path) },
      abi: flags.abi,
      entrypoint: flags.entrypoint,
      limits: { maxMemoryBytes: flags.memory, fuel: flags.fuel },
    },
  };
}

/** Throws CliError. */
export async function readModule(file: string, { cwd }: CliContext): Promise<Uint8Array> {
  if (file === "-") {
    throw new CliError("- is standard input, and a module is a file: give its path", exitCodes.usage);
  }
  const path = resolve(cwd, file);
  try {
    const found = await stat(path);
    // A device or a pipe may never end.
    if (!found.isFile()) throw new CliError(`${file} is no regular file`, exitCodes.usage);
    const { size } = found;
    if (size > maxModuleBytes) throw new CliError(`${file} has ${size} bytes; a module has at most ${maxModuleBytes}`);
    return await readFile(path);
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "does not exist" : `cannot be read (${code})`;
    throw new CliError(`${file} ${why}`, exitCodes.usage, { cause });
  }
}
