import type { Scheduler } from "../../../engine/clock.ts";
import { MillraceError } from "../../../engine/errors.ts";
import type { ProcessorRequest, ProcessorResponse } from "../../../engine/processor.ts";
import type { Attempt } from "../../../engine/run/run-options.ts";
import type { Catalog, ProcessorVersion } from "../../catalog.ts";
import type { RunMemory } from "../known/known-results.ts";
import { requestDigest } from "../known/request-digest.ts";
import type { RunPayloads } from "../recording/payloads.ts";
import type { Recorder } from "../recording/recorder.ts";
import type { StepLogs } from "../recording/step-logs.ts";

export interface CallsOptions {
  readonly catalog: Catalog;
  readonly payloads: RunPayloads;
  readonly recorder: Recorder;
  readonly memory: RunMemory;
  readonly logs: StepLogs;
  readonly scheduler: Scheduler;
}

/**
 * Attempts that a run makes before timers, writes and other runs have their turn: those that end at once never leave the
 * event loop to them. Some 20 ms of work.
 */
const attemptsPerTurn = 256;

/** Makes the attempts of one run, each on the version of its Processor that is loaded at its start. */
export class Calls {
  readonly #options: CallsOptions;
  #sinceTurn = 0;
  /** Pending while the event loop goes round. */
  #turn: Promise<void> | undefined;

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  async invoke(attempt: Attempt, request: ProcessorRequest, signal: AbortSignal): Promise<ProcessorResponse> {
    const { payloads, recorder, memory, logs } = this.#options;
    if (++this.#sinceTurn >= attemptsPerTurn) await this.#turnOver();
    const version = this.#version(attempt);
    recorder.used(attempt, version, requestDigest(request, version.called));
    memory.invoked(request, version);
    const response = await version.invoke({ ...attempt, log: logs.of(attempt) }, request, signal);
    await recorder.room(attempt.step);
    await memory.room();
    return response.ok ? { ...response, payload: await payloads.keep(response.payload, signal) } : response;
  }

  #turnOver(): Promise<void> {
    this.#turn ??= new Promise((resolve) => {
      this.#options.scheduler.after(0, () => {
        this.#sinceTurn = 0;
        this.#turn = undefined;
        resolve();
      });
    });
    return this.#turn;
  }

  #version({ execution: { namespace }, processor }: Attempt): ProcessorVersion {
    const entry = this.#options.catalog.processors.get(namespace, processor);
    if (entry === undefined) {
      const message = `Processor "${processor}" does not exist in namespace ${namespace} any more; create it again`;
      throw new MillraceError("NotFound", message);
    }
    if (entry.serving !== undefined) return entry.serving;
    const message = `Processor "${processor}" is not ready: ${entry.waiting ?? "it is being loaded"}`;
    throw new MillraceError("Unavailable", message);
  }
}
