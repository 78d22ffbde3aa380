import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export interface ServerProcess extends AsyncDisposable {
  /** What it printed as its first line. */
  readonly endpoint: string;
  readonly process: ChildProcess;
  /** Resolves with the exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
}

/** Starts a server of this folder as a process of its own, and waits until it says where it listens. */
export async function startServerProcess(file: string, ...args: readonly string[]): Promise<ServerProcess> {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const child = spawn(process.execPath, [path, ...args], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "exit").then(([code, signal]) => (code ?? signal) as number | string);
  const first = once(createInterface({ input: child.stdout }), "line");
  const line = await Promise.race([first, ended]);
  if (!Array.isArray(line)) throw new Error(`${file} ended with ${line} before it listened`);
  return {
    endpoint: String(line[0]),
    process: child,
    ended,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
