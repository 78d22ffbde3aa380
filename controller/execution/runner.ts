import { MillraceError, toMillraceError } from "../../engine/errors.ts";
import type { Outcome } from "../../engine/outcome.ts";
import type { ProcessorRequest, ProcessorResponse } from "../../engine/processor.ts";
import { type Attempt, run } from "../../engine/run.ts";
import type { Execution, ExecutionOwner, ExecutionStatus, PayloadRow, StepRow } from "../api/types.ts";
import type { CompiledPipeline } from "../catalog.ts";
import { timestamp } from "../runtime/conditions.ts";
import type { StatusWriter } from "../runtime/status-writer.ts";
import type { ExecutionDependencies } from "./controller.ts";
import type { RunInput } from "./input.ts";
import { uidOf } from "./objects.ts";
import { type OwnedStatus, OwnedStatusWriter, type Written } from "./ownership.ts";
import type { RunPayloads } from "./payloads.ts";
import { ProgressPacer } from "./progress.ts";
import { Recorder, resumed } from "./recorder.ts";
import type { CachedExecution } from "./slim.ts";
import { bareRows, failure, fitted, renderStatus, tooLarge, type Verdict } from "./status.ts";

/** A run that is about to begin, or to go on. */
export interface Job extends RunInput {
  /** As it was last read, without what is large. */
  readonly execution: CachedExecution;
  /** Rows of an earlier part of the run. */
  readonly recorded: readonly StepRow[];
  readonly payloads: RunPayloads;
  readonly pipeline: CompiledPipeline;
  readonly pipelineRevision?: string;
  /** Whom the run's writes name. */
  readonly owner: ExecutionOwner;
}

/**
 * `Running`: the outcome will be written. `Concluding`: every step has ended, and the outcome is being stored and written;
 * leaving changes nothing about that. `Leaving`: this process stops; what is recorded so far is written, for the next owner.
 * `Abandoned`: nothing is written any more.
 */
type RunMode = "Running" | "Concluding" | "Leaving" | "Abandoned";

/** How long a success that is being stored is waited for when this process leaves, in milliseconds: less than leaving may take. */
const leavingStoreMs = 3_000;

/** A run whose first report takes longer than this is not a short one. In milliseconds. */
const maxStartingMs = 5_000;

/** `Lost`: a write found the object deleted or another's. `Broken`: the outcome could not be written. */
export type RunEnd = "Ended" | "Lost" | "Broken";

/** One Execution that runs in this process: from its first step to the write of its outcome. */
export class LiveRun {
  readonly uid: string;
  /** Resolves when nothing of it is left in this process; never rejects. */
  readonly done: Promise<RunEnd>;
  readonly #job: Job;
  readonly #deps: ExecutionDependencies;
  readonly #payloads: RunPayloads;
  readonly #status: OwnedStatusWriter;
  readonly #startTime: string;
  /** Ends the engine's run: cancellation, leaving, abandoning. */
  readonly #abort = new AbortController();
  /** Ends everything, writes too. */
  readonly #stop = new AbortController();
  #mode: RunMode = "Running";
  #recorder: Recorder | undefined;
  #pacer: ProgressPacer | undefined;
  #reported = false;
  readonly #firstReport = Promise.withResolvers<void>();
  #lost = false;
  #overrun: Verdict | undefined;
  #generation: number;
  /** As our last write left them. */
  #conditions: ExecutionStatus["conditions"];

  constructor(job: Job, deps: ExecutionDependencies, writer: StatusWriter) {
    const { execution } = job;
    this.uid = uidOf(execution);
    this.#job = job;
    this.#deps = deps;
    this.#payloads = job.payloads;
    this.#status = new OwnedStatusWriter(writer, execution);
    this.#startTime = execution.status?.startTime ?? timestamp(deps.ports.clock.now());
    this.#generation = execution.metadata.generation ?? 1;
    this.done = this.#live();
  }

  /** Resolves once it is known to run for longer: its first report was written or refused, or is still tried after 5 s. Never for a short run. */
  get reported(): Promise<void> {
    return this.#firstReport.promise;
  }

  /** `spec.cancel: Immediate`, and edits of the spec that a status must say it has seen. */
  observe(execution: Execution): void {
    this.#generation = Math.max(this.#generation, execution.metadata.generation ?? 1);
    if (execution.spec.cancel !== "Immediate" || this.#mode !== "Running") return;
    this.#abort.abort(new MillraceError("Cancelled", "the Execution was cancelled"));
  }

  /** The object is gone, or somebody else's: ends at once and writes nothing. Idempotent. */
  abandon(): void {
    this.#mode = "Abandoned";
    const reason = new MillraceError("Cancelled", "the Execution was deleted, or another replica owns it");
    this.#abort.abort(reason);
    this.#stop.abort(reason);
  }

  /** This process stops: records what has ended so far and leaves the rest to whoever comes next. Idempotent. */
  leave(): void {
    if (this.#mode !== "Running") return;
    this.#mode = "Leaving";
    this.#recorder?.freeze();
    this.#abort.abort(new MillraceError("Cancelled", "the controller is shutting down"));
  }

  async #live(): Promise<RunEnd> {
    const { logger, ports } = this.#deps;
    const startedMs = ports.clock.monotonic();
    try {
      const outcome = await this.#run();
      if (this.#mode === "Running") this.#mode = "Concluding";
      await this.#pacer?.stop();
      if (this.#mode === "Leaving") await this.#recordLeaving();
      if (this.#mode === "Concluding")
        await this.#conclude(await this.#settle(outcome), ports.clock.monotonic() - startedMs);
      return this.#lost ? "Lost" : "Ended";
    } catch (error) {
      if (this.#stop.signal.aborted) return this.#lost ? "Lost" : "Ended";
      logger.error({ ...this.#fields(), err: error }, "the run ended and its status could not be written");
      return "Broken";
    }
  }

  async #run(): Promise<Outcome> {
    const { execution, pipeline, input, parameters, recorded: rows } = this.#job;
    const { clock } = this.#deps.ports;
    const recorder = this.#record(rows);
    const { results, attempts } = await resumed(rows, this.#payloads, this.#stop.signal);
    const elapsedMs = rows.length === 0 ? 0 : Math.max(0, clock.now() - Date.parse(this.#startTime));
    this.#pacer = new ProgressPacer(this.#deps.ports, () => this.#reportWithin());
    const { name, namespace = "" } = execution.metadata;
    return await run(pipeline.plan, {
      execution: { name, namespace, uid: this.uid },
      input,
      parameters,
      invoke: (attempt, request, signal) => this.#invoke(attempt, request, signal),
      ports: this.#deps.ports,
      signal: this.#abort.signal,
      recorded: results,
      attempts,
      elapsedMs,
      onEvent: (event) => recorder.onEvent(event),
    });
  }

  #record(recorded: readonly StepRow[]): Recorder {
    this.#recorder = new Recorder({
      clock: this.#deps.ports.clock,
      payloads: this.#payloads,
      signal: this.#stop.signal,
      steps: this.#job.pipeline.plan.steps,
      recorded,
      onChange: () => this.#pacer?.changed(),
    });
    return this.#recorder;
  }

  /** An attempt takes the version that is loaded at its start. */
  async #invoke(attempt: Attempt, request: ProcessorRequest, signal: AbortSignal): Promise<ProcessorResponse> {
    const namespace = attempt.execution.namespace;
    const entry = this.#deps.catalog.processors.get(namespace, attempt.processor);
    if (entry === undefined) {
      const message = `Processor "${attempt.processor}" does not exist in namespace ${namespace} any more; create it again`;
      throw new MillraceError("NotFound", message);
    }
    if (entry.serving === undefined) {
      throw new MillraceError(
        "Unavailable",
        `Processor "${attempt.processor}" is not ready: ${entry.waiting ?? "it is being loaded"}`,
      );
    }
    this.#recorder?.used(attempt.step, entry.serving);
    const response = await entry.serving.invoke(attempt, request, signal);
    return response.ok ? { ...response, payload: await this.#payloads.keep(response.payload, signal) } : response;
  }

  /** A first report that a webhook holds up for ever must not take the place of a run that could start. */
  async #reportWithin(): Promise<number> {
    const timer = this.#deps.ports.scheduler.after(maxStartingMs, this.#firstReport.resolve);
    try {
      return await this.#report();
    } finally {
      timer.cancel();
      this.#firstReport.resolve();
    }
  }

  /** One progress write; gives how long its request took, in milliseconds. Must not reject. */
  async #report(): Promise<number> {
    const status = fitted(this.#render({ phase: "Running", message: this.#runningMessage() }));
    if ("tooLargeBytes" in status) return this.#fail(tooLarge(status.tooLargeBytes));
    try {
      const written = await this.#status.write(status.status, this.#stop.signal);
      this.#took(written);
      if (!this.#reported) this.#event("Normal", "Started", `Started ${this.#subject()}`);
      this.#reported = true;
      return written.kind === "Written" ? written.durationMs : 0;
    } catch (error) {
      if (!this.#stop.signal.aborted)
        this.#deps.logger.warn({ ...this.#fields(), err: error }, "progress could not be written");
      return 0;
    }
  }

  /** Nothing was written. */
  #fail(verdict: Verdict): 0 {
    this.#overrun = verdict;
    this.#abort.abort(new MillraceError("PayloadTooLarge", verdict.message));
    return 0;
  }

  /** The verdict and the output, once every payload that the status will name is durable. */
  async #settle(outcome: Outcome): Promise<{ verdict: Verdict; output?: PayloadRow }> {
    if (this.#overrun !== undefined) return { verdict: this.#overrun };
    await this.#recorder?.settled();
    const verdict = this.#verdict(outcome);
    if (verdict.phase !== "Succeeded" || outcome.output === undefined) return { verdict };
    try {
      return { verdict, output: await this.#payloads.row(outcome.output, this.#stop.signal) };
    } catch (error) {
      const { code, message } = toMillraceError(error);
      return { verdict: { phase: "Failed", reason: code, message: `the output could not be stored: ${message}` } };
    }
  }

  #verdict(outcome: Outcome): Verdict {
    const rows = this.#recorder?.rows ?? [];
    if (outcome.state === "Cancelled") return { phase: "Cancelled", message: "Cancelled by spec.cancel: Immediate" };
    const error = outcome.error ?? this.#recorder?.storeError;
    if (error !== undefined) return failure(error, rows);
    if (outcome.state === "Succeeded") return { phase: "Succeeded", message: summaryOf(rows) };
    return { phase: "Failed", reason: "Internal", message: "the run failed and the engine gave no error" };
  }

  async #conclude(end: { verdict: Verdict; output?: PayloadRow }, durationMs: number): Promise<void> {
    const { verdict } = end;
    const status = fitted(this.#render(verdict, end.output));
    const over = "tooLargeBytes" in status ? tooLarge(status.tooLargeBytes) : undefined;
    const written = await this.#writeOutcome("status" in status ? status.status : this.#bare(over ?? verdict));
    this.#took(written);
    if (written.kind === "Lost") return;
    const final = over ?? verdict;
    this.#announce(final);
    if (final.phase === "Succeeded" || final.phase === "Failed" || final.phase === "Cancelled") {
      this.#deps.metrics?.executionFinished(final.phase, durationMs);
    }
  }

  /** A status that the API server refuses is a defect of ours; the run must not look as if it still went on. */
  async #writeOutcome(status: OwnedStatus): Promise<Written> {
    try {
      return await this.#status.write(status, this.#stop.signal);
    } catch (error) {
      this.#stop.signal.throwIfAborted();
      this.#deps.logger.error({ ...this.#fields(), err: error }, "the API server refuses the outcome of a run");
      const message = `the API server refuses the status of this run: ${toMillraceError(error).message}`;
      return await this.#status.write(this.#bare({ phase: "Failed", reason: "Internal", message }), this.#stop.signal);
    }
  }

  /** A success that is being stored would run again: it gets part of the time that leaving may take. */
  async #recordLeaving(): Promise<void> {
    if (this.#recorder === undefined) return;
    const over = Promise.withResolvers<void>();
    const timer = this.#deps.ports.scheduler.after(leavingStoreMs, over.resolve);
    await Promise.race([this.#recorder.settled(), over.promise]);
    timer.cancel();
    const status = fitted(this.#render({ phase: "Running", message: "Waiting for another controller to go on" }));
    if ("status" in status) this.#took(await this.#status.write(status.status, this.#stop.signal));
  }

  #render(verdict: Verdict, output?: PayloadRow): OwnedStatus {
    const { execution, pipelineRevision } = this.#job;
    const facts = {
      verdict,
      generation: this.#generation,
      conditions: this.#conditions ?? execution.status?.conditions ?? [],
      rows: this.#recorder?.rows ?? [],
      startTime: this.#startTime,
      ...(pipelineRevision === undefined ? {} : { pipelineRevision }),
      ...(output === undefined ? {} : { output }),
    };
    return { ...renderStatus(facts, this.#deps.ports.clock.now()), owner: this.#owner() };
  }

  #bare(verdict: Verdict): OwnedStatus {
    const status = this.#render(verdict);
    return status.steps === undefined ? status : { ...status, steps: bareRows(status.steps) };
  }

  /** Take-overs count only until a step is newly recorded; one that this process prepares in order does not count. */
  #owner(): ExecutionOwner {
    const { replica, epoch } = this.#job.owner;
    if (this.#mode === "Leaving" || this.#recorder?.hasNewlyRecorded === true) return { replica, epoch };
    return this.#job.owner;
  }

  #took(written: Written): void {
    if (written.kind === "Lost") {
      this.#deps.logger.info({ ...this.#fields(), why: written.why }, "the Execution is no longer ours; its run ends");
      this.#lost = true;
      this.abandon();
      return;
    }
    this.#conditions = written.execution.status?.conditions;
    this.observe(written.execution);
  }

  #announce(verdict: Verdict): void {
    if (verdict.phase === "Failed") this.#event("Warning", verdict.reason, verdict.message);
    else if (verdict.phase === "Cancelled") this.#event("Normal", "Cancelled", verdict.message);
    // Events are writes: a short run that went well needs none.
    else if (this.#reported) this.#event("Normal", "Succeeded", verdict.message);
  }

  #event(type: "Normal" | "Warning", reason: string, message: string): void {
    this.#deps.events.record(this.#job.execution, { type, reason, message });
  }

  #subject(): string {
    const { pipeline, owner } = this.#job;
    const what = `Pipeline "${pipeline.plan.name}" with ${pipeline.plan.steps.length} steps`;
    return owner.epoch === 1 ? what : `${what}, resumed from its recorded steps (owner ${owner.epoch})`;
  }

  #runningMessage(): string {
    const rows = this.#recorder?.rows ?? [];
    const running = rows.filter(({ state }) => state === "Running" || state === "Retrying").map(({ name }) => name);
    const shown = running.slice(0, 5).join(", ");
    const more = running.length > 5 ? ` and ${running.length - 5} more` : "";
    return running.length === 0 ? "Running" : `Running ${shown}${more}`;
  }

  #fields(): { execution: string } {
    const { namespace, name } = this.#job.execution.metadata;
    return { execution: `${namespace ?? ""}/${name}` };
  }
}

/** What a run that went well consisted of. */
function summaryOf(rows: readonly StepRow[]): string {
  const succeeded = rows.filter(({ state }) => state === "Succeeded").length;
  const skipped = rows.length - succeeded;
  const said = `${succeeded} ${succeeded === 1 ? "step" : "steps"} succeeded`;
  return skipped === 0 ? said : `${said}, ${skipped} skipped`;
}
