import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";

/** How long a part may take to end by itself before it is killed, in milliseconds. */
const stopTimeoutMs = 10_000;

export interface PartOptions {
  readonly program: string;
  readonly args: readonly string[];
  readonly directory: string;
  readonly logFile: string;
}

/** One program of a control plane as a child process. It never outlives this process unless that is killed outright. */
export class Part {
  readonly #child: ChildProcess;
  readonly #logFile: string;
  readonly #onExit: () => void;

  constructor({ program, args, directory, logFile }: PartOptions) {
    const log = openSync(logFile, "a");
    const child = spawn(program, args, { cwd: directory, stdio: ["ignore", log, log] });
    closeSync(log);
    this.#child = child;
    this.#logFile = logFile;
    this.#onExit = () => child.kill("SIGKILL");
    process.once("exit", this.#onExit);
    child.once("error", () => this.#forget());
    child.once("exit", () => this.#forget());
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

  #forget(): void {
    process.removeListener("exit", this.#onExit);
  }
}
