import type { Execution, StepRow } from "../../api/types.ts";
import { conditionOf, isFinished } from "../../execution/objects.ts";
import type { Cluster } from "../cluster/cluster.ts";
import { checkVerdict } from "../cluster/execution-wait.ts";
import { follow } from "../cluster/follow.ts";
import { asKubectl } from "../cluster/kubectl-object.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";
import { formatDuration, formatFuel } from "../terminal/durations.ts";
import { printable } from "../terminal/printable.ts";
import { codeWords, stateWords } from "../terminal/row-words.ts";
import { finallyNames } from "./finally-names.ts";

/** Shows each state of an Execution that is followed. */
interface ExecutionWatch {
  show(execution: Execution): Promise<void>;
  /** Idempotent; leaves the terminal as it was. */
  end(): void;
}

/** Follows it until it has ended; throws CliError unless it succeeded. */
export async function watchExecution(
  cluster: Cluster,
  name: string,
  output: "text" | "json" | "yaml",
  context: CliContext,
): Promise<void> {
  const watch = await createWatch(cluster, output, context);
  try {
    const first = await cluster.execution(name);
    for await (const execution of follow(cluster.client, first, context.ports.scheduler, context.interrupted)) {
      await watch.show(execution);
      if (isFinished(execution.status)) return endAs(execution, output);
    }
  } finally {
    watch.end();
  }
  throw new CliError(`Execution "${name}" was deleted before it had ended`);
}

/** As `millrace run` ends. What was shown to people says all there is to say. */
function endAs(execution: Execution, output: "text" | "json" | "yaml"): void {
  if (output !== "text") checkVerdict(execution);
  const { phase } = execution.status ?? {};
  if (phase !== "Succeeded") throw new CliError("", phase === "Cancelled" ? exitCodes.cancelled : exitCodes.failed);
}

async function createWatch(
  cluster: Cluster,
  output: "text" | "json" | "yaml",
  context: CliContext,
): Promise<ExecutionWatch> {
  const { stdout, env } = context;
  if (output !== "text") return new ObjectWatch(output, context);
  if (stdout.isTTY !== true || env.TERM === "dumb") return new LineWatch(context);
  const { LiveExecution } = await import("./live-execution.ts");
  return new LiveExecution(context, (execution) => finallyNames(cluster, execution, context.interrupted));
}

/** Each state as an object: a line of JSON, or a document of YAML. */
class ObjectWatch implements ExecutionWatch {
  readonly #output: "json" | "yaml";
  readonly #context: CliContext;

  constructor(output: "json" | "yaml", context: CliContext) {
    this.#output = output;
    this.#context = context;
  }

  async show(execution: Execution): Promise<void> {
    const object = asKubectl(execution);
    const text =
      this.#output === "json" ? JSON.stringify(object) : `---\n${(await import("yaml")).stringify(object).trimEnd()}`;
    this.#context.stdout.write(`${text}\n`);
  }

  end(): void {}
}

/** What has changed, a line for each. */
class LineWatch implements ExecutionWatch {
  readonly #context: CliContext;
  readonly #shown = new Map<string, string>();
  #phase = "";

  constructor(context: CliContext) {
    this.#context = context;
  }

  async show(execution: Execution): Promise<void> {
    const { status, metadata } = execution;
    const phase = phaseLine(execution);
    // How it ended is said after what it ended by.
    if (!isFinished(status)) this.#sayPhase(metadata.name, phase);
    for (const row of status?.steps ?? []) {
      const line = rowLine(row);
      if (row.state === "Waiting" || this.#shown.get(row.name) === line) continue;
      this.#shown.set(row.name, line);
      this.#write(`${row.name}: ${line}`);
    }
    if (isFinished(status)) this.#sayPhase(metadata.name, phase);
  }

  end(): void {}

  #sayPhase(name: string, phase: string): void {
    if (phase === this.#phase) return;
    this.#phase = phase;
    this.#write(`${name}: ${phase}`);
  }

  #write(line: string): void {
    this.#context.stdout.write(`${line}\n`);
  }
}

/** A running one's message names its steps, and they have lines of their own. */
function phaseLine({ status }: Execution): string {
  const phase = status?.phase ?? "Pending";
  const succeeded = conditionOf(status, "Succeeded");
  const reason = succeeded === undefined || succeeded.reason === phase ? "" : ` (${succeeded.reason})`;
  const message = phase === "Running" || succeeded === undefined ? "" : `: ${printable(succeeded.message)}`;
  return `${phase}${reason}${message}`;
}

function rowLine(row: StepRow): string {
  const { state, reason, items, attempts = 1, durationMs, fuel, error } = row;
  const parts = [
    reason === undefined ? state : `${state} ${printable(reason)}`,
    ...(items === undefined ? [] : [stateWords(row)]),
    ...(attempts > 1 ? [`attempt ${attempts}`] : []),
    ...(durationMs === undefined ? [] : [formatDuration(durationMs)]),
    ...(fuel === undefined ? [] : [formatFuel(fuel)]),
    ...(error === undefined ? [] : [`${codeWords(error)}: ${printable(error.message)}`]),
  ];
  return parts.join(" ");
}
