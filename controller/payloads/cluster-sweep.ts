import type { Ports } from "../../engine/clock.ts";
import type { Client } from "../api/client.ts";
import { executions } from "../api/kinds.ts";
import type { Logger } from "../runtime/logger.ts";
import { runPeriodically } from "../runtime/periodic.ts";
import type { NamespaceUids } from "./namespaces.ts";
import type { PayloadStore } from "./store.ts";
import { sweep } from "./sweep.ts";

export interface PayloadSweepOptions {
  readonly client: Client;
  readonly ports: Ports;
  readonly logger: Logger;
  readonly store: PayloadStore;
  readonly uids: NamespaceUids;
  /** Empty: all. Else nothing of other namespaces is touched: other controllers may share the store. */
  readonly namespaces: readonly string[];
  /** Between two sweeps, give or take a tenth, in milliseconds; default one hour. */
  readonly intervalMs?: number;
  /** What was touched within that time stays, in milliseconds; default one hour: longer than any status write may be late. */
  readonly graceMs?: number;
}

const defaultMs = 60 * 60_000;

/** An Execution's rows may take half a megabyte: few at a time. */
const pageSize = 50;

/** Deletes payloads that no Execution names. Runs until `signal` aborts; never rejects. */
export async function runPayloadSweep(options: PayloadSweepOptions, signal: AbortSignal): Promise<void> {
  const { ports, logger, intervalMs = defaultMs } = options;
  const failure = "old payloads could not be cleaned up";
  await runPeriodically((own) => sweepPayloads(options, own), { ports, logger, intervalMs, failure }, signal);
}

/** One sweep. Throws ApiError, MillraceError. */
export async function sweepPayloads(options: PayloadSweepOptions, signal: AbortSignal): Promise<void> {
  const { ports, store, logger, graceMs = defaultMs } = options;
  const markedAt = ports.clock.now();
  const marks = await gatherMarks(options, signal);
  const swept = await sweep(scoped(store, options, marks), marks, { markedAt, graceMs }, signal);
  if (swept.deleted > 0) logger.info({ ...swept }, "cleaned up payloads that no Execution names");
}

/** The digests that Executions name, by namespace UID. */
async function gatherMarks(options: PayloadSweepOptions, signal: AbortSignal): Promise<Map<string, Set<string>>> {
  const marks = new Map<string, Set<string>>();
  for (const namespace of options.namespaces) marks.set(await options.uids.uidOf(namespace, signal), new Set());
  for (const namespace of options.namespaces.length === 0 ? [undefined] : options.namespaces) {
    let page: string | undefined;
    do {
      const scope = namespace === undefined ? {} : { namespace };
      const at = page === undefined ? {} : { continue: page };
      const answer = await options.client.list(executions, { limit: pageSize, ...scope, ...at }, signal);
      for (const { metadata, status } of answer.items) {
        const uid = await options.uids.uidOf(metadata.namespace ?? "", signal);
        const marked = marks.get(uid) ?? new Set();
        marks.set(uid, marked);
        markDigests(status, marked);
      }
      page = answer.continue;
    } while (page !== undefined);
  }
  return marks;
}

/** Every digest, wherever the status has one: one too many keeps a payload a little longer, one too few loses it. */
function markDigests(value: unknown, marked: Set<string>): void {
  if (typeof value === "string") {
    if (value.startsWith("sha256:")) marked.add(value);
  } else if (typeof value === "object" && value !== null) {
    for (const child of Object.values(value)) markDigests(child, marked);
  }
}

function scoped(
  store: PayloadStore,
  { namespaces }: PayloadSweepOptions,
  marks: ReadonlyMap<string, unknown>,
): Pick<PayloadStore, "namespaces" | "list" | "delete"> {
  return {
    async *namespaces(signal) {
      for await (const uid of store.namespaces(signal)) if (namespaces.length === 0 || marks.has(uid)) yield uid;
    },
    list: (uid, signal) => store.list(uid, signal),
    delete: (uid, digest, touchedBefore, signal) => store.delete(uid, digest, touchedBefore, signal),
  };
}
