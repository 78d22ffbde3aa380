import { MillraceError, toMillraceError } from "../../../engine/errors.ts";
import type { Outcome } from "../../../engine/outcome.ts";
import { startRun } from "../../../engine/run/run.ts";
import type { Attempt, RunHandle } from "../../../engine/run/run-options.ts";
import type { Execution, ExecutionOwner, StepRow } from "../../api/types.ts";
import type { CompiledPipeline } from "../../catalog.ts";
import type { StatusWriter } from "../../runtime/status-writer.ts";
import type { ExecutionDependencies } from "../controller.ts";
import type { RunInput } from "../input/input.ts";
import { RunMemory } from "../known/known-results.ts";
import { uidOf } from "../objects.ts";
import type { OwnedStatus, Written } from "../ownership.ts";
import type { RunPayloads } from "../recording/payloads.ts";
import { Recorder } from "../recording/recorder.ts";
import { StepLogs } from "../recording/step-logs.ts";
import type { CachedExecution } from "../slim.ts";
import { cancelledRows, reasonOf, type Verdict } from "../status.ts";
import { Calls } from "./calls.ts";
import { tooLarge } from "./fitted.ts";
import { firstReportMs, ProgressPacer, type Report } from "./progress.ts";
import { type Resumed, resumed } from "./resumed.ts";
import { type Gave, RunStatus } from "./run-status.ts";
import { refusedVerdict, runningVerdict, suspendedVerdict, verdictOf } from "./verdicts.ts";

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
  /** It goes on to end at once: nothing more of the graph starts, `finally` runs. */
  readonly cancel?: "Graceful";
}

/**
 * `Running`: the outcome will be written. `Concluding`: every step has ended or the run pauses, and that is being stored and
 * written; leaving changes nothing about it. `Leaving`: this process stops; what is recorded so far is written, for the next
 * owner. `Abandoned`: nothing is written any more.
 */
type RunMode = "Running" | "Concluding" | "Leaving" | "Abandoned";

/** How long a success that is being stored is waited for when this process leaves, and a result for caches always; in milliseconds: less than leaving may take. */
const maxStoringMs = 3_000;

/** A run whose first report takes longer than this is not a short one. In milliseconds. */
const maxStartingMs = 5_000;

/**
 * `Suspended`: it pauses and is recorded so; whoever decides starts it again. `Lost`: a write found the object deleted or
 * another's. `Broken`: the outcome could not be written.
 */
export type RunEnd = "Ended" | "Suspended" | "Lost" | "Broken";

/** One Execution that runs in this process: from its first step to the write of its outcome, or of its pause. */
export class LiveRun {
  readonly uid: string;
  /** Resolves when nothing of it is left in this process; never rejects. */
  readonly done: Promise<RunEnd>;
  readonly #job: Job;
  readonly #deps: ExecutionDependencies;
  readonly #status: RunStatus;
  readonly #logs = new StepLogs();
  readonly #memory: RunMemory;
  /** Ends the engine's run: cancellation, leaving, abandoning. */
  readonly #abort = new AbortController();
  /** Ends everything, writes too. */
  readonly #stop = new AbortController();
  #mode: RunMode = "Running";
  #wish: "Suspend" | "CancelGracefully" | undefined;
  #handle: RunHandle | undefined;
  #recorder: Recorder;
  #pacer: ProgressPacer | undefined;
  #isLong = false;
  readonly #firstReport = Promise.withResolvers<void>();
  #lost = false;
  #overrun: Verdict | undefined;

  constructor(job: Job, deps: ExecutionDependencies, writer: StatusWriter) {
    const { execution, pipelineRevision } = job;
    const { clock } = deps.ports;
    this.uid = uidOf(execution);
    this.#job = job;
    this.#deps = deps;
    const revision = pipelineRevision === undefined ? {} : { pipelineRevision };
    this.#status = new RunStatus({ execution, writer, clock, ...revision });
    this.#memory = this.#remember();
    this.#recorder = this.#record(job.recorded);
    if (job.cancel !== undefined) this.#wish = "CancelGracefully";
    this.done = this.#live();
  }

  /** Resolves once it is known to run for longer: its first report was written or refused, or is still tried after 5 s. Never for a short run. */
  get reported(): Promise<void> {
    return this.#firstReport.promise;
  }

  /**
   * `spec.cancel` and `spec.suspend`, and edits of the spec that a status must say it has seen. A pause that was asked for is
   * not called off: it takes place, and whoever decides lets the run go on after it.
   */
  observe(execution: Execution): void {
    const { cancel, suspend } = execution.spec;
    if (this.#status.observe(execution)) this.#pacer?.changed();
    if (this.#mode !== "Running") return;
    if (cancel === "Immediate") this.#abort.abort(new MillraceError("Cancelled", "the Execution was cancelled"));
    else if (cancel === "Graceful") this.#wish = "CancelGracefully";
    else if (suspend) this.#wish ??= "Suspend";
    this.#grant();
  }

  /** A newer Execution takes its place: ends at once, as Cancelled. Idempotent. */
  replaced(message: string): void {
    if (this.#mode !== "Running" || this.#overrun !== undefined) return;
    this.#overrun = { phase: "Cancelled", reason: "Replaced", message };
    this.#abort.abort(new MillraceError("Cancelled", message));
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
    this.#recorder.freeze();
    this.#abort.abort(new MillraceError("Cancelled", "the controller is shutting down"));
  }

  async #live(): Promise<RunEnd> {
    try {
      const before = await this.#takeBack();
      const outcome = before === undefined ? undefined : await this.#run(before);
      if (this.#mode === "Running") this.#mode = "Concluding";
      await this.#pacer?.stop();
      if (this.#mode === "Leaving") await this.#recordLeaving();
      if (this.#mode === "Concluding") await this.#conclude(outcome);
      if (this.#memory.isKeeping) await this.#within(this.#memory.settled());
      if (this.#lost) return "Lost";
      return outcome?.state === "Suspended" && this.#overrun === undefined ? "Suspended" : "Ended";
    } catch (error) {
      if (this.#stop.signal.aborted) return this.#lost ? "Lost" : "Ended";
      this.#deps.logger.error({ ...this.#fields(), err: error }, "the run ended and its status could not be written");
      return "Broken";
    }
  }

  /** Undefined: what earlier parts of the run recorded is lost, and the run with it. */
  async #takeBack(): Promise<Resumed | undefined> {
    const { recorded, payloads } = this.#job;
    try {
      const before = await resumed(recorded, payloads, this.#stop.signal);
      if (before.fanOuts.size > 0) this.#recorder = this.#record(recorded, before.fanOuts);
      if (this.#mode === "Leaving") this.#recorder.freeze();
      return before;
    } catch (error) {
      if (toMillraceError(error).code !== "PayloadLost") throw error;
      if (this.#mode === "Leaving") this.#mode = "Concluding";
      this.#recorder = this.#record(cancelledRows(recorded, "Cancelled"));
      this.#overrun = refusedVerdict(error, "the run cannot go on");
      return undefined;
    }
  }

  async #run({ recorded }: Resumed): Promise<Outcome> {
    const { execution, pipeline, input, parameters, payloads } = this.#job;
    const { catalog, ports, retryBudgets } = this.#deps;
    const { name, namespace = "" } = execution.metadata;
    const recorder = this.#recorder;
    const { scheduler } = ports;
    const calls = new Calls({ catalog, payloads, recorder, memory: this.#memory, logs: this.#logs, scheduler });
    this.#pacer = new ProgressPacer(ports, () => this.#reportWithin());
    this.#handle = startRun(pipeline.plan, {
      execution: { name, namespace, uid: this.uid },
      input,
      parameters,
      invoke: (attempt, request, signal) => calls.invoke(attempt, request, signal),
      beforeAttempt: (attempt) => this.#recordStart(attempt),
      known: this.#memory,
      keepList: (list, signal) => payloads.keep(list, signal),
      ports,
      signal: this.#abort.signal,
      recorded: { ...recorded, elapsedMs: this.#status.activeMs },
      ...(retryBudgets === undefined ? {} : { retryBudgets }),
      onEvent: (event) => recorder.onEvent(event),
    });
    this.#grant();
    return await this.#handle.outcome;
  }

  /** Idempotent. */
  #grant(): void {
    if (this.#wish === "CancelGracefully") this.#handle?.cancelGracefully();
    if (this.#wish === "Suspend") this.#handle?.suspend();
  }

  #remember(): RunMemory {
    const { execution, payloads, earlier } = this.#job;
    const { catalog, ports, logger } = this.#deps;
    const { namespace = "" } = execution.metadata;
    return new RunMemory({
      clock: ports.clock,
      payloads,
      ...(earlier && { earlier }),
      serving: (processor) => catalog.processors.get(namespace, processor)?.serving,
      onUsed: (work, version, request) => this.#recorder.used(work, version, request),
      onFailure: ({ stepName }, err) =>
        logger.warn({ ...this.#fields(), step: stepName, err }, "a step's result could not be kept, or looked up"),
      signal: this.#stop.signal,
    });
  }

  #record(recorded: readonly StepRow[], fanOuts?: Resumed["fanOuts"]): Recorder {
    const { payloads, pipeline } = this.#job;
    const { ports, logger } = this.#deps;
    return new Recorder({
      clock: ports.clock,
      payloads,
      store: payloads,
      logs: this.#logs,
      signal: this.#stop.signal,
      steps: pipeline.plan.steps,
      recorded,
      ...(fanOuts && { fanOuts }),
      onChange: () => this.#pacer?.changed(),
      onLoss: (what, step, err) =>
        logger.warn({ ...this.#fields(), step, err }, `a step's ${what} could not be stored`),
    });
  }

  /** An attempt of an AtMostOnce step begins when it is recorded that it does. */
  async #recordStart(attempt: Attempt): Promise<void> {
    this.#recorder.starting(attempt);
    await this.#pacer?.now();
  }

  /** A first report that a webhook holds up for ever must not take the place of a run that could start. */
  async #reportWithin(): Promise<Report> {
    const timer = this.#deps.ports.scheduler.after(maxStartingMs, this.#firstReport.resolve);
    try {
      return await this.#report();
    } catch (error) {
      if (!this.#stop.signal.aborted)
        this.#deps.logger.warn({ ...this.#fields(), err: error }, "progress could not be written");
      return { durationMs: 0, error: toMillraceError(error) };
    } finally {
      timer.cancel();
      this.#firstReport.resolve();
    }
  }

  /** One progress write. Throws ApiError, MillraceError. */
  async #report(): Promise<Report> {
    const error = await this.#flushed();
    const { rows } = this.#recorder;
    const status = await this.#status.fitted(runningVerdict(rows), this.#owner(), this.#recorder);
    if ("tooLargeBytes" in status) {
      this.#overrun = tooLarge(status.tooLargeBytes);
      const overrun = new MillraceError("PayloadTooLarge", this.#overrun.message);
      this.#abort.abort(overrun);
      return { durationMs: 0, error: overrun };
    }
    const written = await this.#write(status.status);
    if (written.kind === "Lost") throw new MillraceError("Cancelled", "the Execution is no longer ours");
    // What an AtMostOnce step has written before does not make a run long.
    if (!this.#isLong && this.#status.hereMs >= firstReportMs) {
      this.#isLong = true;
      this.#event("Normal", "Started", `Started ${this.#subject()}`);
    }
    return { durationMs: written.durationMs, ...(error && { error }) };
  }

  /** How it ended, or pauses, once every payload that the status will name is durable. */
  async #conclude(outcome: Outcome | undefined): Promise<void> {
    const { verdict, gave } = await this.#settle(outcome);
    const status = await this.#status.fitted(verdict, this.#owner(), this.#recorder, gave);
    const over = "tooLargeBytes" in status ? tooLarge(status.tooLargeBytes) : undefined;
    if (over !== undefined) this.#overrun = over;
    const final = over ?? verdict;
    const written = await this.#writeOutcome("status" in status ? status.status : this.#bare(final));
    if (written.kind === "Lost") return;
    this.#announce(final);
    if (final.phase === "Succeeded" || final.phase === "Failed" || final.phase === "Cancelled") {
      this.#deps.metrics?.executionFinished(final.phase, this.#status.hereMs);
    }
  }

  async #settle(outcome: Outcome | undefined): Promise<{ readonly verdict: Verdict; readonly gave?: Gave }> {
    await this.#recorder.settled();
    if (this.#overrun !== undefined) return { verdict: this.#overrun };
    if (outcome === undefined || outcome.state === "Suspended") return { verdict: await this.#paused() };
    const verdict = this.#verdict(outcome);
    if (verdict.phase !== "Succeeded") return { verdict };
    try {
      return { verdict, gave: await this.#gave(outcome) };
    } catch (error) {
      return { verdict: refusedVerdict(error, "the output could not be stored") };
    }
  }

  async #paused(): Promise<Verdict> {
    await this.#flushed();
    return suspendedVerdict(this.#recorder.rows);
  }

  #verdict(outcome: Outcome): Verdict {
    const { steps, finallyFrom } = this.#job.pipeline.plan;
    const { rows, storeError } = this.#recorder;
    const cancel = this.#abort.signal.aborted ? "Immediate" : "Graceful";
    return verdictOf(outcome, {
      rows,
      storeError,
      cancel,
      finally: new Set(steps.slice(finallyFrom).map(({ name }) => name)),
    });
  }

  async #gave({ output, outputs }: Outcome): Promise<Gave> {
    const { payloads } = this.#job;
    const { signal } = this.#stop;
    const named = [...(outputs ?? [])].map(async ([name, value]) => ({
      name,
      value: await payloads.row(value, signal),
    }));
    return {
      ...(output === undefined ? {} : { output: await payloads.row(output, signal) }),
      ...(named.length === 0 ? {} : { outputs: await Promise.all(named) }),
    };
  }

  /** A status that the API server refuses is a defect of ours; the run must not look as if it still went on. */
  async #writeOutcome(status: OwnedStatus): Promise<Written> {
    try {
      return await this.#write(status);
    } catch (error) {
      this.#stop.signal.throwIfAborted();
      this.#deps.logger.error({ ...this.#fields(), err: error }, "the API server refuses the outcome of a run");
      const message = `the API server refuses the status of this run: ${toMillraceError(error).message}`;
      this.#overrun = { phase: "Failed", reason: "Internal", message };
      return await this.#write(this.#bare(this.#overrun));
    }
  }

  /** A success that is being stored would run again: it gets part of the time that leaving may take. */
  async #recordLeaving(): Promise<void> {
    await this.#within(this.#recorder.settled().then(() => this.#flushed()));
    const verdict = { phase: "Running", message: "Waiting for another controller to go on" } as const;
    const status = await this.#status.fitted(verdict, this.#owner(), this.#recorder);
    if ("status" in status) await this.#write(status.status);
  }

  /** Gives why items' results are not durable: they are told of later, or run again. Never rejects. */
  async #flushed(): Promise<MillraceError | undefined> {
    try {
      await this.#recorder.flush();
      return undefined;
    } catch (err) {
      if (!this.#stop.signal.aborted)
        this.#deps.logger.warn({ ...this.#fields(), err }, "the results of items could not be stored");
      return toMillraceError(err);
    }
  }

  /** Waits for the store, but no longer than leaving may. */
  async #within(work: Promise<unknown>): Promise<void> {
    const over = Promise.withResolvers<void>();
    const timer = this.#deps.ports.scheduler.after(maxStoringMs, over.resolve);
    await Promise.race([work, over.promise]);
    timer.cancel();
  }

  #bare(verdict: Verdict): OwnedStatus {
    return this.#status.bare(verdict, this.#owner(), this.#recorder);
  }

  /** Take-overs count only until a step is newly recorded; one that this process prepares in order does not count. */
  #owner(): ExecutionOwner {
    const { replica, epoch } = this.#job.owner;
    if (this.#mode === "Leaving" || this.#recorder.hasNewlyRecorded) return { replica, epoch };
    return this.#job.owner;
  }

  async #write(status: OwnedStatus): Promise<Written> {
    const written = await this.#status.write(status, this.#stop.signal);
    if (written.kind === "Lost") {
      this.#deps.logger.info({ ...this.#fields(), why: written.why }, "the Execution is no longer ours; its run ends");
      this.#lost = true;
      this.abandon();
    } else this.observe(written.execution);
    return written;
  }

  #announce(verdict: Verdict): void {
    const { phase, message } = verdict;
    if (phase === "Failed") this.#event("Warning", verdict.reason, message);
    else if (phase === "Cancelled" || phase === "Suspended") this.#event("Normal", reasonOf(verdict), message);
    // Events are writes: a short run that went well needs none.
    else if (this.#isLong) this.#event("Normal", "Succeeded", message);
  }

  #event(type: "Normal" | "Warning", reason: string, message: string): void {
    this.#deps.events.record(this.#job.execution, { type, reason, message });
  }

  #subject(): string {
    const { pipeline, owner } = this.#job;
    const what = `Pipeline "${pipeline.plan.name}" with ${this.#recorder.rows.length} steps`;
    return owner.epoch === 1 ? what : `${what}, resumed from its recorded steps (owner ${owner.epoch})`;
  }

  #fields(): { execution: string } {
    const { namespace, name } = this.#job.execution.metadata;
    return { execution: `${namespace ?? ""}/${name}` };
  }
}
