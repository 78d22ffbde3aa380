import { observedConditions } from "../api/observed.ts";
import type { Pipeline, PipelineStatus } from "../api/types.ts";
import { type Condition, type Summary, setCondition, summarise } from "../runtime/conditions.ts";
import type { PipelineDecision } from "./decide.ts";

/** Conditions and the graph, as they follow from the decision about the object's generation. The counts of Executions are another's. */
export function pipelineStatus(object: Pipeline, decision: PipelineDecision, nowMs: number): PipelineStatus {
  const observedGeneration = object.metadata.generation ?? 0;
  const summary = summaryOf(decision, observedGeneration);
  const before = observedConditions(object.status);
  const conditions = summarise(before, summary, nowMs);
  return {
    observedGeneration,
    conditions: isStuck(decision) ? alsoStalled(before, conditions, summary, nowMs) : conditions,
    ...(decision.state === "Ready" ? { graph: decision.pipeline.plan.graph } : {}),
  };
}

function summaryOf(decision: PipelineDecision, observedGeneration: number): Summary {
  if (decision.state === "Ready") {
    const { steps, levels, width } = decision.pipeline.plan.graph;
    const message = `${counted(steps, "step")} on ${counted(levels, "level")}, at most ${width} at once.`;
    return { state: "Ready", reason: "Compiled", message, observedGeneration };
  }
  const { reason, message } = decision;
  if (decision.state === "Stalled") return { state: "Stalled", reason, message, observedGeneration };
  return { state: "Reconciling", whileReconciling: "False", reason, message, observedGeneration };
}

/**
 * A Processor or Pipeline that does not exist stalls the Pipeline, and may be on its way: applied together, the Pipeline is
 * often looked at first. Both conditions at once say so; kstatus lets Reconciling win, so that `helm --wait` and Flux wait for it.
 */
function isStuck(decision: PipelineDecision): boolean {
  return decision.state === "Waiting" && decision.cause === "Absent";
}

function alsoStalled(
  before: readonly Condition[],
  conditions: readonly Condition[],
  { reason, message, observedGeneration }: Summary,
  nowMs: number,
): readonly Condition[] {
  const known = before.find(({ type }) => type === "Stalled");
  const kept = known === undefined ? conditions : [...conditions, known];
  return setCondition(kept, { type: "Stalled", status: "True", reason, message, observedGeneration }, nowMs);
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
