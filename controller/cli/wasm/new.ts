import { existsSync } from "node:fs";
import { cp, readdir, readFile, rename } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { Command, Option } from "commander";
import { makeFolders } from "../../../backends/make-folders.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";

const languages = ["assemblyscript", "c", "go", "rust", "zig"] as const;

interface NewFlags {
  readonly lang: (typeof languages)[number];
}

/** `millrace wasm new`. */
export function wasmNewCommand(context: CliContext): Command {
  return new Command("new")
    .description("Write a project that builds a module of the Direct ABI, to begin with.")
    .argument("<directory>", "where; must be empty or not be there")
    .addOption(new Option("--lang <language>", "what it is written in").choices(languages).makeOptionMandatory())
    .addHelpText("after", examples)
    .action((directory: string, flags: NewFlags) => begin(directory, flags, context));
}

const examples = `
It counts the words of a text. Its README.md says how it is built.

Examples:
  millrace wasm new words --lang rust
  millrace wasm new words --lang c && cat words/README.md`;

async function begin(directory: string, { lang }: NewFlags, context: CliContext): Promise<void> {
  const target = resolve(context.cwd, directory);
  await checkEmpty(target, directory);
  await copy(join(templates(), lang), target).catch((error: NodeJS.ErrnoException) => {
    throw unwritable(directory, error);
  });
  const shown = relative(context.cwd, target) || ".";
  context.stdout.write(`${shown}: ${(await readdir(target)).sort().join(", ")}\n${await buildCommand(target)}`);
}

async function copy(template: string, target: string): Promise<void> {
  await makeFolders(target);
  await cp(template, target, { recursive: true });
  // npm publishes no file of that name.
  await rename(join(target, "gitignore"), join(target, ".gitignore"));
}

function unwritable(directory: string, cause: NodeJS.ErrnoException): CliError {
  return new CliError(`${directory} cannot be written to (${cause.code ?? cause.message})`, exitCodes.usage, { cause });
}

async function checkEmpty(target: string, directory: string): Promise<void> {
  const names = await readdir(target).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw unwritable(directory, error);
  });
  if (names.length === 0) return;
  throw new CliError(`${directory} is not empty; name a directory that is, or that is not there`, exitCodes.usage);
}

/** In a checkout at its root; in the published package, whose bundles lie in one folder, beside that. */
function templates(): string {
  const candidates = ["../../../templates/wasm", "../templates/wasm"].map((path) => join(import.meta.dirname, path));
  const found = candidates.find((path) => existsSync(path));
  if (found === undefined) throw new Error(`the templates are missing: ${candidates.join(", ")}`);
  return found;
}

/** What its README says to type, and what comes after. */
async function buildCommand(target: string): Promise<string> {
  const readme = await readFile(join(target, "README.md"), "utf8");
  const block = /```sh[^\n]*\n(?<commands>[\s\S]*?)```/.exec(readme)?.groups?.commands ?? "";
  return `\nBuild it there, and check it:\n\n${block}millrace wasm check words.wasm\n`;
}
