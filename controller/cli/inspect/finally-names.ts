import { ApiError } from "../../api/client.ts";
import { controllerRevisions } from "../../api/kinds.ts";
import type { Execution } from "../../api/types.ts";
import type { PipelineClosure } from "../../catalog.ts";
import type { Cluster } from "../cluster/cluster.ts";

/**
 * Which rows are of `finally`, as the Execution's own Pipeline or the revision it started with says. None where that
 * may not be read: then they stand among the others. Throws ApiError for all else.
 */
export async function finallyNames(
  { client, namespace }: Cluster,
  { spec, status }: Execution,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  if (spec.pipelineSpec !== undefined) return finallyNamesOf(spec.pipelineSpec);
  if (status?.pipelineRevision === undefined) return new Set();
  try {
    const revision = await client.get(controllerRevisions, { namespace, name: status.pipelineRevision }, signal);
    return finallyNamesOf((revision.data as Partial<PipelineClosure> | undefined)?.spec);
  } catch (error) {
    if (error instanceof ApiError && [403, 404].includes(error.status.code)) return new Set();
    throw error;
  }
}

/** Those of a Pipeline's spec. */
export function finallyNamesOf(
  spec: { readonly finally?: readonly { readonly name: string }[] } | undefined,
): ReadonlySet<string> {
  return new Set(spec?.finally?.map(({ name }) => name));
}
