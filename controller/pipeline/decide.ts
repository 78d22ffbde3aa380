import type { ProblemReason } from "../../engine/pipeline.ts";
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

/** Reasons of a problem that the creation of another object mends. */
const absences = ["ProcessorNotFound", "PipelineNotFound"] as const satisfies readonly ProblemReason[];
type Absence = (typeof absences)[number];

export type PipelineDecision =
  | { readonly state: "Ready"; readonly pipeline: CompiledPipeline }
  /** Somebody has to mend the Pipeline. */
  | { readonly state: "Stalled"; readonly reason: ProblemReason; readonly message: string }
  /** What it names does not exist, or serves nothing yet. `Absent`: somebody has to make it. */
  | {
      readonly state: "Waiting";
      readonly cause: "Absent" | "Refused" | "Loading";
      readonly reason: Absence | "ProcessorNotReady";
      readonly message: string;
    };

/** What is to be said of a Pipeline. The check took what is `waiting` for Processors that are there: it knew no more of them than their names. */
export function decide(check: PipelineCheck, waiting: readonly WaitingProcessor[]): PipelineDecision {
  const problems = check.ok ? [] : check.problems;
  const own = problems.find(({ reason }) => !isAbsence(reason));
  if (own !== undefined) return { state: "Stalled", reason: own.reason, message: problemsMessage(problems) };
  const absent = problems.map(({ reason }) => reason).find(isAbsence);
  if (absent !== undefined) {
    return { state: "Waiting", cause: "Absent", reason: absent, message: problemsMessage(problems) };
  }
  if (check.ok && waiting.length === 0) return { state: "Ready", pipeline: check.pipeline };
  return { state: "Waiting", ...notReady(waiting) };
}

function isAbsence(reason: ProblemReason): reason is Absence {
  return (absences as readonly ProblemReason[]).includes(reason);
}

/** What is being loaded will soon be known: until then nothing is said of the others. */
function notReady(waiting: readonly WaitingProcessor[]): {
  readonly cause: "Refused" | "Loading";
  readonly reason: "ProcessorNotReady";
  readonly message: string;
} {
  const shown = waiting.find(({ reason }) => reason === loadingReason) ?? waiting[0];
  const others = waiting.length > 1 ? ` (and ${waiting.length - 1} more)` : "";
  return {
    cause: shown?.reason === loadingReason ? "Loading" : "Refused",
    reason: "ProcessorNotReady",
    message: `Processor ${shown?.name}${others} is not ready: ${shown?.message.slice(0, 900)}`,
  };
}
