import { closest } from "../names.ts";
import type { PipelineDefinition } from "../pipeline.ts";
import type { DagFault } from "./dag.ts";
import type { FrameProblem } from "./frames.ts";

/** A fault of the steps' graph, or of that of `finally`, in words. */
export function graphProblem(fault: DagFault, definition: PipelineDefinition, isFinally: boolean): FrameProblem {
  const list = isFinally ? "finally" : "steps";
  const nameOf = (index: number) => definition[list][index]?.name ?? "";
  switch (fault.kind) {
    case "Duplicate": {
      const { node, first } = fault;
      const message = `Two steps are named ${nameOf(node)}: ${list}[${first}] and ${list}[${node}].`;
      return { field: `${list}[${node}].name`, reason: "DuplicateStep", message, mend: "Rename one of the two." };
    }
    case "Missing":
      return missingProblem(fault, definition, list);
    case "Cycle": {
      const [first = 0] = fault.cycle;
      const printed = [...fault.cycle, first].map(nameOf).join(" → ");
      const message = `The steps depend on each other in a circle: ${printed} (each depends on the next).`;
      const mend = "Remove one of these dependencies.";
      return { field: `${list}[${first}].dependsOn`, reason: "Cycle", message, mend };
    }
  }
}

function missingProblem(
  { node, edge }: Extract<DagFault, { kind: "Missing" }>,
  definition: PipelineDefinition,
  list: "steps" | "finally",
): FrameProblem {
  const step = definition[list][node];
  const missing = step?.dependsOn[edge] ?? "";
  const place = { field: `${list}[${node}].dependsOn[${edge}]`, reason: "StepNotFound" } as const;
  const otherList = list === "steps" ? definition.finally : definition.steps;
  if (otherList.some(({ name }) => name === missing)) {
    const [why, mend] =
      list === "steps"
        ? ["a step of `finally`, which runs after all of `steps`", "Move it to `steps`, or remove it from dependsOn."]
        : ["none of `finally`: those of `steps` have all ended by then", "Remove it from dependsOn."];
    return { ...place, message: `Step ${step?.name} depends on ${missing}, which is ${why}.`, mend };
  }
  const suggestion = closest(
    missing,
    definition[list].map(({ name }) => name),
  );
  const add = `Add a step named ${missing}, or remove it from dependsOn.`;
  const mend = suggestion === undefined ? add : `Write ${suggestion}.`;
  return { ...place, message: `Step ${step?.name} depends on ${missing}, but no step has that name.`, mend };
}
