import { MillraceError, toMillraceError } from "../errors.ts";
import type { Metadata } from "../metadata.ts";
import { maxMetadataBytes, metadataBytes, noMetadata } from "../metadata.ts";
import type { SkipReason, StepError, StepResult } from "../outcome.ts";
import type { Plan, PlanStep } from "../plan.ts";

/** Why a part of a run ends before all of its steps have. */
export type StopReason = "FailFast" | "PipelineTimeout" | "Cancelled";

/** Those of a plan's steps that have ended, by index. */
export type Results = readonly (StepResult | undefined)[];

/** Whether there is an output: of a failure that is ignored it is null. */
export function hasOutput(result: StepResult | undefined): boolean {
  return result?.state === "Succeeded" || (result?.state === "Failed" && result.reason === "Ignored");
}

/** How a step whose dependencies have all ended ends without anything of its own; undefined: it starts. See `docs/failure-semantics.md`. */
export function resultUnstarted(step: PlanStep, results: Results): StepResult | undefined {
  const entered = leftAsEntered(step, results);
  if (entered !== undefined) return entered;
  const reason = skipReason(step, results);
  return reason === undefined ? undefined : { state: "Skipped", reason };
}

/** An inlined Pipeline that was not entered is left the same way. */
function leftAsEntered(step: PlanStep, results: Results): StepResult | undefined {
  const entered = step.enteredBy === undefined ? undefined : results[step.enteredBy];
  return entered === undefined || entered.state === "Succeeded" ? undefined : entered;
}

function skipReason(step: PlanStep, results: Results): SkipReason | undefined {
  let stopped: SkipReason | undefined;
  if (step.frame >= 0 && results[step.frame]?.state === "Failed") return "UpstreamFailed";
  for (const dependency of step.dependencies) {
    const result = results[dependency];
    if (result === undefined || hasOutput(result)) continue;
    if (result.state === "Failed" || result.reason === "UpstreamFailed") return "UpstreamFailed";
    if (result.state !== "Succeeded" && result.reason !== "WhenFalse" && result.reason !== "UpstreamSkipped")
      stopped ??= result.reason;
  }
  return stopped ?? (isWithoutInput(step, results) ? "UpstreamSkipped" : undefined);
}

/** Whether nobody gives it what it would receive: a step of an inlined Pipeline has nothing at all where that was not entered. */
function isWithoutInput(step: PlanStep, results: Results): boolean {
  if (step.kind === "Exit") return false;
  if (step.frame >= 0 && results[step.frame]?.state === "Skipped") return true;
  const takesOrigin = step.input === undefined && step.forEach === undefined && step.origin >= 0;
  return takesOrigin && !hasOutput(results[step.origin]);
}

/** How a step ends that had not ended when its part of the run stopped. `started`: what it had come to. */
export function resultStopped(
  step: PlanStep,
  results: Results,
  reason: StopReason,
  started: { readonly attempts: number; readonly fuel: number | undefined },
): StepResult {
  const { attempts, fuel } = started;
  const entered = leftAsEntered(step, results);
  if (entered !== undefined) return entered;
  if (attempts > 0) return withFuel({ state: "Cancelled", reason, attempts }, fuel);
  return { state: "Skipped", reason: skipReason(step, results) === "UpstreamFailed" ? "UpstreamFailed" : reason };
}

/** Says what it took, where that is known. */
export function withFuel<Result extends StepResult>(result: Result, fuel: number | undefined): Result {
  return fuel === undefined || result.state === "Skipped" ? result : { ...result, fuel };
}

/** The direct dependencies' metadata as `<step>.<key>`. */
export function receivedMetadata(step: PlanStep, plan: Plan, results: Results): Metadata | MillraceError {
  let received: Record<string, string> | undefined;
  for (const dependency of step.dependencies) {
    const result = results[dependency];
    if (result?.state !== "Succeeded") continue;
    for (const key of Object.keys(result.metadata)) {
      received ??= {};
      received[`${plan.steps[dependency]?.localName}.${key}`] = result.metadata[key] ?? "";
    }
  }
  if (received === undefined) return noMetadata;
  const bytes = metadataBytes(received);
  if (bytes <= maxMetadataBytes) return received;
  const limit = `a step may receive at most ${maxMetadataBytes}`;
  return new MillraceError(
    "PayloadTooLarge",
    `the metadata of the dependencies of step ${step.name} takes ${bytes} bytes; ${limit}`,
  );
}

/** The steps of the graph, or those of `finally`. */
export type PartName = "Main" | "Finally";

/** What the run's row says, and what the attempts in flight are aborted with. */
export function stopError(reason: StopReason, plan: Plan, part: PartName): MillraceError {
  switch (reason) {
    case "Cancelled":
      return new MillraceError("Cancelled", "the run was cancelled");
    case "FailFast":
      return new MillraceError("Cancelled", "another step failed, and the Pipeline's failurePolicy is FailFast");
    case "PipelineTimeout":
      return new MillraceError(
        "DeadlineExceeded",
        part === "Main"
          ? `the Pipeline ${plan.name} outlived its timeout of ${plan.timeoutMs} ms`
          : `the steps of finally of the Pipeline ${plan.name} outlived its finallyTimeout of ${plan.finallyTimeoutMs} ms`,
      );
  }
}

/** What was thrown, as a row has it. */
export function errorOf(thrown: unknown): StepError {
  const { code, kind, message } = toMillraceError(thrown);
  return { code, kind, message };
}
