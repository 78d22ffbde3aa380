import { toMillraceError } from "../../../engine/errors.ts";
import type { Work } from "../../../engine/run/run-options.ts";
import type { ExecutionStatus, StepRow } from "../../api/types.ts";
import type { ItemRecord } from "../../payloads/manifest.ts";
import type { RunPayloads } from "../recording/payloads.ts";

/** What a step of the earlier run is remembered by. */
type EarlierRow = Pick<
  StepRow,
  "state" | "request" | "output" | "metadata" | "metadataPayload" | "processor" | "items"
>;

/** What a step or an item gave in the earlier run, as it was recorded. */
type Recorded = Pick<EarlierRow, "state" | "request" | "output" | "metadata" | "metadataPayload">;

/** What is asked for: the same request, answered by the same code. */
export interface Wanted {
  readonly work: Pick<Work, "stepName" | "item">;
  readonly request: string;
  /** Of the Processor as it is loaded now. */
  readonly digests: readonly string[];
  /** Its payload passes through: there is no output to look for. */
  readonly passes: boolean;
}

/** The run that `retryFrom` names, as far as its results can be taken over. */
export class EarlierRun {
  readonly #rows: ReadonlyMap<string, EarlierRow>;
  /** By step: the manifest's records by index, read when the first item asks. */
  readonly #items = new Map<string, Promise<ReadonlyMap<number, ItemRecord>>>();

  constructor({ steps = [] }: ExecutionStatus) {
    const useful = steps.filter(({ state, items }) => state === "Succeeded" || items?.results !== undefined);
    this.#rows = new Map(
      useful.map((row) => {
        const { name, startTime: _start, durationMs: _duration, fuel: _fuel, log: _log, error: _error, ...rest } = row;
        return [name, rest];
      }),
    );
  }

  /** Whether there is anything to look at for a step. */
  knows(stepName: string): boolean {
    return this.#rows.has(stepName);
  }

  /** Undefined: it has to be run. Throws MillraceError when the store cannot be read. */
  async find({ work, request, digests, passes }: Wanted, payloads: RunPayloads, signal: AbortSignal) {
    const row = this.#rows.get(work.stepName);
    if (row === undefined || !isSameCode(row.processor?.digests, digests)) return undefined;
    const found: Recorded | undefined =
      work.item === undefined ? row : (await this.#itemsOf(work.stepName, row, payloads, signal)).get(work.item);
    if (found?.state !== "Succeeded" || found.request !== request) return undefined;
    if (passes) return { metadata: await payloads.borrowMetadata(found, signal) };
    if (found.output === undefined || !(await payloads.isIntact(found.output, signal))) return undefined;
    const output = await payloads.borrow(found.output, signal);
    return { output, metadata: await payloads.borrowMetadata(found, signal) };
  }

  #itemsOf(
    stepName: string,
    { items }: EarlierRow,
    payloads: RunPayloads,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<number, ItemRecord>> {
    const known = this.#items.get(stepName);
    if (known !== undefined) return known;
    const reading = this.#readItems(items, payloads, signal);
    this.#items.set(stepName, reading);
    // The next item asks again: a store that is away for a moment must not cost the results of all others.
    reading.catch(() => this.#items.delete(stepName));
    return reading;
  }

  async #readItems(
    items: EarlierRow["items"],
    payloads: RunPayloads,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<number, ItemRecord>> {
    const records = new Map<number, ItemRecord>();
    if (items?.results === undefined) return records;
    try {
      for await (const record of payloads.items(items.results, signal)) {
        if (record.state === "Succeeded") records.set(record.index, record);
      }
    } catch (error) {
      // What is lost stays lost: those items are run, and nobody asks for each of them again.
      if (toMillraceError(error).code !== "PayloadLost") throw error;
    }
    return records;
  }
}

/** Code without a digest is never known to be the same. */
function isSameCode(recorded: readonly string[] = [], current: readonly string[]): boolean {
  const before = new Set(recorded);
  return before.size > 0 && before.size === new Set(current).size && current.every((digest) => before.has(digest));
}
