import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";

const run = promisify(execFile);

/** What a user gets from the registry: no TypeScript, no development dependencies. */
describe("the published package", function () {
  this.timeout(240_000);
  let folder: string;
  let published: readonly string[];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "millrace-package-"));
    const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder]);
    const packed: unknown = JSON.parse(stdout.slice(stdout.search(/^[[{]/m)));
    const [file, paths] = contents(packed);
    published = paths;
    await run("npm", ["init", "--yes"], { cwd: folder });
    await run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", join(folder, file)], { cwd: folder });
  });

  after(() => rm(folder, { recursive: true, force: true }));

  const millrace = (...args: string[]) => run(join(folder, "node_modules/.bin/millrace"), args, { cwd: folder });

  it("holds the built code, the CRDs and what a reader needs, and nothing else", () => {
    const parts = new Set(published.map((path) => path.split("/")[0]));
    expect([...parts]).to.have.members([
      "CHANGELOG.md",
      "LICENSE",
      "README.md",
      "crds",
      "dist",
      "package.json",
      "templates",
    ]);
    expect(published).to.include.members(["dist/main.js", "dist/processor.proto", "dist/THIRD-PARTY-NOTICES.txt"]);
    const ours = published.filter((path) => !path.startsWith("templates/"));
    const sources = ours.filter((path) => /\.[cm]?ts$/.test(path) && !path.endsWith(".d.ts"));
    expect(sources).to.deep.equal([]);
  });

  it("brings the licence of each package that is bundled, and installs none of those beside it", async () => {
    const notices = await readFile(join(folder, "node_modules/millrace/dist/THIRD-PARTY-NOTICES.txt"), "utf8");
    const installed = await readdir(join(folder, "node_modules"));
    for (const name of ["commander", "re2js", "yaml"]) {
      expect(notices).to.match(new RegExp(`^${name} [0-9.]+ \\(`, "m"));
      expect(installed).not.to.include(name);
    }
  });

  it("says its version", async () => {
    const { version } = JSON.parse(await readFile("package.json", "utf8")) as { version: string };
    const { stdout } = await millrace("--version");
    expect(stdout).to.equal(`${version}\n`);
  });

  it("teaches its commands with --help", async () => {
    const { stdout } = await millrace("--help");
    for (const command of ["run", "validate", "graph", "wasm", "controller", "output"]) {
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

  it("begins a WASM module from its templates", async () => {
    for (const lang of ["assemblyscript", "c", "go", "rust", "zig"]) {
      await millrace("wasm", "new", `new-${lang}`, "--lang", lang);
      const files = await readdir(join(folder, `new-${lang}`));
      expect(files, lang).to.include.members([".gitignore", "README.md"]).and.not.to.include("gitignore");
    }
  });

  it("checks and calls a WASM module", async () => {
    const module = join(import.meta.dirname, "../fixtures/wasm/templates/c.wasm");
    expect((await millrace("wasm", "check", module)).stdout).to.contain("It would be admitted.");
    expect((await millrace("wasm", "call", module, "--input", "one two")).stdout).to.equal('{"lines":0,"words":2}');
  });

  it("finds the contract of gRPC processors", async () => {
    const file = join(folder, "grpc.yaml");
    await writeFile(file, unreachableProcessor);
    const { stderr } = await refused(millrace("run", "-f", file));
    expect(stderr).to.contain("Unavailable").and.not.to.contain("ENOENT");
  });

  it("runs where Node's compile cache cannot be written", async () => {
    const file = join(folder, "package.json");
    const env = { ...process.env, NODE_COMPILE_CACHE: file };
    const { stdout } = await run(join(folder, "node_modules/.bin/millrace"), ["--version"], { cwd: folder, env });
    expect(stdout).to.match(/^\d/);
  });

  it("gives authors of processors its types", async () => {
    const file = join(folder, "processor.mts");
    await writeFile(file, typedProcessor);
    const options = ["--noEmit", "--strict", "--module", "nodenext", "--lib", "esnext,dom"];
    const compiler = ["node_modules/typescript/bin/tsc", "--ignoreConfig", ...options];
    await run(process.execPath, [...compiler, file]);
    await writeFile(file, typedProcessor.replace("toUpperCase()", "length"));
    expect((await refused(run(process.execPath, [...compiler, file]))).stdout).to.contain("is not assignable to type");
  });
});

/** The archive, and the paths in it. npm 10 prints a list, npm 11 an object by package name. */
function contents(packed: unknown): [archive: string, paths: readonly string[]] {
  const [first] = Object.values(packed as Record<string, { filename: string; files: readonly { path: string }[] }>);
  if (first === undefined) throw new Error("npm pack packed nothing");
  return [first.filename, first.files.map(({ path }) => path)];
}

/** How it failed; throws where it did not. */
async function refused(
  command: Promise<{ readonly stdout: string; readonly stderr: string }>,
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const ended = await command.then(
    () => undefined,
    (error: { readonly stdout: string; readonly stderr: string }) => error,
  );
  if (ended === undefined) throw new Error("the command succeeded");
  return ended;
}

const unreachableProcessor = `
apiVersion: millrace.dev/v1alpha1
kind: Pipeline
metadata: { name: far }
spec:
  steps:
    - { name: call, processor: far, retry: { limit: 0 } }
---
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: { name: far }
spec:
  rpc: { protocol: GRPC, endpoint: "127.0.0.1:1" }
`;

const typedProcessor = `
import type { AuthorProcess } from "millrace/author";

export const process: AuthorProcess = (request) => ({ payload: request.contentType.toUpperCase() });
`;
