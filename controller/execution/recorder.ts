import type { Clock } from "../../engine/clock.ts";
import type { RunError, RunEvent, StepReason, StepResult } from "../../engine/outcome.ts";
import type { Payload } from "../../engine/payload.ts";
import { errorOf } from "../../engine/rules.ts";
import type { PayloadRow, StepRow } from "../api/types.ts";
import type { RunPayloads } from "./payloads.ts";
import { finishedRow, isFinalRow, retryingRow, startedRow } from "./status.ts";

/** Digests that one row lists at most. */
const maxDigests = 16;

export interface RecorderOptions {
  readonly clock: Clock;
  readonly payloads: Pick<RunPayloads, "row">;
  /** Aborts what is being stored. */
  readonly signal: AbortSignal;
  readonly steps: readonly { readonly name: string; readonly processor: string }[];
  /** Of an earlier part of the run. */
  readonly recorded: readonly StepRow[];
  /** Called after every change that a status would show. */
  readonly onChange: () => void;
}

/**
 * Turns the engine's events into rows. A success whose payload is not durable yet still shows as running; one whose
 * payload cannot be stored is a failure of its step.
 */
export class Recorder {
  readonly #options: RecorderOptions;
  readonly #rows: StepRow[];
  /** Monotonic time of the first attempt's start, by step. */
  readonly #startedAtMs: (number | undefined)[] = [];
  readonly #storing = new Set<Promise<void>>();
  readonly #finalBefore: number;
  #isFrozen = false;
  #storeError: RunError | undefined;

  constructor(options: RecorderOptions) {
    this.#options = options;
    const recorded = new Map(options.recorded.map((row) => [row.name, row]));
    this.#rows = options.steps.map(({ name }) => recorded.get(name) ?? { name, state: "Waiting" });
    this.#finalBefore = this.#rows.filter(isFinalRow).length;
  }

  /** A copy that later events do not change. */
  get rows(): readonly StepRow[] {
    return [...this.#rows];
  }

  /** Whether a step has ended, and is recorded in `rows`, since this part of the run began. */
  get hasNewlyRecorded(): boolean {
    return this.#rows.filter(isFinalRow).length > this.#finalBefore;
  }

  /** The first success that turned into a failure because its payload could not be stored. */
  get storeError(): RunError | undefined {
    return this.#storeError;
  }

  /** What an attempt runs on, for the row. */
  used(step: number, version: { readonly generation: number; readonly digests: readonly string[] }): void {
    const row = this.#rows[step];
    const name = this.#options.steps[step]?.processor;
    if (row === undefined || name === undefined) return;
    const digests = [...new Set([...(row.processor?.digests ?? []), ...version.digests])].slice(-maxDigests);
    const processor = { name, generation: version.generation, ...(digests.length === 0 ? {} : { digests }) };
    this.#rows[step] = { ...row, processor };
  }

  /** Takes no more events: what this process aborts itself is no outcome. What is being stored is recorded all the same. */
  freeze(): void {
    this.#isFrozen = true;
  }

  onEvent(event: RunEvent): void {
    const { clock, onChange } = this.#options;
    const row = this.#rows[event.step];
    if (row === undefined || this.#isFrozen) return;
    if (event.type === "StepStarted") {
      this.#startedAtMs[event.step] ??= this.#startOf(row);
      const { error: _error, ...rest } = row;
      this.#rows[event.step] = startedRow(rest, event.attempt, clock.now());
    } else if (event.type === "StepRetrying") {
      this.#rows[event.step] = retryingRow(row, event.attempt, event.error);
    } else {
      this.#finish(event.step, row, event.result);
      return;
    }
    onChange();
  }

  /** Resolves when every row that can be final is. Never rejects. */
  async settled(): Promise<void> {
    while (this.#storing.size > 0) await Promise.all(this.#storing);
  }

  /** On the monotonic clock; a run that is resumed goes by the time of day that its row tells. */
  #startOf({ startTime }: StepRow): number {
    const { clock } = this.#options;
    return clock.monotonic() - (startTime === undefined ? 0 : Math.max(0, clock.now() - Date.parse(startTime)));
  }

  #finish(step: number, row: StepRow, result: StepResult): void {
    const { clock, payloads, signal } = this.#options;
    const durationMs = clock.monotonic() - (this.#startedAtMs[step] ?? this.#startOf(row));
    const end = (how: StepResult, output?: PayloadRow) => {
      this.#rows[step] = finishedRow(this.#rows[step] ?? row, how, output, durationMs);
      this.#options.onChange();
    };
    if (result.state !== "Succeeded") {
      end(result);
      return;
    }
    const output = payloads.row(result.output, signal);
    if (!(output instanceof Promise)) {
      end(result, output);
      return;
    }
    const refuse = (thrown: unknown) => {
      const error = errorOf(thrown);
      this.#storeError ??= { ...error, step: row.name };
      end({ state: "Failed", error, attempts: result.attempts });
    };
    const storing = output.then((stored) => end(result, stored), refuse).finally(() => this.#storing.delete(storing));
    this.#storing.add(storing);
  }
}

/** What an earlier part of a run recorded, as the engine takes it back. */
export interface Recorded {
  readonly results: ReadonlyMap<string, StepResult>;
  readonly attempts: ReadonlyMap<string, number>;
}

/** Rows that ended become results that are not run again; of the others the attempts count on. */
export async function resumed(rows: readonly StepRow[], payloads: RunPayloads, signal: AbortSignal): Promise<Recorded> {
  const results = new Map<string, StepResult>();
  const attempts = new Map<string, number>();
  for (const row of rows) {
    if (isFinalRow(row)) results.set(row.name, resultOf(row, row.output && (await payloads.open(row.output, signal))));
    else if (row.attempts !== undefined) attempts.set(row.name, row.attempts);
  }
  return { results, attempts };
}

function resultOf(row: StepRow, output: Payload | undefined): StepResult {
  const attempts = row.attempts ?? 1;
  if (row.state === "Succeeded" && output !== undefined) {
    return { state: "Succeeded", output, metadata: row.metadata ?? {}, attempts };
  }
  if (row.state === "Failed" && row.error !== undefined) return { state: "Failed", error: row.error, attempts };
  // Rows are written by this file's other half alone: a reason is one of the engine's.
  const reason = (row.reason ?? "Cancelled") as StepReason;
  return row.state === "Skipped" ? { state: "Skipped", reason } : { state: "Cancelled", reason, attempts };
}
