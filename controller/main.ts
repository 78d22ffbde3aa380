#!/usr/bin/env node
import { readFileSync } from "node:fs";
import * as nodeModule from "node:module";
import { systemPorts } from "../engine/clock.ts";
import { type CliContext, exitCodes } from "./cli/context.ts";

// Composition root: nothing else reads process.env, the signals or the real clock.
const leastNodeMajor = 24;
if (Number(process.versions.node.split(".")[0]) < leastNodeMajor) {
  process.stderr.write(`error: millrace needs Node ${leastNodeMajor} or newer; this is ${process.versions.node}\n`);
  process.exit(1);
}
nodeModule.enableCompileCache();
const { runCli } = await import("./cli/index.ts");

const interrupted = new AbortController();
/** Of a command that takes the second signal too. */
let interruptedAgain: AbortController | undefined;

function onSignal(): void {
  if (!interrupted.signal.aborted) interrupted.abort();
  else if (interruptedAgain?.signal.aborted === false) interruptedAgain.abort();
  // At once, whatever is still open.
  else process.exit(exitCodes.cancelled);
}
process.on("SIGINT", onSignal);
process.on("SIGTERM", onSignal);
// A reader that went away (`millrace … | head`) ends us quietly.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

const context: CliContext = {
  env: process.env,
  cwd: process.cwd(),
  version: version(),
  // Opened when it is first read from: most commands never do.
  get stdin() {
    return process.stdin;
  },
  stdout: process.stdout,
  stderr: process.stderr,
  ports: systemPorts,
  interrupted: interrupted.signal,
  takeSecondInterrupt() {
    interruptedAgain ??= new AbortController();
    return interruptedAgain.signal;
  },
};
process.exitCode = await runCli(process.argv.slice(2), context);

/** From the package's own package.json: one folder up, of the sources and of `dist/`. */
function version(): string {
  return JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version;
}
