import type { Problem, ProcessorFacts } from "../../engine/pipeline.ts";
import type { AnyPipelineSpec, NamedPipeline, PipelineClosure } from "../catalog.ts";
import type { Resolved } from "./named.ts";

/** What a Pipeline was compiled from: see {@link PipelineClosure}. `facts` are those of the Processors that exist. */
export function closureOf(
  name: string,
  spec: AnyPipelineSpec,
  { names, pipelines }: Resolved,
  facts: ReadonlyMap<string, ProcessorFacts>,
): PipelineClosure {
  const checked = checkedWhenRun([spec, ...[...pipelines.values()].map((nested) => nested.spec)]);
  return {
    name,
    spec,
    pipelines: names.pipelines.flatMap((nested) => named(nested, pipelines.get(nested)?.spec)),
    processors: names.processors.flatMap((processor) => {
      const known = facts.get(processor);
      return known === undefined ? [] : [factsOfRun(known, checked.has(processor))];
    }),
  };
}

/** etcd takes 1.5 MiB an object, metadata included. */
const maxClosureBytes = 1_400_000;

/** A closure that no revision can hold could never run. */
export function closureTooLarge(closure: PipelineClosure): Problem | undefined {
  const bytes = Buffer.byteLength(JSON.stringify(closure));
  if (bytes <= maxClosureBytes) return undefined;
  const counted = closure.pipelines.length === 0 ? "" : `, the ${closure.pipelines.length} that it brings in`;
  return {
    path: "steps",
    reason: "InvalidPipeline",
    message: `The Pipeline${counted} and its Processors' options take ${bytes} bytes of JSON together; the limit is ${maxClosureBytes}`,
    mend: "Shorten options and expressions, or run a part of it as a Pipeline of its own.",
  };
}

/** The Processors whose options are checked when a step runs. */
function checkedWhenRun(specs: readonly AnyPipelineSpec[]): ReadonlySet<string> {
  const steps = specs.flatMap(({ steps: own, finally: after = [] }) => [...own, ...after]);
  return new Set(
    steps.flatMap(({ processor, optionsExpression }) => (optionsExpression === undefined ? [] : (processor ?? []))),
  );
}

/** Schemas of outputs and metadata are for the check alone, and that was made when the Pipeline was compiled. */
function factsOfRun(facts: ProcessorFacts, withOptionsSchema: boolean): ProcessorFacts {
  const { outputSchema: _output, metadataSchema: _metadata, optionsSchema, ...rest } = facts;
  return optionsSchema === undefined || !withOptionsSchema ? rest : { ...rest, optionsSchema };
}

function named(name: string, spec: NamedPipeline["spec"] | undefined): readonly NamedPipeline[] {
  return spec === undefined ? [] : [{ name, spec }];
}

/** What a revision holds, in the form of this version or of an earlier one. */
export interface StoredClosure {
  readonly name: string;
  readonly spec: Partial<Pick<AnyPipelineSpec, "strategy" | "finallyTimeout">> &
    Omit<AnyPipelineSpec, "strategy" | "finallyTimeout">;
  readonly processors: readonly StoredFacts[];
  readonly pipelines?: readonly NamedPipeline[];
}

type StoredFacts = Partial<Pick<ProcessorFacts, "lane" | "delivery" | "budgetPercent">> &
  Omit<ProcessorFacts, "lane" | "delivery" | "budgetPercent">;

/**
 * In the form of this version: what a revision of an earlier one does not say is as it was then. The API server fills in the
 * defaults of our kinds, and knows nothing of what is in a revision.
 */
export function currentForm(stored: StoredClosure): PipelineClosure {
  const { name, spec, processors, pipelines = [] } = stored;
  return {
    name,
    spec: { strategy: "WorkQueue", finallyTimeout: "1m", ...spec },
    pipelines,
    // Only the strategy Hybrid asks for lanes, and there was none.
    processors: processors.map((facts) => ({ lane: "Local", delivery: "AtLeastOnce", budgetPercent: 20, ...facts })),
  };
}
