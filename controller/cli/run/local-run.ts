import { MillraceError } from "../../../engine/errors.ts";
import type { Outcome, RunEvent } from "../../../engine/outcome.ts";
import type { ExecutionIdentity } from "../../../engine/processor.ts";
import { SlidingRetryBudgets } from "../../../engine/run/retry-budget.ts";
import { startRun } from "../../../engine/run/run.ts";
import type { RunOptions } from "../../../engine/run/run-options.ts";
import type { Pipeline } from "../../api/types.ts";
import type { CompiledPipeline } from "../../catalog.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";
import { printable } from "../terminal/printable.ts";
import { codeWords } from "../terminal/row-words.ts";
import {
  byPlace,
  checkLocated,
  choosePipeline,
  formatProblem,
  type Located,
  locateProblems,
  namespaceOf,
  openWorkspace,
  type Workspace,
} from "../workspace.ts";
import { readGiven } from "./given.ts";
import { LocalLogs } from "./local-logs.ts";
import { type LoadedProcessors, loadProcessors } from "./local-processors.ts";
import { LocalReport, newIdentity } from "./local-report.ts";
import type { RunFlags } from "./run-flags.ts";
import { createRunView } from "./run-view.ts";
import type { RunView } from "./step-views.ts";

/** Runs a Pipeline from manifests in this process and prints what it gave. Throws CliError unless it succeeded. */
export async function runPipeline(name: string | undefined, flags: RunFlags, context: CliContext): Promise<void> {
  const workspace = await openWorkspace(flags.filename, context);
  const located = choosePipeline(workspace, name);
  for (const warning of workspace.problems) context.stderr.write(`${formatProblem(warning)}\n`);
  const pipeline = await compiled(workspace, located);
  const { stated, ...given } = await readGiven(pipeline, flags, context);
  const identity = newIdentity(located.object, context.ports.random);
  const saving = await beginSaving(identity, pipeline, flags, context);
  await using _ = saving;
  await using processors = await loadProcessors(workspace, namespaceOf(located), pipeline.processors, flags, context);
  const report = new LocalReport({ identity, pipeline, given, input: stated, clock: context.ports.clock, saving });
  const how = flags.logs === true ? "Lines" : "Any";
  const view = flags.quiet === true ? undefined : await createRunView(pipeline.plan, how, context);
  const onLine = flags.logs === true ? (line: string) => context.stderr.write(`${line}\n`) : undefined;
  const logs = new LocalLogs({ kept: saving?.logs, onLine });
  const outcome = await runToEnd({ identity, pipeline, given, processors, report, logs, view }, context);
  await report.save(outcome);
  await report.print(outcome, flags.output, context.stdout);
  if (outcome.state === "Succeeded") return;
  if (flags.logs !== true) showTails(outcome, logs, context);
  if (outcome.state === "Cancelled") throw new CliError("the run was cancelled", exitCodes.cancelled);
  throw new CliError(failureOf(outcome));
}

async function compiled(workspace: Workspace, located: Located<Pipeline>): Promise<CompiledPipeline> {
  const check = await checkLocated(workspace, located);
  if (check.ok) return check.pipeline;
  throw new CliError(locateProblems(located, check.problems).toSorted(byPlace).map(formatProblem).join("\n"));
}

/** What only a saved run needs is loaded only for one. */
async function beginSaving(
  identity: ExecutionIdentity,
  { closure }: CompiledPipeline,
  { save }: RunFlags,
  context: CliContext,
) {
  if (save === undefined) return undefined;
  const { SavingRun } = await import("./saving-run.ts");
  return await SavingRun.begin(save, identity, closure, context);
}

interface LocalRun {
  readonly identity: ExecutionIdentity;
  readonly pipeline: CompiledPipeline;
  readonly given: Pick<RunOptions, "input" | "parameters">;
  readonly processors: LoadedProcessors;
  readonly report: LocalReport;
  readonly logs: LocalLogs;
  readonly view: RunView | undefined;
}

/** The first signal lets running steps finish and runs `finally`, the second aborts them. */
async function runToEnd(run: LocalRun, context: CliContext): Promise<Outcome> {
  const { identity, pipeline, given, processors, report, logs, view } = run;
  const abort = new AbortController();
  const handle = startRun(pipeline.plan, {
    execution: identity,
    ...given,
    invoke: (attempt, request, signal) => {
      report.used(attempt, request, processors.digestsOf(attempt.processor));
      return processors.invoke({ ...attempt, log: logs.of(attempt) }, request, signal);
    },
    ports: context.ports,
    retryBudgets: new SlidingRetryBudgets(context.ports.clock),
    signal: abort.signal,
    onEvent: (event) => {
      report.onEvent(event);
      if (event.type === "ItemFinished") logs.itemEnded(stepNameOf(pipeline, event), event.item, event.result);
      view?.onEvent(event);
    },
  });
  const onFirst = () => {
    view?.note("cancelling: what runs may finish, then finally runs; interrupt once more to abort it");
    handle.cancelGracefully();
  };
  const onSecond = () => abort.abort(new MillraceError("Cancelled", "the run was interrupted"));
  const released = [onAbort(context.interrupted, onFirst), onAbort(context.takeSecondInterrupt(), onSecond)];
  try {
    return await handle.outcome;
  } finally {
    view?.end();
    for (const release of released) release();
  }
}

/** Calls it when the signal aborts, or has; gives what calls that off. */
function onAbort(signal: AbortSignal, listener: () => void): () => void {
  if (signal.aborted) listener();
  else signal.addEventListener("abort", listener, { once: true });
  return () => signal.removeEventListener("abort", listener);
}

function stepNameOf({ plan }: CompiledPipeline, { step }: RunEvent): string {
  return plan.steps[step]?.name ?? "";
}

/** What the step that failed the run logged at last. */
function showTails({ error }: Outcome, logs: LocalLogs, { stderr }: CliContext): void {
  if (error?.step === undefined) return;
  for (const { of, lines } of logs.tailsOf(error.step)) {
    stderr.write(`${of} logged at last:\n${lines.map((line) => `  ${line}\n`).join("")}`);
  }
}

function failureOf({ error }: Outcome): string {
  if (error === undefined) return "the run failed";
  return printable(
    `${error.step === undefined ? "" : `step "${error.step}" failed: `}${codeWords(error)}: ${error.message}`,
  );
}
