import type { PayloadStore, StoredPayload } from "./store.ts";

/** What must be kept of one namespace: the digests that its Executions name. */
export type Marks = ReadonlyMap<string, ReadonlySet<string>>;

export interface SweepOptions {
  /** Wall-clock time before the marks were gathered, in milliseconds since the epoch: what was touched since then is younger than they are. */
  readonly markedAt: number;
  /** How long an unmarked payload is kept after it was last written: longer than any write may take until a status names it. In milliseconds. */
  readonly graceMs: number;
}

export interface SweepResult {
  readonly kept: number;
  readonly deleted: number;
  readonly deletedBytes: number;
}

/** Whether a payload may go: nobody names it, and nobody has just written it to name it next. */
export function isGarbage(payload: StoredPayload, marked: ReadonlySet<string>, options: SweepOptions): boolean {
  return !marked.has(payload.digest) && payload.touchedAt < cutoff(options);
}

function cutoff({ markedAt, graceMs }: SweepOptions): number {
  return markedAt - graceMs;
}

/** Deletes what no Execution names. `marks` are by namespace UID; a namespace that is not in it has no Executions. */
export async function sweep(
  store: Pick<PayloadStore, "namespaces" | "list" | "delete">,
  marks: Marks,
  options: SweepOptions,
  signal: AbortSignal,
): Promise<SweepResult> {
  const result = { kept: 0, deleted: 0, deletedBytes: 0 };
  for await (const namespaceUid of store.namespaces(signal)) {
    const marked = marks.get(namespaceUid) ?? new Set<string>();
    for await (const payload of store.list(namespaceUid, signal)) {
      // It may be touched between the listing and here: the store looks once more.
      const isGone =
        isGarbage(payload, marked, options) &&
        (await store.delete(namespaceUid, payload.digest, cutoff(options), signal));
      if (!isGone) {
        result.kept++;
        continue;
      }
      result.deleted++;
      result.deletedBytes += payload.bytes;
    }
  }
  return result;
}
