import type { Clock } from "../../../engine/clock.ts";
import type { RunError, RunEvent, StepError, StepResult } from "../../../engine/outcome.ts";
import type { PlanStep } from "../../../engine/plan.ts";
import { errorOf, withFuel } from "../../../engine/run/rules.ts";
import type { Attempt } from "../../../engine/run/run-options.ts";
import type { StepRow, StepRowProcessor } from "../../api/types.ts";
import { isFinalRow } from "../status.ts";
import { FanOut, type RecordedFanOut } from "./fan-out.ts";
import { type HolderOptions, ResultHolder } from "./held-results.ts";
import { finishedRow, type HeldResult, listedRow, retryingRow, startedRow } from "./rows.ts";
import { Storing } from "./storing.ts";

/** Digests that one row lists at most. */
const maxDigests = 16;

export interface RecorderOptions extends HolderOptions {
  readonly clock: Clock;
  /** The plan's. */
  readonly steps: readonly Pick<PlanStep, "name" | "kind" | "processor">[];
  /** Of an earlier part of the run. */
  readonly recorded: readonly StepRow[];
  /** By the names of their rows; those that have not ended. */
  readonly fanOuts?: ReadonlyMap<string, RecordedFanOut>;
  /** Called after every change that a status would show. */
  readonly onChange: () => void;
}

/** What an attempt runs on. */
type Version = { readonly generation: number; readonly digests: readonly string[] };

/**
 * Turns the engine's events into rows. A success whose payload is not durable yet still shows as running; one whose
 * payload cannot be stored is a failure of its step.
 */
export class Recorder {
  readonly #options: RecorderOptions;
  readonly #holder: ResultHolder;
  /** In the plan's order; an Enter has none. */
  readonly #rows: StepRow[];
  /** By step: the place of its row; -1 for none. */
  readonly #places: readonly number[];
  /** By step; of a fan-out, once its list is known. */
  readonly #fanOuts = new Map<number, FanOut>();
  /** Monotonic time of the first attempt's start, by step. */
  readonly #startedAtMs: (number | undefined)[] = [];
  readonly #storing = new Storing();
  readonly #recordedBefore: number;
  #isFrozen = false;
  #storeError: RunError | undefined;

  constructor(options: RecorderOptions) {
    const { steps, fanOuts } = options;
    this.#options = options;
    this.#holder = new ResultHolder(options);
    const recorded = new Map(options.recorded.map((row) => [row.name, row]));
    let rows = 0;
    this.#places = steps.map(({ kind }) => (kind === "Enter" ? -1 : rows++));
    this.#rows = steps
      .filter(({ kind }) => kind !== "Enter")
      .map(({ name }) => recorded.get(name) ?? { name, state: "Waiting" });
    steps.forEach(({ name, kind }, step) => {
      const before = kind === "Processor" ? fanOuts?.get(name) : undefined;
      if (before !== undefined) this.#fan(step, before.row.total, before.row.list ?? "", before);
    });
    this.#recordedBefore = this.#recordedCount();
  }

  /** A copy that later events do not change. Of a fan-out it shows what its manifest has. */
  get rows(): readonly StepRow[] {
    const rows = [...this.#rows];
    for (const [step, fanOut] of this.#fanOuts) {
      const place = this.#places[step] ?? -1;
      const row = rows[place];
      if (row !== undefined && !isFinalRow(row)) rows[place] = { ...row, items: fanOut.row };
    }
    return rows;
  }

  /** Whether a step or an item has ended, and is recorded in `rows`, since this part of the run began. */
  get hasNewlyRecorded(): boolean {
    return this.#recordedCount() > this.#recordedBefore;
  }

  /** The first success that turned into a failure because its payload could not be stored. */
  get storeError(): RunError | undefined {
    return this.#storeError;
  }

  /** What an attempt, or a known result, is of; and the digest of what was received. */
  used({ step, item }: Pick<Attempt, "step" | "item">, version: Version, request: string): void {
    const row = this.#row(step);
    const name = this.#options.steps[step]?.processor;
    if (row === undefined || name === undefined) return;
    const processor = withVersion(row.processor, name, version);
    if (item === undefined) this.#set(step, { ...row, processor, request });
    else {
      this.#fanOuts.get(step)?.received(item, request);
      if (processor !== row.processor) this.#set(step, { ...row, processor });
    }
  }

  /** An attempt that is recorded before it starts. */
  starting({ step, item, attempt }: Pick<Attempt, "step" | "item" | "attempt">): void {
    if (item === undefined) this.onEvent({ type: "StepStarted", step, attempt });
    else this.#fanOuts.get(step)?.started(item, attempt);
  }

  /** Takes no more events: what this process aborts itself is no outcome. What is being stored is recorded all the same. */
  freeze(): void {
    this.#isFrozen = true;
  }

  onEvent(event: RunEvent): void {
    const row = this.#row(event.step);
    if (row === undefined || this.#isFrozen) return;
    if (event.type === "StepFinished") {
      this.#finish(event.step, row, event.result);
      return;
    }
    if (event.type === "ItemFinished") {
      this.#fanOuts.get(event.step)?.finished(event.item, event.result);
      return;
    }
    this.#note(event, row);
    this.#options.onChange();
  }

  /** Makes the items that have ended durable, so that `rows` tells of them. Throws MillraceError. */
  async flush(): Promise<void> {
    for (const fanOut of this.#fanOuts.values()) await fanOut.flush();
  }

  /** Resolves when every row that can be final is. Never rejects. */
  async settled(): Promise<void> {
    for (const { storing } of this.#fanOuts.values()) await storing.settled();
    await this.#storing.settled();
  }

  /** Resolves when the step's next result can be stored: work waits for the store instead of heaping up before it. */
  async room(step: number): Promise<void> {
    await (this.#fanOuts.get(step)?.storing ?? this.#storing).room();
  }

  /** Puts messages of more than `maxBytes` into the store, for a status that will cut them. Never rejects. */
  async keepMessages(maxBytes: number): Promise<void> {
    for (const [place, row] of this.#rows.entries()) {
      const { name, error } = row;
      if (!isFinalRow(row) || error === undefined || error.full !== undefined) continue;
      const full = await this.#holder.message(name, error.message, maxBytes);
      if (full !== undefined) this.#rows[place] = { ...row, error: { ...error, full } };
    }
  }

  #note(event: Exclude<RunEvent, { type: "StepFinished" | "ItemFinished" }>, row: StepRow): void {
    const { step } = event;
    const nowMs = this.#options.clock.now();
    switch (event.type) {
      case "StepStarted":
        this.#startedAtMs[step] ??= this.#startOf(row);
        this.#set(step, startedRow(row, event.attempt, nowMs));
        return;
      case "StepRetrying":
        this.#set(step, retryingRow(row, event.attempt, event.error));
        return;
      case "ItemsListed":
        this.#startedAtMs[step] ??= this.#startOf(row);
        this.#set(step, listedRow(row, nowMs));
        if (!this.#fanOuts.has(step)) this.#fan(step, event.total, event.digest);
        return;
      case "ItemStarted":
        // A first attempt is counted when it has ended: ten thousand starts need no records.
        if (event.attempt > 1) this.#fanOuts.get(step)?.started(event.item, event.attempt);
        return;
      case "ItemRetrying":
        this.#fanOuts.get(step)?.retrying(event.item, event.attempt, event.error);
        return;
    }
  }

  #row(step: number): StepRow | undefined {
    return this.#rows[this.#places[step] ?? -1];
  }

  #set(step: number, row: StepRow): void {
    this.#rows[this.#places[step] ?? -1] = row;
  }

  #fan(step: number, total: number, list: string, recorded?: RecordedFanOut): void {
    const { steps, store, signal, onChange } = this.#options;
    const stepName = steps[step]?.name ?? "";
    const onStoreError = (error: StepError) => this.#failedToStore(stepName, error);
    const common = { step, stepName, total, list, holder: this.#holder, store, signal, onChange, onStoreError };
    this.#fanOuts.set(step, new FanOut({ ...common, ...(recorded && { recorded }) }));
  }

  #recordedCount(): number {
    let count = this.#rows.filter(isFinalRow).length;
    for (const { row } of this.#fanOuts.values()) count += row.succeeded + row.failed + (row.cancelled ?? 0);
    return count;
  }

  /** On the monotonic clock; a run that is resumed goes by the time of day that its row tells. */
  #startOf({ startTime }: StepRow): number {
    const { clock } = this.#options;
    return clock.monotonic() - (startTime === undefined ? 0 : Math.max(0, clock.now() - Date.parse(startTime)));
  }

  #finish(step: number, row: StepRow, result: StepResult): void {
    const durationMs = this.#options.clock.monotonic() - (this.#startedAtMs[step] ?? this.#startOf(row));
    const end = (how: StepResult, held: HeldResult) => {
      this.#set(step, finishedRow(this.#row(step) ?? row, how, held, durationMs));
      this.#options.onChange();
    };
    const held = this.#hold(step, row.name, result);
    if (!(held instanceof Promise)) {
      end(result, held);
      return;
    }
    const refuse = (thrown: unknown) => {
      const error = errorOf(thrown);
      this.#failedToStore(row.name, error);
      // Items that are recorded can be taken over still, by a resume or by `retryFrom`.
      const items = this.#fanOuts.get(step)?.row;
      const { attempts, fuel } = result.state === "Skipped" ? { attempts: 0 } : result;
      end(withFuel({ state: "Failed", error, attempts }, fuel), { ...(items && { items }) });
    };
    this.#storing.add(held.then((stored) => end(result, stored), refuse));
  }

  #hold(step: number, stepName: string, result: StepResult): HeldResult | Promise<HeldResult> {
    const held = this.#holder.step({ step, stepName }, result);
    const fanOut = this.#fanOuts.get(step);
    if (fanOut === undefined) return held;
    return Promise.all([held, fanOut.settled()]).then(([stored]) => ({ ...stored, items: fanOut.row }));
  }

  #failedToStore(step: string, error: StepError): void {
    this.#storeError ??= { ...error, step };
  }
}

/** The very same when there is nothing new in it. */
function withVersion(before: StepRowProcessor | undefined, name: string, version: Version): StepRowProcessor {
  const known = before?.digests ?? [];
  const isKnown = version.digests.every((digest) => known.includes(digest));
  if (before !== undefined && isKnown && before.generation === version.generation) return before;
  const digests = [...new Set([...known, ...version.digests])].slice(-maxDigests);
  return { name, generation: version.generation, ...(digests.length === 0 ? {} : { digests }) };
}
