// `npm run fixtures [-- NAME…]`: rebuilds the modules of test/fixtures/wasm and of the sample from their sources with pinned toolchains from
// the package registries (PyPI `ziglang` by python3, npm `assemblyscript`), and writes test/fixtures/wasm/digests.json: by module, the digest
// of its sources and command, and its own. A test compares them, so that neither can change without the other.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const root = join(import.meta.dirname, "..");
const fixturesFolder = "test/fixtures/wasm";
const recordsFile = join(root, fixturesFolder, "digests.json");

const zig = { name: "ziglang", version: "0.15.1" };
const assemblyScript = { name: "assemblyscript", version: "0.28.20" };

type Toolchain = "zig" | "asc";

/** One module: what it is built from and how; run in a folder that holds its sources. */
interface Fixture {
  /** Of the module and its sources, from the root. */
  readonly folder: string;
  readonly module: string;
  readonly sources: readonly string[];
  readonly toolchain: Toolchain;
  readonly arguments: readonly string[];
}

const fixtures: readonly Fixture[] = [
  {
    folder: fixturesFolder,
    module: "reference.wasm",
    sources: ["reference.c", "millrace.h"],
    toolchain: "zig",
    arguments: [
      ..."cc --target=wasm32-freestanding -nostdlib -Oz -Wl,--no-entry -Wl,-s -Wl,-z,stack-size=16384".split(" "),
      "reference.c",
      "-o",
      "reference.wasm",
    ],
  },
  {
    folder: fixturesFolder,
    module: "lines.wasm",
    sources: ["lines.as"],
    toolchain: "asc",
    arguments: "lines.ts -o lines.wasm -Oz --runtime stub --use abort= --noAssert".split(" "),
  },
  {
    folder: "manifests/samples/state-of-the-union/modules",
    module: "terms.wasm",
    sources: ["terms.c"],
    toolchain: "zig",
    arguments: [
      ..."cc --target=wasm32-freestanding -nostdlib -O2 -Wl,--no-entry -Wl,-s".split(" "),
      "terms.c",
      "-o",
      "terms.wasm",
    ],
  },
];

/** What digests.json holds for a module. */
export interface FixtureRecord {
  /** As it would be typed. */
  readonly command: string;
  /** `sha256:…` of the command, and of each source's name and bytes. */
  readonly sources: string;
  /** `sha256:…` of the module. */
  readonly module: string;
}

const commands: Readonly<Record<Toolchain, string>> = {
  zig: `python -m ziglang (${zig.version})`,
  asc: `asc (assemblyscript ${assemblyScript.version})`,
};

/** What digests.json must say for what lies in the folder now. */
export function fixtureRecords(): Record<string, FixtureRecord> {
  return Object.fromEntries(
    fixtures.map((fixture) => {
      const command = [commands[fixture.toolchain], ...fixture.arguments].join(" ");
      const sources = createHash("sha256").update(command);
      for (const source of fixture.sources) {
        sources.update(`\0${source}\0`).update(readFileSync(join(root, fixture.folder, source)));
      }
      const module = createHash("sha256").update(readFileSync(join(root, fixture.folder, fixture.module)));
      return [
        fixture.module,
        { command, sources: `sha256:${sources.digest("hex")}`, module: `sha256:${module.digest("hex")}` },
      ];
    }),
  );
}

function build(fixture: Fixture, toolchains: string): void {
  const work = mkdtempSync(join(toolchains, "build-"));
  for (const source of fixture.sources) {
    // AssemblyScript insists on .ts, which our own compiler must not take for TypeScript.
    copyFileSync(join(root, fixture.folder, source), join(work, source.replace(/\.as$/, ".ts")));
  }
  const [program, first] = install(fixture.toolchain, toolchains);
  execFileSync(program, [...first, ...fixture.arguments], { cwd: work, stdio: "inherit" });
  copyFileSync(join(work, fixture.module), join(root, fixture.folder, fixture.module));
  chmodSync(join(root, fixture.folder, fixture.module), 0o644);
}

/** The program and its first arguments. */
function install(toolchain: Toolchain, toolchains: string): [string, string[]] {
  if (toolchain === "zig") {
    const python = join(toolchains, "python");
    execFileSync("python3", ["-m", "venv", python], { stdio: "inherit" });
    execFileSync(join(python, "bin/pip"), ["install", "--quiet", `${zig.name}==${zig.version}`], { stdio: "inherit" });
    return [join(python, "bin/python"), ["-m", "ziglang"]];
  }
  const packages = `${assemblyScript.name}@${assemblyScript.version}`;
  execFileSync("npm", ["install", "--silent", "--no-save", "--prefix", toolchains, packages], { stdio: "inherit" });
  return [process.execPath, [join(toolchains, "node_modules/assemblyscript/bin/asc.js")]];
}

function rebuild(names: readonly string[]): void {
  const toolchains = mkdtempSync(join(tmpdir(), "millrace-fixtures-"));
  try {
    const wanted = fixtures.filter((fixture) => names.length === 0 || names.includes(fixture.module));
    for (const fixture of wanted) build(fixture, toolchains);
    writeFileSync(recordsFile, `${JSON.stringify(fixtureRecords(), undefined, 2)}\n`);
    process.stdout.write(`built ${wanted.map((fixture) => fixture.module).join(", ")}\n`);
  } finally {
    rmSync(toolchains, { recursive: true, force: true });
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) rebuild(process.argv.slice(2));
