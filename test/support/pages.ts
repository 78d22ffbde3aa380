import { execFile } from "node:child_process";
import { cpSync, globSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { type CodeBlock, type Command, codeBlocks, commands, matchesPage } from "./markdown.ts";

const run = promisify(execFile);
const mark = "=== end of a command ===";

/** README and docs, as paths. */
export const pages: readonly string[] = ["README.md", ...globSync("docs/**/*.md").sort()];

export function blocksOf(page: string): CodeBlock[] {
  return codeBlocks(page, readFileSync(page, "utf8"));
}

/**
 * Types the `console` blocks of a page one after another into one shell, in a copy of the repository, and compares what is
 * printed with what the page says. What the page leaves running in the background is ended with the shell.
 */
export async function runBlocks(blocks: readonly CodeBlock[], env: NodeJS.ProcessEnv = {}): Promise<void> {
  const typed = blocks.flatMap((block) => commands(block).flatMap((command) => withoutSetUp(command)));
  const folder = mkdtempSync(join(tmpdir(), "millrace-pages-"));
  try {
    const printed = await shell(typed, folder, { ...prepare(folder), ...env });
    for (const [index, { line, output }] of typed.entries()) {
      const actual = printed[index] ?? "";
      if (output === undefined) continue;
      const message = `${blocks[0]?.page}: $ ${line}\nprinted:\n${actual}\nthe page says:\n${output}\n`;
      expect(matchesPage(output, actual), message).to.equal(true);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The install and the tests are what runs this; they are not run in themselves. */
function withoutSetUp({ line, output }: Command): Command[] {
  if (line === "npm test") return [];
  return [{ line: line.replace(/^npm ci && /, ""), output }];
}

/** A copy with this checkout's packages, and `millrace` on the PATH as an installed package would have it. */
function prepare(folder: string): NodeJS.ProcessEnv {
  for (const name of [
    "bin",
    "manifests",
    "backends",
    "controller",
    "engine",
    "crds",
    "templates",
    "test/fixtures/wasm",
    "package.json",
  ]) {
    cpSync(name, join(folder, name), { recursive: true });
  }
  symlinkSync(resolve("node_modules"), join(folder, "node_modules"));
  const path = [join(folder, "bin"), resolve("node_modules/.bin"), process.env.KUBEBUILDER_ASSETS, process.env.PATH];
  return { ...process.env, NO_COLOR: "1", PATH: path.filter((entry) => entry !== undefined).join(delimiter) };
}

/** What each command printed on both streams. Exit codes do not matter: a page may show a refusal. */
async function shell(typed: readonly Command[], cwd: string, env: NodeJS.ProcessEnv): Promise<string[]> {
  const lines = typed.map(({ line }) => `${line}\nprintf '\\n%s\\n' '${mark}'`);
  const script = ["exec 2>&1", "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT", ...lines].join("\n");
  const { stdout } = await run("bash", ["-c", script], { cwd, env, maxBuffer: 64 * 1024 * 1024 });
  return stdout.split(`\n${mark}\n`);
}
