import { StepWork, WorkAttempts } from "./attempts.ts";
import { Entering, Leaving } from "./enter-exit.ts";
import { FanOut } from "./fan-out.ts";
import type { PartPlan } from "./part.ts";

/** What a step does, by its kind; one for each part of a run. */
export function activities(): PartPlan["activityOf"] {
  let stepWork: StepWork | undefined;
  return (part, step) => {
    if (step.enter !== undefined) return new Entering(part, step, step.enter);
    if (step.kind === "Exit") return new Leaving(part, step);
    if (step.forEach !== undefined) return new FanOut(part, step, step.forEach);
    stepWork ??= new StepWork(part);
    return new WorkAttempts(part, step, stepWork);
  };
}
