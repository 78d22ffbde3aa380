import { execFile } from "node:child_process";
import { cpSync, globSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync, chmodSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { type CodeBlock, codeBlocks, commands, matchesPage } from "./support/markdown.ts";

const run = promisify(execFile);
const pages = ["README.md", ...globSync("docs/**/*.md").sort()];
const blocks = pages.flatMap((page) => codeBlocks(page, readFileSync(page, "utf8")));

describe("the pages' examples", () => {
  it("are found", () => {
    expect(blocks.filter(({ language }) => language === "console")).to.not.be.empty;
  });

  it("show the output of commands only in `console` blocks, which are run here", () => {
    const unchecked = blocks.filter(({ language }) => ["sh", "bash", "shell"].includes(language));
    expect(unchecked.map(({ page, line }) => `${page}:${line}`)).to.deep.equal([]);
  });

  for (const page of pages) {
    const local = blocks.filter((block) => block.page === page && block.language === "console" && !block.flags.includes("cluster"));
    if (local.length > 0) it(`of ${page} print what it says`, () => runPage(local)).timeout(180_000);
  }
});

/** The blocks of a page run one after another in one copy of the repository, as a reader would type them. */
async function runPage(page: readonly CodeBlock[]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "millrace-docs-"));
  try {
    const env = prepare(folder);
    for (const block of page) {
      for (const { line, output } of commands(block)) {
        const where = `${block.page}:${block.line}: $ ${line}`;
        const printed = await shell(line, folder, env);
        if (output === undefined) continue;
        expect(matchesPage(output, printed), `${where}\nprinted:\n${printed}\nthe page says:\n${output}\n`).to.equal(true);
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function prepare(folder: string): NodeJS.ProcessEnv {
  for (const name of ["manifests", "backends", "controller", "engine", "crds", "package.json"]) {
    cpSync(name, join(folder, name), { recursive: true });
  }
  symlinkSync(resolve("node_modules"), join(folder, "node_modules"));
  const bin = mkdtempSync(join(folder, ".bin-"));
  writeFileSync(join(bin, "millrace"), `#!/bin/sh\nexec "${process.execPath}" "${resolve("controller/main.ts")}" "$@"\n`);
  chmodSync(join(bin, "millrace"), 0o755);
  return { ...process.env, NO_COLOR: "1", PATH: [bin, resolve("node_modules/.bin"), process.env.PATH].join(delimiter) };
}

/** Both streams as a terminal would show them; the exit code does not matter, as a page may show a refusal. */
async function shell(line: string, cwd: string, env: NodeJS.ProcessEnv): Promise<string> {
  const { stdout } = await run("sh", ["-c", `{ ${line}\n} 2>&1 || true`], { cwd, env, maxBuffer: 16 * 1024 * 1024 });
  return stdout;
}
