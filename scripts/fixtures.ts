// `npm run fixtures [-- NAME…]`: rebuilds the modules of test/fixtures/wasm, of the templates for authors and of the sample from their
// sources with pinned toolchains from the package registries: PyPI `ziglang` by python3, npm `assemblyscript`, Go's module proxy by go, Debian's
// rustc-web by apt-get (after `apt-get update`) with crates from crates.io. Writes test/fixtures/wasm/digests.json: by module, the digest of its
// sources and command, and its own. A test compares them, so that neither can change without the other.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Fixture, fixtures } from "./fixtures/catalogue.ts";
import { Toolchains, toolchainCommands } from "./fixtures/toolchains.ts";

const root = join(import.meta.dirname, "..");
const recordsFile = join(root, "test/fixtures/wasm/digests.json");

/** What digests.json holds for a module. */
export interface FixtureRecord {
  /** As it would be typed. */
  readonly command: string;
  /** `sha256:…` of the command, and of each source's name and bytes. */
  readonly sources: string;
  /** `sha256:…` of the module. */
  readonly module: string;
}

/** What digests.json must say for what lies in the folders now. */
export function fixtureRecords(): Record<string, FixtureRecord> {
  return Object.fromEntries(fixtures.map((fixture) => [fixture.name, recordOf(fixture)]));
}

function recordOf(fixture: Fixture): FixtureRecord {
  const command = [toolchainCommands[fixture.toolchain], ...fixture.arguments].join(" ");
  const sources = createHash("sha256").update(command);
  for (const source of fixture.sources) {
    sources.update(`\0${source}\0`).update(readFileSync(join(root, fixture.folder, source)));
  }
  const module = createHash("sha256").update(readFileSync(moduleFile(fixture)));
  return { command, sources: `sha256:${sources.digest("hex")}`, module: `sha256:${module.digest("hex")}` };
}

function moduleFile(fixture: Fixture): string {
  return join(root, fixture.into, fixture.name);
}

function build(fixture: Fixture, folder: string, toolchains: Toolchains): void {
  const work = mkdtempSync(join(folder, "build-"));
  for (const source of fixture.sources) {
    // AssemblyScript insists on .ts, which our own compiler must not take for TypeScript.
    const copy = join(work, source.replace(/\.as$/, ".ts"));
    mkdirSync(dirname(copy), { recursive: true });
    copyFileSync(join(root, fixture.folder, source), copy);
  }
  const toolchain = toolchains.get(fixture.toolchain);
  execFileSync(toolchain.program, [...toolchain.arguments, ...fixture.arguments], {
    cwd: work,
    stdio: "inherit",
    env: { ...process.env, ...toolchain.environment },
  });
  mkdirSync(dirname(moduleFile(fixture)), { recursive: true });
  copyFileSync(join(work, fixture.built), moduleFile(fixture));
  chmodSync(moduleFile(fixture), 0o644);
}

function rebuild(names: readonly string[]): void {
  const folder = mkdtempSync(join(tmpdir(), "millrace-fixtures-"));
  try {
    const toolchains = new Toolchains(folder);
    const wanted = fixtures.filter((fixture) => names.length === 0 || names.includes(fixture.name));
    for (const fixture of wanted) build(fixture, folder, toolchains);
    writeFileSync(recordsFile, `${JSON.stringify(fixtureRecords(), undefined, 2)}\n`);
    process.stdout.write(`built ${wanted.map((fixture) => fixture.name).join(", ")}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) rebuild(process.argv.slice(2));
