import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import type { ExecutionStatus } from "../../controller/api/types.ts";
import type { CliContext } from "../../controller/cli/context.ts";
import { runCli } from "../../controller/cli/index.ts";
import { systemPorts } from "../../engine/clock.ts";

/** `millrace run -o json` in this process: the status of the Execution that it would have been. */
export async function runHere(folder: string, pipeline: string, args: readonly string[]): Promise<ExecutionStatus> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const context: CliContext = {
    env: {},
    cwd: process.cwd(),
    version: "0.0.0",
    stdin: new PassThrough().end(),
    stdout,
    stderr,
    ports: systemPorts,
    interrupted: new AbortController().signal,
    takeSecondInterrupt: () => new AbortController().signal,
  };
  const printed = Promise.all([text(stdout), text(stderr)]);
  await runCli(["run", "-q", "-f", folder, pipeline, "-o", "json", ...args], context);
  stdout.end();
  stderr.end();
  const [out, err] = await printed;
  if (out === "") throw new Error(`millrace run ${pipeline} printed nothing but: ${err}`);
  return (JSON.parse(out) as { readonly status: ExecutionStatus }).status;
}
