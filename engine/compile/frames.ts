import { closest } from "../names.ts";
import type { PipelineDefinition, Problem, ProblemReason, StepDefinition } from "../pipeline.ts";

/** What one Pipeline's expressions have in common: the outermost's, or those of one inlined in it. */
export interface Frame {
  readonly definition: PipelineDefinition;
  /** The index of the Enter that gives the `input`; `executionInput` for the outermost. */
  readonly enter: number;
  /** By the name that its expressions know: whose result it is; of a step that names a Pipeline its Exit. */
  readonly steps: Map<string, number>;
  /** Which step names this Pipeline; absent for the outermost. */
  readonly outer?: { readonly frame: Frame; readonly step: StepDefinition; readonly field: string };
}

/** Where a field stands, from the outermost spec on: `steps[2] (Pipeline publish) steps[0].when`. */
export function fieldIn({ definition, outer }: Frame, field: string): string {
  return outer === undefined ? field : `${fieldIn(outer.frame, outer.field)} (Pipeline ${definition.name}) ${field}`;
}

/** The names of the Pipelines around a frame, its own last. */
export function pipelinesAround({ definition, outer }: Frame): readonly string[] {
  return outer === undefined ? [definition.name] : [...pipelinesAround(outer.frame), definition.name];
}

/** What is wrong with a field of a frame. */
export interface FrameProblem {
  readonly field: string;
  readonly reason: ProblemReason;
  readonly message: string;
  readonly mend: string;
}

const maxSuggestions = 20;

/**
 * Reasons that are told as they are of an inlined Pipeline too: no Pipeline has to be mended where something is missing that
 * is still to be made, and a circle is one for each of its members.
 */
const sameOutside: readonly ProblemReason[] = ["ProcessorNotFound", "PipelineNotFound", "PipelineRecursion"];

/**
 * The problems of a Pipeline. Whoever reads them has the outermost spec before them: what is wrong with an inlined Pipeline is
 * told at the step that names it, and once, however often it is inlined.
 */
export class Problems {
  readonly found: Problem[] = [];

  /** The known name that was most likely meant. After twenty problems none: each suggestion compares a name with all others. */
  suggestion(name: string, known: Iterable<string>): string | undefined {
    return this.found.length >= maxSuggestions ? undefined : closest(name, known);
  }

  readonly #told = new Set<string>();

  report(frame: Frame, { field, reason, message, mend }: FrameProblem): void {
    const { definition, outer } = frame;
    if (outer === undefined) {
      this.found.push({ path: field, reason, message, mend });
      return;
    }
    const key = JSON.stringify([definition.name, field, message]);
    if (this.#told.has(key)) return;
    this.#told.add(key);
    const top = outermost(outer);
    this.found.push({
      path: `${top.field}.pipeline`,
      reason: sameOutside.includes(reason) ? reason : "InvalidPipeline",
      message: `Step ${top.step.name} cannot take in the Pipeline ${definition.name}, where ${field} is wrong: ${message}`,
      mend: `In the Pipeline ${definition.name}: ${mend}`,
    });
  }
}

function outermost(outer: NonNullable<Frame["outer"]>): NonNullable<Frame["outer"]> {
  return outer.frame.outer === undefined ? outer : outermost(outer.frame.outer);
}
