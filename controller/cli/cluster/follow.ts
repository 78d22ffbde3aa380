import { type Scheduler, sleep } from "../../../engine/clock.ts";
import { ApiError, type Client } from "../../api/client.ts";
import { executions } from "../../api/kinds.ts";
import type { Execution } from "../../api/types.ts";
import { isGone, isTransient } from "../../runtime/api-errors.ts";

const watchSeconds = 300;

const againMs = 1_000;

/**
 * Each version that the API server shows, from now on until the object is deleted; lists and watches again where a watch ends, or
 * the server is away. Throws ApiError where it may not be watched, and the signal's reason.
 */
export async function* follow(
  client: Client,
  execution: Execution,
  scheduler: Scheduler,
  signal: AbortSignal,
): AsyncGenerator<Execution, void> {
  for (;;) {
    try {
      yield* watched(client, execution, signal);
      return;
    } catch (error) {
      if (!isGone(error) && !isAway(error)) throw error;
      await sleep(againMs, scheduler, signal);
    }
  }
}

/** Throws ApiError; Gone where the watch ended. */
async function* watched(client: Client, execution: Execution, signal: AbortSignal): AsyncGenerator<Execution, void> {
  const { name, namespace = "", uid } = execution.metadata;
  const which = { namespace, fieldSelector: `metadata.name=${name}` };
  const { items, resourceVersion } = await client.list(executions, which, signal);
  const found = items.find(({ metadata }) => metadata.uid === uid);
  if (found === undefined) return;
  yield found as Execution;
  const watch = { ...which, resourceVersion, timeoutSeconds: watchSeconds };
  for await (const event of client.watch(executions, watch, signal)) {
    if (event.type === "DELETED" && event.object.metadata.uid === uid) return;
    if (event.type === "ADDED" || event.type === "MODIFIED") yield event.object as Execution;
    if (event.type === "ERROR") break;
  }
  throw new ApiError({ code: 410, reason: "Gone", message: "the watch ended" });
}

/** It may come back: what is followed runs on. */
function isAway(error: unknown): boolean {
  return isTransient(error) && (error as ApiError).status.code !== 401;
}
