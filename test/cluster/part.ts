import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { Writable } from "node:stream";

/** How long a part may take to end by itself before it is killed, in milliseconds. */
const stopTimeoutMs = 10_000;

export interface PartOptions {
  readonly program: string;
  readonly args: readonly string[];
  readonly directory: string;
  readonly logFile: string;
}

/**
 * Becomes the program, with a watcher beside it that reads from a pipe of ours: when the pipe ends without a line, this
 * process is gone, however it went, and so the program is killed.
 */
const tied = '{ read -r _ <&3 || kill -9 $$; } 2>/dev/null & exec "$@" 3<&-';

/** One program of a control plane as a child process. It never outlives this process, even if that is killed outright. */
export class Part {
  readonly #child: ChildProcess;
  readonly #logFile: string;

  constructor({ program, args, directory, logFile }: PartOptions) {
    const log = openSync(logFile, "a");
    const child = spawn("/bin/sh", ["-c", tied, "sh", program, ...args], {
      cwd: directory,
      stdio: ["ignore", log, log, "pipe"],
    });
    closeSync(log);
    this.#child = child;
    this.#logFile = logFile;
    const pipe = child.stdio[3] as Writable;
    // The watcher may be gone before it is told that it may go.
    pipe.on("error", () => undefined);
    child.once("exit", () => pipe.end("\n"));
  }

  get running(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** The last lines that it logged. */
  async lastLines(): Promise<string> {
    const text = await readFile(this.#logFile, "utf8");
    return text.trimEnd().split("\n").slice(-5).join("\n");
  }

  /** Resolves when the process is gone. Idempotent. */
  async stop(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    if (!this.running) return;
    const exited = once(this.#child, "exit");
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), stopTimeoutMs);
    await exited.finally(() => clearTimeout(timer));
  }
}
