import type { Ports } from "../../engine/clock.ts";
import { ApiError, type Client, type KubernetesObject } from "../api/client.ts";
import { controllerRevisions } from "../api/kinds.ts";
import type { PipelineEntry, Register } from "../catalog.ts";
import type { Logger } from "../runtime/logger.ts";
import { runPeriodically } from "../runtime/periodic.ts";
import { type RevisionStore, revisionLabels } from "./revision.ts";

export interface RevisionSweepOptions {
  readonly client: Client;
  readonly ports: Ports;
  readonly logger: Logger;
  readonly revisions: RevisionStore;
  readonly pipelines: Register<PipelineEntry>;
  /** Whether any Execution that exists, finished or not, names the revision. */
  readonly isNamed: (namespace: string, revision: string) => boolean;
  /** Absent: all namespaces. */
  readonly namespaces?: readonly string[];
  /** Between two sweeps, give or take a tenth, in milliseconds; default 10 minutes. */
  readonly intervalMs?: number;
  /** What was made or used within that time stays: a run may be about to name it. In milliseconds, default 10 minutes. */
  readonly graceMs?: number;
}

const defaultMs = 10 * 60_000;

/**
 * Deletes revisions that nobody needs: no Execution names them, and they are not what their Pipeline compiles to now. Owner
 * references would not do: a revision outlives its Pipeline, and has as many users as Executions. Runs until `signal`
 * aborts; never rejects.
 */
export async function runRevisionSweep(options: RevisionSweepOptions, signal: AbortSignal): Promise<void> {
  const { ports, logger, intervalMs = defaultMs } = options;
  const failure = "old Pipeline revisions could not be cleaned up";
  await runPeriodically((own) => sweepRevisions(options, own), { ports, logger, intervalMs, failure }, signal);
}

/** One sweep; gives how many were deleted. Throws ApiError. */
export async function sweepRevisions(options: RevisionSweepOptions, signal: AbortSignal): Promise<number> {
  let deleted = 0;
  for (const namespace of options.namespaces ?? [undefined]) {
    for await (const revision of list(options.client, namespace, signal)) {
      if (isNeeded(revision, options)) continue;
      if (await remove(revision, options, signal)) deleted += 1;
    }
  }
  return deleted;
}

async function* list(
  client: Client,
  namespace: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<KubernetesObject> {
  const labelSelector = Object.entries(revisionLabels)
    .map(([label, value]) => `${label}=${value}`)
    .join(",");
  let page: string | undefined;
  do {
    const options = {
      labelSelector,
      ...(namespace === undefined ? {} : { namespace }),
      ...(page === undefined ? {} : { continue: page }),
    };
    const answer = await client.list(controllerRevisions, options, signal);
    yield* answer.items;
    page = answer.continue;
  } while (page !== undefined);
}

function isNeeded(revision: KubernetesObject, options: RevisionSweepOptions): boolean {
  const { namespace = "", name, creationTimestamp = "" } = revision.metadata;
  const graceMs = options.graceMs ?? defaultMs;
  if (options.isNamed(namespace, name)) return true;
  if ((options.revisions.unusedMs(namespace, name) ?? graceMs) < graceMs) return true;
  if (options.ports.clock.now() - Date.parse(creationTimestamp) < graceMs) return true;
  const pipeline = (revision.data as { readonly name?: string } | undefined)?.name ?? "";
  const state = options.pipelines.get(namespace, pipeline)?.state;
  return state?.ready === true && options.revisions.nameOf(state.pipeline) === name;
}

async function remove(
  revision: KubernetesObject,
  options: RevisionSweepOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const { namespace = "", name, uid, resourceVersion } = revision.metadata;
  options.revisions.forget(namespace, name);
  const precondition = { ...(uid && { uid }), ...(resourceVersion && { resourceVersion }) };
  try {
    await options.client.delete(controllerRevisions, { namespace, name }, precondition, signal);
    return true;
  } catch (error) {
    if (error instanceof ApiError && (error.status.code === 404 || error.status.code === 409)) return false;
    throw error;
  }
}
