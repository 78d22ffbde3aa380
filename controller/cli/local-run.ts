import { MillraceError } from "../../engine/errors.ts";
import type { Outcome } from "../../engine/outcome.ts";
import { run } from "../../engine/run.ts";
import type { CompiledPipeline } from "../catalog.ts";
import type { RunInput } from "../execution/input.ts";
import { type CliContext, CliError, exitCodes } from "./context.ts";
import { readGiven } from "./given.ts";
import { type LoadedProcessors, loadProcessors } from "./local-processors.ts";
import { LocalReport } from "./local-report.ts";
import { printable } from "./printable.ts";
import type { RunFlags } from "./run-flags.ts";
import { createRunView } from "./run-view.ts";
import type { RunView } from "./step-views.ts";
import { byPlace, checkLocated, choosePipeline, formatProblem, locateProblems, openWorkspace } from "./workspace.ts";

/** Runs a Pipeline from manifests in this process and prints what it gave. Throws CliError unless it succeeded. */
export async function runPipeline(name: string | undefined, flags: RunFlags, context: CliContext): Promise<void> {
  const workspace = await openWorkspace(flags.filename, context);
  const pipeline = choosePipeline(workspace, name);
  for (const warning of workspace.problems) context.stderr.write(`${formatProblem(warning)}\n`);
  const check = await checkLocated(workspace, pipeline);
  if (!check.ok)
    throw new CliError(locateProblems(pipeline, check.problems).toSorted(byPlace).map(formatProblem).join("\n"));
  const given = await readGiven(check.pipeline, flags, context);
  await using callers = await loadProcessors(workspace, pipeline, flags, context);
  const report = new LocalReport(pipeline.object, check.pipeline.plan, given, context.ports);
  const view = flags.quiet === true ? undefined : await createRunView(check.pipeline.plan, context);
  const outcome = await runToEnd(check.pipeline, given, callers, report, view, context);
  await report.print(outcome, flags.output, context.stdout);
  if (outcome.state === "Cancelled") throw new CliError("the run was cancelled", exitCodes.cancelled);
  if (outcome.state === "Failed") throw new CliError(failureOf(outcome));
}

async function runToEnd(
  pipeline: CompiledPipeline,
  { input, parameters }: RunInput,
  callers: LoadedProcessors,
  report: LocalReport,
  view: RunView | undefined,
  context: CliContext,
): Promise<Outcome> {
  const cancel = new AbortController();
  const onInterrupt = () => cancel.abort(new MillraceError("Cancelled", "the run was interrupted"));
  context.interrupted.addEventListener("abort", onInterrupt, { once: true });
  if (context.interrupted.aborted) onInterrupt();
  try {
    return await run(pipeline.plan, {
      execution: report.identity,
      input,
      parameters,
      invoke: callers.invoke,
      ports: context.ports,
      signal: cancel.signal,
      onEvent: (event) => {
        report.onEvent(event);
        view?.onEvent(event);
      },
    });
  } finally {
    view?.end();
    context.interrupted.removeEventListener("abort", onInterrupt);
  }
}

function failureOf({ error }: Outcome): string {
  if (error === undefined) return "the run failed";
  const code = error.processorCode === undefined ? error.code : `${error.code} (${error.processorCode})`;
  return printable(`${error.step === undefined ? "" : `step "${error.step}" failed: `}${code}: ${error.message}`);
}
