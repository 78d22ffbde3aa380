import { MillraceError } from "../../../engine/errors.ts";
import type { Json, JsonObject } from "../../../engine/payload.ts";
import { canonicalJson } from "../../api/canonical-json.ts";
import type { Client } from "../../api/client.ts";
import { executions } from "../../api/kinds.ts";
import type { Execution } from "../../api/types.ts";
import type { CompiledPipeline, PipelineClosure, Revisions } from "../../catalog.ts";
import { isNotFound } from "../../runtime/api-errors.ts";
import { EarlierRun } from "../known/earlier-run.ts";
import { isFinished } from "../objects.ts";

/** How many runs back a run that gives no input itself looks for it. */
const maxInherited = 16;

export interface RetryFrom {
  /** Parameters by name: the Execution's own, else the earlier run's. */
  readonly given: JsonObject;
  /** The Execution whose `spec.input` counts: the first that has one. */
  readonly inputOf: Execution;
  /** Absent: there is none, or nothing of it can be taken over. */
  readonly earlier?: EarlierRun;
}

/** Where earlier runs and what they ran are read. */
export interface EarlierSources {
  readonly client: Client;
  readonly revisions: Pick<Revisions, "read">;
}

/**
 * What `spec.retryFrom` means for an Execution; without one, the Execution itself. A run that has begun already goes on when the
 * earlier one is gone meanwhile, unless its input came from there. Throws MillraceError InvalidInput; ApiError.
 */
export async function readRetryFrom(
  execution: Execution,
  { closure }: Pick<CompiledPipeline, "closure">,
  { client, revisions }: EarlierSources,
  signal: AbortSignal,
): Promise<RetryFrom> {
  const name = execution.spec.retryFrom?.execution;
  if (name === undefined) return { given: parametersOf(execution), inputOf: execution };
  const source = await readSource(execution, name, client, signal);
  if (source === undefined) return { given: parametersOf(execution), inputOf: execution };
  const runs = await inherited(execution, source, client, signal);
  const given = Object.assign({}, ...runs.toReversed().map(parametersOf)) as JsonObject;
  const inputOf = runs.find(({ spec }) => spec.input !== undefined) ?? execution;
  const isSame = await isSameDefinition(source, execution, closure, revisions, signal);
  return { given, inputOf, ...(isSame ? { earlier: new EarlierRun(source.status ?? {}) } : {}) };
}

/**
 * Another revision may hold the same Pipeline, with Processors that were edited since (a longer timeout, for example): what
 * they do is told by their digests, and what they are given by the request's.
 */
async function isSameDefinition(
  source: Execution,
  execution: Execution,
  closure: PipelineClosure,
  revisions: Pick<Revisions, "read">,
  signal: AbortSignal,
): Promise<boolean> {
  const [before, now] = [source.status?.pipelineRevision, execution.status?.pipelineRevision];
  if (before === now) return true;
  if (before === undefined || now === undefined) return false;
  try {
    const earlier = await revisions.read(execution.metadata.namespace ?? "", before, signal);
    return definitionOf(earlier.closure) === definitionOf(closure);
  } catch (error) {
    // A revision that is gone, or cannot be compiled any more, is not known to be the same.
    if (error instanceof MillraceError) return false;
    throw error;
  }
}

/** What steps do and receive: not how many runs there may be, nor how long they are kept. */
function definitionOf({ spec, pipelines }: PipelineClosure): string {
  const settings = ["concurrency", "historyLimit", "ttlSecondsAfterFinished"];
  const own = Object.entries(spec).filter(([field]) => !settings.includes(field));
  return canonicalJson({ spec: Object.fromEntries(own), pipelines } as unknown as Json);
}

/** Undefined: it is gone, and the run that it was to help has begun long ago and has an input of its own. */
async function readSource(
  execution: Execution,
  name: string,
  client: Client,
  signal: AbortSignal,
): Promise<Execution | undefined> {
  const { namespace = "" } = execution.metadata;
  const source = await read(namespace, name, client, signal);
  if (source === undefined) {
    if (execution.status?.owner !== undefined && execution.spec.input !== undefined) return undefined;
    const mend = "create the Execution without retryFrom, with its input and parameters";
    throw refused(`there is no Execution "${name}" in namespace ${namespace}; ${mend}`);
  }
  if (source.metadata.uid === execution.metadata.uid) {
    throw refused("an Execution cannot take over its own results; name an earlier one");
  }
  if (!isFinished(source.status)) {
    throw refused(
      `Execution "${name}" has not finished; wait for it (kubectl wait --for=condition=Complete), then create the Execution anew`,
    );
  }
  if (!isSamePipeline(source, execution)) {
    throw refused(
      `Execution "${name}" ran ${pipelineOf(source)}, and this one runs ${pipelineOf(execution)}; name a run of the same Pipeline`,
    );
  }
  return source;
}

/** The Execution, and the runs whose input and parameters it has where it gives none: the nearest first. */
async function inherited(
  execution: Execution,
  source: Execution,
  client: Client,
  signal: AbortSignal,
): Promise<readonly Execution[]> {
  const runs = [execution, source];
  for (let last: Execution = source; last.spec.retryFrom !== undefined && runs.length <= maxInherited; ) {
    const { namespace = "" } = last.metadata;
    const next = await read(namespace, last.spec.retryFrom.execution, client, signal);
    if (next === undefined) {
      if (runs.some(({ spec }) => spec.input !== undefined)) break;
      const mend = "give spec.input and spec.parameters in this one";
      throw refused(
        `Execution "${last.metadata.name}" had its input from Execution "${last.spec.retryFrom.execution}", which is gone; ${mend}`,
      );
    }
    runs.push(next);
    last = next;
  }
  return runs;
}

async function read(
  namespace: string,
  name: string,
  client: Client,
  signal: AbortSignal,
): Promise<Execution | undefined> {
  try {
    return (await client.get(executions, { namespace, name }, signal)) as Execution;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

function parametersOf({ spec }: Execution): JsonObject {
  const given: [string, Json][] = (spec.parameters ?? []).map(({ name, value }) => [name, value ?? null]);
  return Object.fromEntries(given);
}

function isSamePipeline({ spec: a }: Execution, { spec: b }: Execution): boolean {
  if (a.pipeline !== b.pipeline) return false;
  return canonicalJson((a.pipelineSpec ?? null) as Json) === canonicalJson((b.pipelineSpec ?? null) as Json);
}

function pipelineOf({ spec }: Execution): string {
  return spec.pipeline === undefined ? "another pipelineSpec" : `Pipeline "${spec.pipeline}"`;
}

function refused(why: string): MillraceError {
  return new MillraceError("InvalidInput", `spec.retryFrom.execution: ${why}`);
}
