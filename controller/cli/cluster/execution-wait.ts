import type { Client } from "../../api/client.ts";
import type { Execution, StepRow } from "../../api/types.ts";
import { conditionOf, isFinished } from "../../execution/objects.ts";
import { isFinalRow } from "../../execution/status.ts";
import { deadline } from "../../runtime/deadline.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";
import { formatDuration } from "../terminal/durations.ts";
import { printable } from "../terminal/printable.ts";
import { codeWords, itemCounts } from "../terminal/row-words.ts";
import { follow } from "./follow.ts";

/** Shows on stderr how a run goes until it has ended, and gives it then. Throws CliError when the time is over, and when it is deleted. */
export async function waitForEnd(
  client: Client,
  created: Execution,
  timeoutMs: number | undefined,
  context: CliContext,
): Promise<Execution> {
  const { interrupted, ports } = context;
  const progress = new ProgressLines(created, context);
  // A timer of the system's takes no more than 24 days; nobody waits longer without saying so.
  const limit = deadline(timeoutMs ?? 2 ** 31 - 1, "too late", ports.scheduler, interrupted);
  try {
    for await (const execution of follow(client, created, ports.scheduler, limit.signal)) {
      progress.show(execution);
      if (isFinished(execution.status)) return execution;
    }
    throw new CliError(`Execution "${created.metadata.name}" was deleted before it had ended`);
  } catch (error) {
    if (!limit.signal.aborted) throw error;
    throw leftAlone(created, progress.last, interrupted.aborted);
  } finally {
    limit.release();
  }
}

/** The verdict, as `millrace run` gives it. Throws CliError unless the run succeeded. */
export function checkVerdict({ metadata, status }: Execution): void {
  if (status?.phase === "Succeeded") return;
  const why = conditionOf(status, "Succeeded")?.message ?? "";
  const message = printable(
    `Execution "${metadata.name}" ${status?.phase === "Cancelled" ? "was cancelled" : "failed"}${why && `: ${why}`}`,
  );
  throw new CliError(message, status?.phase === "Cancelled" ? exitCodes.cancelled : exitCodes.failed);
}

function leftAlone({ metadata }: Execution, last: Execution, isInterrupted: boolean): CliError {
  const name = metadata.name;
  const wait = `kubectl wait --for=condition=Complete --timeout=1h mexec/${name} -n ${metadata.namespace}`;
  const what = isInterrupted ? "is not waited for any more" : `has not ended in time, it is ${phaseOf(last)}`;
  const code = isInterrupted ? exitCodes.cancelled : exitCodes.failed;
  return new CliError(`Execution "${name}" ${what}, and goes on; see: ${wait}`, code);
}

/** A line for each phase, and for each step that ends. */
class ProgressLines {
  last: Execution;
  readonly #context: CliContext;
  readonly #ended = new Set<string>();
  #phase = "";

  constructor(created: Execution, context: CliContext) {
    this.last = created;
    this.#context = context;
  }

  show(execution: Execution): void {
    this.last = execution;
    const { metadata, status } = execution;
    const phase = status?.phase ?? "Pending";
    if (phase !== this.#phase && !isFinished(status)) this.#write(`${metadata.name}: ${phase}`);
    this.#phase = phase;
    for (const row of status?.steps ?? []) {
      if (!isFinalRow(row) || this.#ended.has(row.name)) continue;
      this.#ended.add(row.name);
      this.#write(`${row.name}: ${detailsOf(row)}`);
    }
    if (isFinished(status)) this.#write(`${metadata.name}: ${phaseOf(execution)}`);
  }

  #write(line: string): void {
    this.#context.stderr.write(`${printable(line)}\n`);
  }
}

function detailsOf({ state, durationMs, reason, error, items }: StepRow): string {
  const done = items && itemCounts(items);
  const why = error && `${codeWords(error)}: ${error.message}`;
  const parts = [state, durationMs === undefined ? undefined : formatDuration(durationMs), done, reason, why];
  return parts.filter((part) => part !== undefined).join(" ");
}

function phaseOf({ status }: Execution): string {
  return `${status?.phase ?? "Pending"}${status?.progress === undefined ? "" : ` (${status.progress})`}`;
}
