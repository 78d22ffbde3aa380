import type { StepError, StepResult } from "../outcome.ts";
import type { PlanStep } from "../plan.ts";
import type { Results, StopReason } from "./rules.ts";
import type { RecordedItems } from "./run-options.ts";

/** Why an earlier part of the run stopped these steps, as far as what it recorded tells; undefined: it did not. */
export function stopReasonOf(
  steps: readonly PlanStep[],
  known: { readonly results: Results; recordedItems(step: PlanStep): RecordedItems | undefined },
  failFast: boolean,
): StopReason | undefined {
  const reasons = new Set<string>();
  const note = (result: StepResult | undefined) => {
    if (result?.state === "Failed" && result.reason === undefined && failFast) reasons.add("FailFast");
    if (result?.state === "Skipped" || result?.state === "Cancelled") reasons.add(result.reason);
  };
  for (const step of steps) {
    const result = known.results[step.index];
    note(result);
    if (result !== undefined || step.forEach === undefined) continue;
    for (const item of known.recordedItems(step)?.results.values() ?? []) if (item.state === "Cancelled") note(item);
  }
  const inOrder: readonly StopReason[] = ["Cancelled", "PipelineTimeout", "FailFast"];
  return inOrder.find((reason) => reasons.has(reason));
}

/**
 * The steps as a schedule has to order them where some have ended already. An Enter is not recorded: where it is to be
 * evaluated again, those behind it whose own dependencies have ended must not come before it.
 */
export function awaitingEntries(steps: readonly PlanStep[], results: Results): readonly PlanStep[] {
  const waiting = new Map<number, number[]>();
  const awaiting = steps.map((step) => {
    const { index, frame, dependencies } = step;
    if (frame < 0 || results[frame] !== undefined || dependencies.includes(frame)) return step;
    const others = waiting.get(frame);
    if (others === undefined) waiting.set(frame, [index]);
    else others.push(index);
    return { ...step, dependencies: [...dependencies, frame] };
  });
  if (waiting.size === 0) return steps;
  return awaiting.map((step) => {
    const more = waiting.get(step.index);
    return more === undefined ? step : { ...step, dependents: [...step.dependents, ...more] };
  });
}

/** Why what must not be begun twice is not. */
export function interrupted(processor: string): StepError {
  const message = `the controller died while an attempt was in flight, and the Processor ${processor} is to be called at most once: its outcome is unknown`;
  return { code: "Interrupted", kind: "System", message };
}
