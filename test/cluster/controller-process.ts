import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const sources = join(import.meta.dirname, "../../controller/main.ts");

/** One line of the controller's log. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface ControllerProcessOptions {
  readonly kubeconfig: string;
  /** More flags. */
  readonly args?: readonly string[];
  /** Where payloads are kept, to outlive the process; default: a folder of its own that is removed with it. */
  readonly payloadsDir?: string;
  /** What is started; default: the sources. */
  readonly main?: string;
}

/**
 * The real `millrace controller` as a child process, on free ports. Closing it kills it and removes its folder; it never
 * outlives this process unless that is killed outright.
 */
export class ControllerProcess implements AsyncDisposable {
  readonly log: LogLine[] = [];
  readonly exited: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #waiting = new Set<() => void>();
  readonly #onExit: () => void;
  /** What was printed that is no line of the log: an error. */
  output = "";

  private constructor(child: ChildProcess, directory: string) {
    this.#child = child;
    this.#directory = directory;
    this.exited = once(child, "close").then(([code]) => code as number | null);
    this.#onExit = () => child.kill("SIGKILL");
    process.once("exit", this.#onExit);
    for (const stream of [child.stdout, child.stderr]) {
      if (stream) createInterface({ input: stream }).on("line", (line) => this.#heard(line));
    }
    void this.exited.then(() => this.#tell());
  }

  /** Starts it and gives it at once. */
  static async spawn({
    kubeconfig,
    args = [],
    payloadsDir,
    main = sources,
  }: ControllerProcessOptions): Promise<ControllerProcess> {
    const directory = await mkdtemp(join(tmpdir(), "millrace-controller-"));
    const flags = [
      // A Lease of its own: a killed one's stays taken for a while.
      `--lease-name=millrace-${crypto.randomUUID()}`,
      `--kubeconfig=${kubeconfig}`,
      `--payloads-dir=${payloadsDir ?? join(directory, "payloads")}`,
      `--module-cache-dir=${join(directory, "modules")}`,
      ...["metrics", "health-probe", "payload"].map((name) => `--${name}-bind-address=127.0.0.1:0`),
      ...args,
    ];
    const child = spawn(process.execPath, [main, "controller", ...flags], { stdio: ["ignore", "pipe", "pipe"] });
    return new ControllerProcess(child, directory);
  }

  /** Starts it and waits until it works. Rejects, with what it printed, when it ends instead. */
  static async start(options: ControllerProcessOptions): Promise<ControllerProcess> {
    const controller = await ControllerProcess.spawn(options);
    try {
      await controller.line("works");
      return controller;
    } catch (error) {
      await controller[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The first line that says `message`. Rejects when the process ends without having said it. */
  async line(message: string): Promise<LogLine> {
    for (;;) {
      const found = this.log.find(({ msg }) => msg === message);
      if (found !== undefined) return found;
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        throw new Error(`the controller ended (${this.#child.exitCode}) before it said "${message}": ${this.output}`);
      }
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** What `/metrics` says, by name and labels as they are printed. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    const { metricsPort } = await this.line("listening");
    const response = await fetch(`http://127.0.0.1:${String(metricsPort)}/metrics`);
    const lines = (await response.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return new Map(
      lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ")))]),
    );
  }

  /** Patches sent to the API server so far: what Processors' and Pipelines' statuses are written by. */
  async patches(): Promise<number> {
    let patches = 0;
    for (const [name, value] of await this.metrics()) {
      if (name.startsWith("millrace_api_requests_total{") && name.includes('verb="patch"')) patches += value;
    }
    return patches;
  }

  /** The answer's status and body. */
  async probe(path: string): Promise<{ readonly status: number; readonly body: string }> {
    const { probesPort } = await this.line("listening");
    const response = await fetch(`http://127.0.0.1:${String(probesPort)}${path}`);
    return { status: response.status, body: await response.text() };
  }

  /** Sends the signal and waits for the end; gives the exit code. */
  async stop(signal: "SIGTERM" | "SIGINT" | "SIGKILL" = "SIGTERM"): Promise<number | null> {
    this.#child.kill(signal);
    return this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
    process.removeListener("exit", this.#onExit);
    await rm(this.#directory, { recursive: true, force: true });
  }

  #heard(line: string): void {
    if (line.startsWith("{")) this.log.push(JSON.parse(line) as LogLine);
    else this.output += `${line}\n`;
    this.#tell();
  }

  #tell(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
