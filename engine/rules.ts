import { MillraceError, toMillraceError } from "./errors.ts";
import type { Metadata } from "./metadata.ts";
import { maxMetadataBytes, metadataBytes, noMetadata } from "./metadata.ts";
import type { StepError, StepReason, StepResult } from "./outcome.ts";
import type { Plan, PlanStep } from "./plan.ts";

/** Why a run ends before all of its steps have. */
export type StopReason = "FailFast" | "PipelineTimeout" | "Cancelled";

/** Why a step whose dependencies have all ended does not start; undefined: it does. See `docs/failure-semantics.md`. */
export function skipReason(step: PlanStep, results: readonly (StepResult | undefined)[]): StepReason | undefined {
  let stopped: StepReason | undefined;
  for (const dependency of step.dependencies) {
    const result = results[dependency];
    if (result === undefined || result.state === "Succeeded") continue;
    if (result.state === "Failed" || result.reason === "UpstreamFailed") return "UpstreamFailed";
    if (result.reason !== "WhenFalse" && result.reason !== "UpstreamSkipped") stopped ??= result.reason;
  }
  if (stopped !== undefined) return stopped;
  if (step.input !== undefined || step.origin < 0 || results[step.origin]?.state === "Succeeded") return undefined;
  return "UpstreamSkipped";
}

/** The direct dependencies' metadata as `<step>.<key>`. */
export function receivedMetadata(
  step: PlanStep,
  plan: Plan,
  results: readonly (StepResult | undefined)[],
): Metadata | MillraceError {
  let received: Record<string, string> | undefined;
  for (const dependency of step.dependencies) {
    const result = results[dependency];
    if (result?.state !== "Succeeded") continue;
    for (const key of Object.keys(result.metadata)) {
      received ??= {};
      received[`${plan.steps[dependency]?.name}.${key}`] = result.metadata[key] ?? "";
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

/** What the run's row says, and what the attempts in flight are aborted with. */
export function stopError(reason: StopReason, plan: Plan): MillraceError {
  switch (reason) {
    case "Cancelled":
      return new MillraceError("Cancelled", "the run was cancelled");
    case "FailFast":
      return new MillraceError("Cancelled", "another step failed, and the Pipeline's failurePolicy is FailFast");
    case "PipelineTimeout":
      return new MillraceError(
        "DeadlineExceeded",
        `the Pipeline ${plan.name} outlived its timeout of ${plan.timeoutMs} ms`,
      );
  }
}

/** What was thrown, as a row has it. */
export function errorOf(thrown: unknown): StepError {
  const { code, kind, message } = toMillraceError(thrown);
  return { code, kind, message };
}
