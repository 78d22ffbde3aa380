import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";

/** What a command line printed and ended with. */
export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface MillraceOptions {
  readonly stdin?: string;
  /** Somebody sits at the other end of stdin and has not typed yet; this signal ends the process. */
  readonly interruptWaiting?: NodeJS.Signals;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Called once, when the child has printed something to stderr. */
  readonly onStderr?: (kill: (signal: NodeJS.Signals) => void) => void;
}

/** By when a process has started and waits for its input, also on a slow machine. */
const waitMs = 3_000;

/** Runs `millrace` from the sources, as a process of its own. */
export async function millrace(args: readonly string[], options: MillraceOptions = {}): Promise<Ran> {
  const main = `${import.meta.dirname}/../../controller/main.ts`;
  const env = { ...process.env, NO_COLOR: "1", ...options.env };
  const child = spawn(process.execPath, [main, ...args], { cwd: options.cwd, env, stdio: "pipe" });
  // A command that does not read its input closes the pipe.
  child.stdin.on("error", () => {});
  if (options.interruptWaiting === undefined) child.stdin.end(options.stdin ?? "");
  else setTimeout(() => child.kill(options.interruptWaiting), waitMs).unref();
  if (options.onStderr !== undefined) {
    child.stderr.once("data", () => options.onStderr?.((signal) => child.kill(signal)));
  }
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { code: typeof code === "number" ? code : null, stdout, stderr };
}
