import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";

const run = promisify(execFile);

/** What a user gets from the registry: no TypeScript, no development dependencies. */
describe("the published package", function () {
  this.timeout(240_000);
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "millrace-package-"));
    const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder]);
    const packed: unknown = JSON.parse(stdout.slice(stdout.search(/^[[{]/m)));
    const file = filename(packed);
    await run("npm", ["init", "--yes"], { cwd: folder });
    await run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", join(folder, file)], { cwd: folder });
  });

  after(() => rm(folder, { recursive: true, force: true }));

  const millrace = (...args: string[]) =>
    run(process.execPath, [join(folder, "node_modules/millrace/dist/controller/main.js"), ...args], { cwd: folder });

  it("says its version", async () => {
    const { version } = JSON.parse(await readFile("package.json", "utf8")) as { version: string };
    const { stdout } = await millrace("--version");
    expect(stdout).to.equal(`${version}\n`);
  });

  it("teaches its commands with --help", async () => {
    const { stdout } = await millrace("--help");
    for (const command of ["run", "validate", "graph", "controller", "output"]) {
      expect(stdout).to.match(new RegExp(`^  ${command}\\b`, "m"));
      const help = await millrace(command, "--help");
      expect(help.stdout).to.contain("Examples:").and.to.contain("Usage:");
    }
  });

  it("runs a pipeline over a built-in, an ES module in a worker and a WASM module in a worker", async () => {
    const manifests = join(import.meta.dirname, "manifests");
    const modules = join(import.meta.dirname, "../fixtures/wasm");
    const args = ["run", "-f", manifests, "--modules-dir", modules, "--input", "hello from the package"];
    const { stdout } = await millrace(...args);
    expect(JSON.parse(stdout)).to.deep.equal({ text: "HELLO FROM THE PACKAGE!", words: 4 });
  });
});

/** npm 10 prints a list, npm 11 an object by package name. */
function filename(packed: unknown): string {
  const [first] = Object.values(packed as Record<string, { filename: string }>);
  if (first === undefined) throw new Error("npm pack packed nothing");
  return first.filename;
}
