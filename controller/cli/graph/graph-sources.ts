import type { ProcessorFacts } from "../../../engine/pipeline.ts";
import type { Plan } from "../../../engine/plan.ts";
import { ApiError, type Client, type KubernetesObject, type Resource } from "../../api/client.ts";
import { SchemaCompiler } from "../../api/json-schema.ts";
import { controllerRevisions, pipelines, processors } from "../../api/kinds.ts";
import type { Execution, Pipeline, Processor } from "../../api/types.ts";
import type { AnyPipelineSpec } from "../../catalog.ts";
import { compileClosure, type PipelineCheck } from "../../pipeline/check.ts";
import type { StoredClosure } from "../../pipeline/closure.ts";
import { processorFacts } from "../../processor/spec.ts";
import type { Cluster } from "../cluster/cluster.ts";
import { openSaved } from "../cluster/saved-run.ts";
import { type CliContext, CliError } from "../context.ts";
import { checkAmong } from "../workspace.ts";
import { type Outcomes, outcomesOf } from "./graph-outcomes.ts";

/** A run's Pipeline and what its steps came to. */
export interface RunGraph {
  readonly plan: Plan;
  readonly outcomes: Outcomes;
  /** What the drawing is of, if not of the Pipeline as it was run. */
  readonly note?: string;
}

/** Of a saved run. Throws CliError. */
export async function savedGraph(folder: string, name: string | undefined, context: CliContext): Promise<RunGraph> {
  const { execution, closure } = await openSaved(folder, name, context);
  if (closure === undefined) throw new CliError(`--saved: ${folder} has no revision.yaml, which holds the Pipeline`);
  return { plan: planOf(compileClosure(closure, new SchemaCompiler())), outcomes: outcomesIn(execution) };
}

/** Of a run in a cluster: of the revision it started with, else of the Pipeline as it is now. Throws CliError, ApiError. */
export async function clusterGraph(cluster: Cluster, name: string, signal: AbortSignal): Promise<RunGraph> {
  const execution = await cluster.execution(name);
  const outcomes = outcomesIn(execution);
  const revision = execution.status?.pipelineRevision;
  const pinned = revision === undefined ? undefined : await readClosure(cluster, revision, signal);
  if (pinned !== undefined) return { plan: planOf(compileClosure(pinned, new SchemaCompiler())), outcomes };
  const plan = planOf(await compileNow(cluster, execution, signal));
  if (revision === undefined) return { plan, outcomes };
  const note = `ControllerRevision ${revision}, which the run started with, cannot be read: this is the Pipeline as it is now`;
  return { plan, outcomes, note };
}

function outcomesIn({ status }: Execution): Outcomes {
  return outcomesOf(status?.steps ?? []);
}

async function readClosure(
  { client, namespace }: Cluster,
  name: string,
  signal: AbortSignal,
): Promise<StoredClosure | undefined> {
  try {
    return (await client.get(controllerRevisions, { namespace, name }, signal)).data as StoredClosure;
  } catch (error) {
    if (error instanceof ApiError && [403, 404].includes(error.status.code)) return undefined;
    throw error;
  }
}

async function compileNow({ client, namespace }: Cluster, execution: Execution, signal: AbortSignal) {
  const known = (await listAll(client, pipelines, namespace, signal)) as readonly Pipeline[];
  const called = (await listAll(client, processors, namespace, signal)) as readonly Processor[];
  const specs = new Map(known.map(({ metadata, spec }) => [metadata.name, spec]));
  const facts = new Map(
    called.map(({ metadata, spec }): [string, ProcessorFacts] => [metadata.name, processorFacts(metadata.name, spec)]),
  );
  const { pipeline = execution.metadata.name, pipelineSpec } = execution.spec;
  const spec: AnyPipelineSpec | undefined = pipelineSpec ?? specs.get(pipeline);
  if (spec !== undefined) return await checkAmong(pipeline, spec, facts, specs);
  throw new CliError(`Pipeline "${pipeline}" of Execution "${execution.metadata.name}" does not exist any more`);
}

async function listAll(
  client: Client,
  resource: Resource,
  namespace: string,
  signal: AbortSignal,
): Promise<readonly KubernetesObject[]> {
  const objects: KubernetesObject[] = [];
  let next: string | undefined;
  do {
    const page = await client.list(resource, { namespace, ...(next === undefined ? {} : { continue: next }) }, signal);
    objects.push(...page.items);
    next = page.continue;
  } while (next !== undefined);
  return objects;
}

function planOf(check: PipelineCheck): Plan {
  if (check.ok) return check.pipeline.plan;
  const [first] = check.problems;
  throw new CliError(`the run's Pipeline does not compile any more: ${first?.path}: ${first?.message}`);
}
