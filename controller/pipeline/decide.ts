import type { Problem, ProblemReason } from "../../engine/pipeline.ts";
import type { StepSpec } from "../api/types.ts";
import type { CompiledPipeline } from "../catalog.ts";
import type { PipelineCheck } from "./check.ts";
import { problemsMessage } from "./problems.ts";

/** Why a Processor serves nothing yet that was not looked at before. */
export const loadingReason = "Loading";

/** A Processor that a Pipeline names and that exists, but serves nothing yet. */
export interface WaitingProcessor {
  readonly name: string;
  /** `Loading`, or the reason for which it was refused. */
  readonly reason: string;
  readonly message: string;
}

export type PipelineDecision =
  | { readonly state: "Ready"; readonly pipeline: CompiledPipeline }
  /** Somebody has to mend the Pipeline. */
  | { readonly state: "Stalled"; readonly reason: ProblemReason; readonly message: string }
  /** A Processor that it names does not exist, or serves nothing yet. `Absent`: somebody has to make one. */
  | {
      readonly state: "Waiting";
      readonly cause: "Absent" | "Refused" | "Loading";
      readonly reason: "ProcessorNotFound" | "ProcessorNotReady";
      readonly message: string;
    };

/** What is to be said of a Pipeline. `waiting` are Processors that the check could not know, as nothing of them is loaded. */
export function decide(
  steps: readonly StepSpec[],
  check: PipelineCheck,
  waiting: readonly WaitingProcessor[],
): PipelineDecision {
  if (check.ok) return { state: "Ready", pipeline: check.pipeline };
  const names = new Set(waiting.map(({ name }) => name));
  const problems = check.problems.filter((problem) => !isAbout(problem, steps, names));
  const own = problems.find(({ reason }) => reason !== "ProcessorNotFound");
  if (own !== undefined) return { state: "Stalled", reason: own.reason, message: problemsMessage(problems) };
  if (problems.length > 0) {
    return { state: "Waiting", cause: "Absent", reason: "ProcessorNotFound", message: problemsMessage(problems) };
  }
  // What is being loaded will soon be known: until then nothing is said of the others.
  const shown = waiting.find(({ reason }) => reason === loadingReason) ?? waiting[0];
  const others = waiting.length > 1 ? ` (and ${waiting.length - 1} more)` : "";
  return {
    state: "Waiting",
    cause: shown?.reason === loadingReason ? "Loading" : "Refused",
    reason: "ProcessorNotReady",
    message: `Processor ${shown?.name}${others} is not ready: ${shown?.message.slice(0, 900)}`,
  };
}

/** The engine takes a Processor that is not loaded for one that does not exist. */
function isAbout(problem: Problem, steps: readonly StepSpec[], processors: ReadonlySet<string>): boolean {
  if (problem.reason !== "ProcessorNotFound") return false;
  const index = /^steps\[([0-9]+)\]\.processor$/.exec(problem.path)?.[1];
  const step = index === undefined ? undefined : steps[Number(index)];
  return step !== undefined && processors.has(step.processor);
}
