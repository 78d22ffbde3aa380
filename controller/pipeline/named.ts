import { maxRows } from "../../engine/compile/inline.ts";
import type { PipelineSpec } from "../api/types.ts";
import type { AnyPipelineSpec, NamedObjects } from "../catalog.ts";

/** What a spec names, and the Pipelines among it. */
export interface Resolved {
  readonly names: NamedObjects;
  /** By name: those that exist. */
  readonly pipelines: ReadonlyMap<string, BroughtIn>;
  /** They have more steps than a run may have rows: not all of them were looked for. */
  readonly isTooLarge: boolean;
}

/** A Pipeline that another one brings in. */
export interface BroughtIn {
  readonly spec: PipelineSpec;
  /** Which of the outermost one's steps leads to it, the first that was found: its name, and where it stands (`steps[2]`). */
  readonly step: string;
  readonly path: string;
}

/**
 * Follows a spec to all Pipelines that it brings in, and theirs, each once, however they name each other. `find` gives the
 * spec of one that exists. It ends where their steps cannot all be inlined: nothing else bounds what tenants make of names.
 */
export function resolveNames(spec: AnyPipelineSpec, find: (name: string) => PipelineSpec | undefined): Resolved {
  const pipelines = new Map<string, BroughtIn>();
  const named = new Set<string>();
  const processors = new Set<string>();
  const pending: (BroughtIn | { readonly spec: AnyPipelineSpec })[] = [{ spec }];
  let steps = 0;
  // An Array gives what is added to it while it is walked.
  for (const next of pending) {
    steps += next.spec.steps.length;
    if (steps > maxRows) break;
    for (const processor of processorsOf(next.spec)) processors.add(processor);
    for (const [index, { name: step, pipeline }] of next.spec.steps.entries()) {
      if (pipeline === undefined || named.has(pipeline)) continue;
      named.add(pipeline);
      const found = find(pipeline);
      if (found === undefined) continue;
      const broughtIn = { step, path: `steps[${index}]`, ...next, spec: found };
      pipelines.set(pipeline, broughtIn);
      pending.push(broughtIn);
    }
  }
  const names = { processors: [...processors].toSorted(), pipelines: [...named].toSorted() };
  return { names, pipelines, isTooLarge: steps > maxRows };
}

/** Those that its own steps name, each once. */
export function processorsOf({ steps, finally: after = [] }: AnyPipelineSpec): ReadonlySet<string> {
  return new Set([...steps, ...after].flatMap(({ processor }) => processor ?? []));
}

/** Those that its own steps name, each once. */
export function pipelinesOf({ steps }: AnyPipelineSpec): ReadonlySet<string> {
  return new Set(steps.flatMap(({ pipeline }) => pipeline ?? []));
}
