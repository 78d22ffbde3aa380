import type { Readable, Writable } from "node:stream";
import type { Ports } from "../../engine/clock.ts";

/** What a command may know of its process. Built once by `main.ts`; tests build their own. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Of Millrace, a semantic version. */
  readonly version: string;
  readonly stdin: Readable;
  readonly stdout: TerminalStream;
  readonly stderr: TerminalStream;
  readonly ports: Ports;
  /** Aborts on the first SIGINT or SIGTERM: end in order. The second one ends the process, unless `takeSecondInterrupt` was called. */
  readonly interrupted: AbortSignal;
  /** For a command that has two ways to end in order: aborts on the second signal, and only the third one ends the process. */
  readonly takeSecondInterrupt: () => AbortSignal;
}

/** Where a command writes; a terminal if `isTTY`. */
export interface TerminalStream extends Writable {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

/** What the process ends with. */
export const exitCodes = {
  ok: 0,
  /** The run failed, problems were found, or the cluster refused. */
  failed: 1,
  /** The command line itself is wrong. */
  usage: 2,
  /** The run was cancelled by a signal (128 + SIGINT, as shells have it). */
  cancelled: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Ends a command with this exit code after `error: <message>` on stderr; an empty message prints nothing. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: ExitCode;

  constructor(message: string, exitCode: ExitCode = exitCodes.failed, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.exitCode = exitCode;
  }
}
