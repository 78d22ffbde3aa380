import type { Clock } from "../../../engine/clock.ts";
import type { Execution, ExecutionOwner, ExecutionStatus, NamedOutputRow, PayloadRow } from "../../api/types.ts";
import { timestamp } from "../../runtime/conditions.ts";
import type { StatusWriter } from "../../runtime/status-writer.ts";
import { activeMs, ranFor, runningFor } from "../active.ts";
import { type OwnedStatus, OwnedStatusWriter, type Written } from "../ownership.ts";
import type { Recorder } from "../recording/recorder.ts";
import type { CachedExecution } from "../slim.ts";
import { cancelledRows, renderStatus, type Verdict } from "../status.ts";
import { bareRows, type Fitted, fitted, isComfortable, shortMessageBytes } from "./fitted.ts";

/** What a run that succeeded gave, as a status holds it. */
export interface Gave {
  readonly output?: PayloadRow;
  readonly outputs?: readonly NamedOutputRow[];
}

export interface RunStatusOptions {
  /** As it was last read, without what is large. */
  readonly execution: CachedExecution;
  readonly pipelineRevision?: string;
  readonly writer: StatusWriter;
  readonly clock: Clock;
}

/** One run's status: made of its recorder's rows, and written by its owner. */
export class RunStatus {
  readonly #options: RunStatusOptions;
  readonly #writer: OwnedStatusWriter;
  readonly #startTime: string;
  readonly #startedAtMs: number;
  readonly #ranBeforeMs: number;
  #generation: number;
  /** As our last write left them. */
  #conditions: ExecutionStatus["conditions"];

  constructor(options: RunStatusOptions) {
    const { execution, writer, clock } = options;
    this.#options = options;
    this.#writer = new OwnedStatusWriter(writer, execution);
    this.#startTime = execution.status?.startTime ?? timestamp(clock.now());
    this.#startedAtMs = clock.monotonic();
    this.#ranBeforeMs = activeMs(execution.status ?? {}, clock.now());
    this.#generation = execution.metadata.generation ?? 1;
  }

  /** How long the run has been running, its earlier parts included; in milliseconds. */
  get activeMs(): number {
    return this.#ranBeforeMs + this.hereMs;
  }

  /** How long it has been running in this process, in milliseconds. */
  get hereMs(): number {
    return this.#options.clock.monotonic() - this.#startedAtMs;
  }

  /** Whether there is an edit of the spec that the status has yet to say it has seen. */
  observe({ metadata: { generation = 1 } }: Execution): boolean {
    if (generation <= this.#generation) return false;
    this.#generation = generation;
    return true;
  }

  /** The status within its limits. What its messages lose is in the store then. */
  async fitted(
    verdict: Verdict,
    owner: ExecutionOwner,
    recorder: Recorder,
    gave: Gave = {},
  ): Promise<Fitted<OwnedStatus>> {
    const status = this.#render(verdict, owner, recorder, gave);
    if (isComfortable(status)) return { status };
    await recorder.keepMessages(shortMessageBytes);
    return fitted(this.#render(verdict, owner, recorder, gave));
  }

  /** An outcome with as little as possible. */
  bare(verdict: Verdict, owner: ExecutionOwner, recorder: Recorder): OwnedStatus {
    const status = this.#render(verdict, owner, recorder, {});
    // One that takes a pause's place finds rows that have not ended.
    return { ...status, steps: bareRows(cancelledRows(status.steps ?? [], "Cancelled")) };
  }

  /** See {@link OwnedStatusWriter}. */
  async write(status: OwnedStatus, signal: AbortSignal): Promise<Written> {
    const written = await this.#writer.write(status, signal);
    if (written.kind === "Written") this.#conditions = written.execution.status?.conditions;
    return written;
  }

  #render(verdict: Verdict, owner: ExecutionOwner, { rows }: Recorder, gave: Gave): OwnedStatus {
    const { execution, pipelineRevision, clock } = this.#options;
    const nowMs = clock.now();
    const facts = {
      verdict,
      generation: this.#generation,
      conditions: this.#conditions ?? execution.status?.conditions ?? [],
      rows,
      startTime: this.#startTime,
      active: verdict.phase === "Running" ? runningFor(this.activeMs, nowMs) : ranFor(this.activeMs),
      ...(pipelineRevision === undefined ? {} : { pipelineRevision }),
      ...gave,
    };
    return { ...renderStatus(facts, nowMs), owner };
  }
}
