import type { ItemResult, StepError } from "../../../engine/outcome.ts";
import { errorOf, withFuel } from "../../../engine/run/rules.ts";
import type { FanOutRow, ItemFailure } from "../../api/types.ts";
import type { ItemRecord, ManifestWriter } from "../../payloads/manifest.ts";
import { defined } from "../objects.ts";
import { shortened } from "../status.ts";
import type { HeldItem, ResultHolder } from "./held-results.ts";
import { IndexSet } from "./index-set.ts";
import { type RunPayloads, refRow } from "./payloads.ts";
import { Storing } from "./storing.ts";

/** Failed items that a row names. */
const maxFailures = 16;

/** What a failed item's message keeps in the row; in bytes. */
const maxFailureBytes = 160;

/** What it keeps in the item's record; in bytes. */
const maxRecordedMessageBytes = 4096;

/** The longest `done` that a row may have. */
const maxDoneLength = 32_768;

/** What an earlier part of a run recorded of a fan-out that had not ended. */
export interface RecordedFanOut {
  readonly row: FanOutRow;
  readonly records: readonly ItemRecord[];
}

export interface FanOutOptions {
  readonly step: number;
  readonly stepName: string;
  readonly total: number;
  /** The list's digest. */
  readonly list: string;
  readonly recorded?: RecordedFanOut;
  readonly holder: ResultHolder;
  /** Where the manifest goes; absent: the row names no results. */
  readonly store: RunPayloads | undefined;
  /** Aborts what is being stored. */
  readonly signal: AbortSignal;
  /** Called after every change that a status would show. */
  readonly onChange: () => void;
  /** A success has turned into a failure because it could not be stored. */
  readonly onStoreError: (error: StepError) => void;
}

/**
 * The items of one fan-out, as its row and its manifest tell of them. Records are gathered and written together: the row
 * shows what the manifest that it names has, and no more.
 */
export class FanOut {
  /** Results whose records are not complete yet. */
  readonly storing = new Storing();
  readonly #options: FanOutOptions;
  readonly #done: IndexSet;
  /** Those of the lowest indices, in order. */
  readonly #failures: ItemFailure[] = [];
  /** What items in flight have received, by index. */
  readonly #requests = new Map<number, string>();
  #succeeded = 0;
  #failed = 0;
  #cancelled = 0;
  /** Of those that succeeded: which needed no attempt. */
  readonly #known = { Cached: 0, Reused: 0 };
  /** Not given to the writer yet; the newest of each item. */
  #pending = new Map<number, ItemRecord>();
  #writer: ManifestWriter | undefined;
  #writing: Promise<void> | undefined;
  #row: FanOutRow;

  constructor(options: FanOutOptions) {
    this.#options = options;
    this.#done = new IndexSet(options.total);
    for (const record of options.recorded?.records ?? []) this.#count(record);
    this.#row = options.recorded?.row ?? this.#shown();
  }

  /** As of the last flush. */
  get row(): FanOutRow {
    return this.#row;
  }

  /** An attempt that must not be forgotten: its number counts, or it must not be made again. */
  started(item: number, attempt: number): void {
    this.#pending.set(item, { index: item, state: "Running", attempts: attempt });
  }

  retrying(item: number, attempt: number, error: StepError): void {
    this.#pending.set(item, { index: item, state: "Retrying", attempts: attempt, error: recordedError(error) });
  }

  /** The digest of what an item received, for its record. */
  received(item: number, request: string): void {
    this.#requests.set(item, request);
  }

  /** An item has ended; its record follows when all that it names is durable. */
  finished(item: number, result: ItemResult): void {
    const { step, stepName, holder, onStoreError } = this.#options;
    const held = holder.item({ step, stepName, item }, result);
    if (!(held instanceof Promise)) {
      this.#record(item, result, held);
      return;
    }
    const refuse = (thrown: unknown) => {
      const error = errorOf(thrown);
      onStoreError(error);
      this.#record(item, withFuel({ state: "Failed", error, attempts: result.attempts }, result.fuel), {});
    };
    this.storing.add(held.then((stored) => this.#record(item, result, stored), refuse));
  }

  /** Resolves when all items that have ended are recorded. Throws MillraceError. */
  async settled(): Promise<void> {
    await this.storing.settled();
    await this.flush();
  }

  /** Makes everything so far durable; then the row shows it. Throws MillraceError; then the next flush has it to do. */
  async flush(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing.catch(() => undefined);
    if (this.#pending.size === 0) return;
    this.#writing = this.#write();
    try {
      await this.#writing;
    } finally {
      this.#writing = undefined;
    }
  }

  #record(item: number, result: ItemResult, held: HeldItem): void {
    const record = defined<ItemRecord>({
      index: item,
      state: result.state,
      attempts: result.attempts,
      fuel: result.fuel,
      reason: result.reason,
      output: held.output,
      metadata: result.state === "Succeeded" && Object.keys(result.metadata).length > 0 ? result.metadata : undefined,
      error: result.state === "Failed" ? recordedError(result.error) : undefined,
      log: held.log,
      request: this.#requests.get(item),
    });
    this.#requests.delete(item);
    this.#count(record);
    this.#pending.set(item, record);
    this.#options.onChange();
  }

  async #write(): Promise<void> {
    const { store, signal, recorded } = this.#options;
    const pending = this.#pending;
    const shown = this.#shown();
    this.#pending = new Map();
    if (store === undefined) {
      this.#row = shown;
      return;
    }
    try {
      this.#writer ??= await store.manifest(recorded?.row.results, signal);
      await this.#writer.add([...pending.values()], signal);
      this.#row = { ...shown, results: refRow(await this.#writer.flush(signal)) };
    } catch (error) {
      this.#pending = new Map([...pending, ...this.#pending]);
      throw error;
    }
  }

  #count({ index, state, reason, error }: ItemRecord): void {
    if (state === "Succeeded") this.#succeeded++;
    else if (state === "Failed") this.#failed++;
    else if (state === "Cancelled") this.#cancelled++;
    else return;
    this.#done.add(index);
    if (reason === "Cached" || reason === "Reused") this.#known[reason]++;
    if (state === "Failed" && error !== undefined) this.#name(index, error);
  }

  #name(index: number, { code, message, processorCode }: StepError): void {
    const place = this.#failures.findLastIndex((failure) => failure.index < index) + 1;
    if (place >= maxFailures) return;
    const own = processorCode === undefined ? {} : { processorCode };
    this.#failures.splice(place, 0, { index, code, message: shortened(message, maxFailureBytes), ...own });
    this.#failures.length = Math.min(this.#failures.length, maxFailures);
  }

  #shown(): FanOutRow {
    const done = this.#done.toString();
    return defined<FanOutRow>({
      total: this.#options.total,
      succeeded: this.#succeeded,
      failed: this.#failed,
      cancelled: countOf(this.#cancelled),
      cached: countOf(this.#known.Cached),
      reused: countOf(this.#known.Reused),
      done: done === "" || done.length > maxDoneLength ? undefined : done,
      list: this.#options.list,
      failures: this.#failures.length === 0 ? undefined : [...this.#failures],
    });
  }
}

/** None is not said. */
function countOf(count: number): number | undefined {
  return count === 0 ? undefined : count;
}

function recordedError(error: StepError): StepError {
  return { ...error, message: shortened(error.message, maxRecordedMessageBytes) };
}
