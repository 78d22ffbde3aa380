import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";

/** kubectl ended with another exit code than 0. */
export class KubectlError extends Error {
  override readonly name = "KubectlError";
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;

  constructor(args: readonly string[], exitCode: number | null, stdout: string, stderr: string) {
    super(`kubectl ${args.join(" ")}: exit code ${exitCode}: ${stderr}`);
    this.exitCode = exitCode;
    this.stdout = stdout;
    this.stderr = stderr;
  }
}

export interface KubectlOptions {
  /** Given to kubectl on its standard input, for `-f -`. */
  readonly stdin?: string;
  readonly signal?: AbortSignal;
}

/** Runs the real kubectl and resolves to what it prints on its standard output. Rejects with KubectlError. */
export type Kubectl = (args: readonly string[], options?: KubectlOptions) => Promise<string>;

export function createKubectl(program: string, kubeconfig: string, cacheDirectory: string): Kubectl {
  return async (args, { stdin = "", signal } = {}) => {
    const child = spawn(program, ["--kubeconfig", kubeconfig, "--cache-dir", cacheDirectory, ...args], {
      stdio: "pipe",
      ...(signal === undefined ? {} : { signal }),
    });
    const exited = new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    // kubectl may end without having read its input; its exit code says more than EPIPE.
    child.stdin.on("error", () => undefined);
    child.stdin.end(stdin);
    const [exitCode, stdout, stderr] = await Promise.all([exited, text(child.stdout), text(child.stderr)]);
    if (exitCode !== 0) throw new KubectlError(args, exitCode, stdout, stderr);
    return stdout;
  };
}
