import { MillraceError } from "../../engine/errors.ts";
import type { Execution, ExecutionOwner } from "../api/types.ts";
import type { CompiledPipeline } from "../catalog.ts";
import { isTransient } from "../runtime/api-errors.ts";
import { holdsByRecord } from "./admission/ticket.ts";
import type { ExecutionDependencies } from "./controller.ts";
import type { ExecutionWriter } from "./execution-writer.ts";
import type { Gatherer } from "./gather.ts";
import { type RunInput, readInput } from "./input/input.ts";
import { isFinished, isSameOwner } from "./objects.ts";
import { nextOwner } from "./ownership.ts";
import { RunPayloads } from "./recording/payloads.ts";
import type { Job } from "./run/runner.ts";
import { type CachedExecution, slim } from "./slim.ts";
import { conditionsFor, type Verdict } from "./status.ts";

export interface PreparationOptions {
  readonly deps: ExecutionDependencies;
  readonly writer: ExecutionWriter;
  readonly gatherer: Gatherer;
  /** Records an outcome without a run. Throws ApiError. */
  readonly conclude: (execution: Execution, verdict: Verdict, signal: AbortSignal) => Promise<void>;
}

/** What stands between a decision to run and the run: everything is read and checked, the revision pinned, a take-over written. */
export class Preparation {
  readonly #options: PreparationOptions;

  constructor(options: PreparationOptions) {
    this.#options = options;
  }

  /** Undefined when there is nothing to run after all. Throws ApiError. */
  async job(
    cached: CachedExecution,
    pipeline: CompiledPipeline,
    cancel: "Graceful" | undefined,
    signal: AbortSignal,
  ): Promise<Job | undefined> {
    const { deps, writer } = this.#options;
    const isRecorded = cached.status?.owner !== undefined;
    const execution = isRecorded || cached.inputOmitted === true ? await writer.read(cached, signal) : cached;
    if (execution === undefined || isFinished(execution.status)) return undefined;
    // The copy was behind: what it says now decides, and its event is on the way.
    if (!isSameOwner(execution.status?.owner, cached.status?.owner)) return undefined;
    const owner = ownerOf(execution, deps.replica);
    if (owner === undefined) return undefined;
    const payloads = new RunPayloads(deps.payloads, deps.namespaces, execution.metadata.namespace ?? "");
    // Pinned first: an Execution whose input is refused has its Pipeline's ttl too.
    const revision = await this.#revision(execution, pipeline, signal);
    const pinned = revision === undefined ? {} : { pipelineRevision: revision };
    const status = { ...execution.status, ...pinned };
    const input = await this.#inputOf({ ...execution, status }, pipeline, payloads, signal);
    if (input === undefined) return undefined;
    if (!isRecorded) this.#tellReuse(execution, input);
    const claimed = isRecorded ? await this.#claim(execution, owner, signal) : execution;
    if (claimed === undefined) return undefined;
    const recorded = claimed.status?.steps ?? [];
    const job = { execution: slim(claimed), recorded, payloads, pipeline, owner, ...input, ...pinned };
    return cancel === undefined ? job : { ...job, cancel };
  }

  /** What is refused, or cannot be stored, is recorded as the outcome, and gives undefined. Throws ApiError. */
  async #inputOf(
    execution: Execution,
    pipeline: CompiledPipeline,
    payloads: RunPayloads,
    signal: AbortSignal,
  ): Promise<RunInput | undefined> {
    const { deps, conclude } = this.#options;
    try {
      const { client, catalog } = deps;
      return await readInput(execution, pipeline, { client, payloads, revisions: catalog.revisions }, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof MillraceError) || isTransient(error.cause)) throw error;
      await conclude(execution, { phase: "Failed", reason: error.code, message: error.message }, signal);
      return undefined;
    }
  }

  /** Why `retryFrom` takes nothing over is not to be seen from the rows. */
  #tellReuse(execution: Execution, { earlier }: RunInput): void {
    const name = execution.spec.retryFrom?.execution;
    if (name === undefined || earlier !== undefined) return;
    const message = `Nothing of Execution "${name}" is reused: its Pipeline was another one then; all steps run`;
    this.#options.deps.events.record(execution, { type: "Normal", reason: "NothingReused", message });
  }

  /** None for an inline spec that brings in no Pipeline: it is in the Execution, and cannot be edited there. */
  async #revision(execution: Execution, pipeline: CompiledPipeline, signal: AbortSignal): Promise<string | undefined> {
    const recorded = execution.status?.pipelineRevision;
    if (recorded !== undefined) return recorded;
    if (execution.spec.pipeline === undefined && pipeline.closure.pipelines.length === 0) return undefined;
    const { deps, gatherer } = this.#options;
    const namespace = execution.metadata.namespace ?? "";
    const revision = await deps.catalog.revisions.ensure(namespace, pipeline, signal);
    gatherer.learn(namespace, revision, pipeline);
    return revision;
  }

  /** A take-over is written before anything runs, so that what brings a controller down is counted, and who has a place is recorded. */
  async #claim(execution: Execution, owner: ExecutionOwner, signal: AbortSignal): Promise<Execution | undefined> {
    const { deps, writer } = this.#options;
    const { queuedSince: _queuedSince, ...status } = execution.status ?? {};
    const conditions = conditionsFor(
      { phase: "Running", message: "Running" },
      execution.metadata.generation ?? 1,
      status.conditions ?? [],
      deps.ports.clock.now(),
    );
    const claimed = await writer.put(execution, { ...status, phase: "Running", conditions, owner }, signal);
    if (claimed === undefined) return undefined;
    const message = `Resumed from ${status.progress ?? "its"} recorded steps; ${this.#whyResumed(execution)}`;
    deps.events.record(execution, { type: "Normal", reason: "Resumed", message });
    return claimed;
  }

  #whyResumed(execution: Execution): string {
    const before = execution.status?.owner?.replica ?? "";
    if (!holdsByRecord(execution)) return "it was suspended";
    return before === this.#options.deps.replica
      ? "its run here had ended without an outcome"
      : `replica ${before} is gone`;
  }
}

/** Going on after a pause is no take-over: nothing had gone wrong. */
function ownerOf(execution: Execution, replica: string): ExecutionOwner | undefined {
  const recorded = execution.status?.owner;
  if (recorded === undefined || holdsByRecord(execution)) return nextOwner(recorded, replica);
  return { ...recorded, replica, epoch: recorded.epoch + 1 };
}
