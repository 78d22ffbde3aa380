import type { ItemResult, SkipReason, StepResult, SuccessReason } from "../../../engine/outcome.ts";
import type { Payload } from "../../../engine/payload.ts";
import { withFuel } from "../../../engine/run/rules.ts";
import type { Recorded, RecordedItems } from "../../../engine/run/run-options.ts";
import type { StepRow } from "../../api/types.ts";
import type { ItemRecord } from "../../payloads/manifest.ts";
import type { RecordedFanOut } from "../recording/fan-out.ts";
import type { RunPayloads } from "../recording/payloads.ts";
import { isFinalRow } from "../status.ts";

/** What an earlier part of a run recorded. */
export interface Resumed {
  /** As the engine takes it back. */
  readonly recorded: Omit<Recorded, "elapsedMs">;
  /** As the recorder does: fan-outs that have not ended, by the names of their rows. */
  readonly fanOuts: ReadonlyMap<string, RecordedFanOut>;
}

/** Rows that ended become results that are not run again; of the others the attempts count on. Throws MillraceError PayloadLost. */
export async function resumed(rows: readonly StepRow[], payloads: RunPayloads, signal: AbortSignal): Promise<Resumed> {
  const results = new Map<string, StepResult>();
  const attempts = new Map<string, number>();
  const items = new Map<string, RecordedItems>();
  const fanOuts = new Map<string, RecordedFanOut>();
  for (const row of rows) {
    const { name } = row;
    if (isFinalRow(row)) results.set(name, await resultOf(row, payloads, signal));
    else if (row.items !== undefined) {
      const { results: manifest } = row.items;
      const records = manifest === undefined ? [] : await Array.fromAsync(payloads.items(manifest, signal));
      fanOuts.set(name, { row: row.items, records });
      items.set(name, await itemsOf(row.items, records, payloads, signal));
    } else if (row.attempts !== undefined) attempts.set(name, row.attempts);
  }
  return { recorded: { results, attempts, items }, fanOuts };
}

async function resultOf(row: StepRow, payloads: RunPayloads, signal: AbortSignal): Promise<StepResult> {
  const attempts = row.attempts ?? 1;
  if (row.state === "Succeeded" && row.output !== undefined) {
    const output = await payloads.open(row.output, signal);
    const metadata = await payloads.openMetadata(row, signal);
    const known = knownReason(row.reason);
    return withFuel({ state: "Succeeded", output, metadata, attempts, ...known }, row.fuel);
  }
  if (row.state === "Failed" && row.error !== undefined) {
    const { full: _full, ...error } = row.error;
    const ignored = row.reason === "Ignored" ? ({ reason: "Ignored" } as const) : {};
    return withFuel({ state: "Failed", error, attempts, ...ignored }, row.fuel);
  }
  // Rows are written by the recorder alone: a reason is one of the engine's.
  const reason = (row.reason ?? "Cancelled") as SkipReason;
  if (row.state === "Skipped") return { state: "Skipped", reason };
  return withFuel({ state: "Cancelled", reason, attempts }, row.fuel);
}

async function itemsOf(
  { total, list = "" }: RecordedFanOut["row"],
  records: readonly ItemRecord[],
  payloads: RunPayloads,
  signal: AbortSignal,
): Promise<RecordedItems> {
  const results = new Map<number, ItemResult>();
  const attempts = new Map<number, number>();
  for (const record of records) {
    const result = itemResult(record, record.output && (await payloads.borrow(record.output, signal)));
    if (result === undefined) attempts.set(record.index, record.attempts);
    else results.set(record.index, result);
  }
  return { digest: list, total, results, attempts };
}

/** Undefined: it had not ended. */
function itemResult(record: ItemRecord, output: Payload | undefined): ItemResult | undefined {
  const { state, attempts, fuel, reason, error, metadata = {} } = record;
  if (state === "Succeeded" && output !== undefined) {
    return withFuel({ state, output, metadata, attempts, ...knownReason(reason) }, fuel);
  }
  if (state === "Failed" && error !== undefined) {
    return withFuel({ state, error, attempts, ...(reason === "Ignored" ? { reason } : {}) }, fuel);
  }
  if (state === "Cancelled") return withFuel({ state, reason: (reason ?? "Cancelled") as SkipReason, attempts }, fuel);
  return undefined;
}

function knownReason(reason: string | undefined): { readonly reason?: SuccessReason } {
  return reason === "Cached" || reason === "Reused" ? { reason } : {};
}
