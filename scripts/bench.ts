// `npm run bench [-- NAME…] [--json]`: runs the benches of test/bench, each in its own process so that none warms up
// another's code, prints a table and, with --json, one line a row, last on stdout. Exits with 1 when a bar is missed.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Bench, Row } from "../test/bench/bench.ts";
import { tableOf } from "../test/bench/bench.ts";

const folder = join(import.meta.dirname, "../test/bench");
const rowPrefix = "row ";

function benchNames(): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(".ts") && file !== "bench.ts")
    .map((file) => file.slice(0, -3))
    .sort();
}

async function runInThisProcess(name: string): Promise<void> {
  const loaded: { bench?: Bench } = await import(pathToFileURL(join(folder, `${name}.ts`)).href);
  if (loaded.bench === undefined) throw new Error(`test/bench/${name}.ts exports no \`bench\``);
  for (const row of await loaded.bench()) process.stdout.write(`${rowPrefix}${JSON.stringify(row)}\n`);
}

function runInOwnProcess(name: string): readonly Row[] {
  const child = spawnSync(process.execPath, ["--expose-gc", import.meta.filename, "--one", name], {
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  if (child.status !== 0) throw new Error(`the bench ${name} failed (${child.signal ?? `exit code ${child.status}`})`);
  return child.stdout
    .split("\n")
    .filter((line) => line.startsWith(rowPrefix))
    .map((line) => JSON.parse(line.slice(rowPrefix.length)));
}

function runAll(args: readonly string[]): number {
  const wanted = args.filter((arg) => !arg.startsWith("--"));
  const known = benchNames();
  const unknown = wanted.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    process.stderr.write(`no bench named ${unknown.join(", ")}; there are: ${known.join(", ")}\n`);
    return 2;
  }
  const rows: Row[] = [];
  let failures = 0;
  for (const name of wanted.length > 0 ? wanted : known) {
    try {
      rows.push(...runInOwnProcess(name));
    } catch (error) {
      failures++;
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    }
  }
  process.stdout.write(`${tableOf(rows)}\n`);
  if (args.includes("--json")) for (const row of rows) process.stdout.write(`${JSON.stringify(row)}\n`);
  return failures === 0 && rows.every((row) => row.ok) ? 0 : 1;
}

const args = process.argv.slice(2);
const one = args.indexOf("--one");
if (one >= 0) await runInThisProcess(args[one + 1] ?? "");
else process.exitCode = runAll(args);
