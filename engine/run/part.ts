import type { Timer } from "../clock.ts";
import type { Expression } from "../expressions/expressions.ts";
import type { StepResult } from "../outcome.ts";
import type { PlanStep } from "../plan.ts";
import type { Activity, Asker } from "./activity.ts";
import type { Records } from "./records.ts";
import { awaitingEntries, interrupted, stopReasonOf } from "./resume.ts";
import type { PartName, StopReason } from "./rules.ts";
import { errorOf, resultStopped, resultUnstarted, stopError } from "./rules.ts";
import type { RunOptions } from "./run-options.ts";
import type { Bindings, Fetched } from "./scope.ts";
import { nothingFetched } from "./scope.ts";
import type { ExecutionStrategy, Schedule } from "./strategy.ts";

/** What the steps of one part of a run have in common. */
export interface PartPlan {
  readonly name: PartName;
  readonly strategy: ExecutionStrategy;
  /** On the monotonic clock; when it comes, whoever set it stops the part. */
  readonly deadlineMs: number;
  readonly activityOf: (part: Part, step: PlanStep) => Activity;
  /** Called once, when nothing of it runs any more; `Suspended`: steps are left. */
  readonly onEnd: (end: "Ended" | "Suspended") => void;
}

/** Suspending, Cancelling: nothing new starts, attempts in flight go on to their end. Stopped: they are aborted. */
type PartMode = "Running" | "Suspending" | "Cancelling" | "Stopped" | "Over";

/** One part of a run, the graph's steps or those of `finally`: starts what is ready, until every step has ended. */
export class Part {
  readonly name: PartName;
  readonly records: Records;
  readonly deadlineMs: number;
  readonly failFast: boolean;
  readonly #plan: PartPlan;
  readonly #steps: readonly PlanStep[];
  readonly #controller = new AbortController();
  /** By step: what it does, from its start to its end. */
  readonly #active: (Activity | undefined)[];
  readonly #retries = new Set<Timer>();
  /** What goes on now that its bytes are there. */
  readonly #arrived: (() => void)[] = [];
  #schedule: Schedule | undefined;
  #mode: PartMode = "Running";
  #stopReason: StopReason | undefined;
  #inFlight = 0;
  /** Pending while the event loop has its turn; nothing goes on meanwhile. */
  #turn: Timer | undefined;
  #isPumping = false;

  constructor(records: Records, plan: PartPlan) {
    const { steps, finallyFrom, failurePolicy } = records.plan;
    this.name = plan.name;
    this.records = records;
    this.deadlineMs = plan.deadlineMs;
    this.failFast = plan.name === "Main" && failurePolicy === "FailFast";
    this.#plan = plan;
    if (plan.name === "Finally") this.#steps = steps.slice(finallyFrom);
    else this.#steps = finallyFrom === steps.length ? steps : steps.slice(0, finallyFrom);
    this.#active = steps.map(() => undefined);
  }

  get options(): RunOptions {
    return this.records.options;
  }

  /** Aborts when the part stops. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Why it ended before all of its steps had. */
  get stopReason(): StopReason | undefined {
    return this.#stopReason;
  }

  /** New attempts may start. */
  get isRunning(): boolean {
    return this.#mode === "Running";
  }

  /** Attempts that fail now are not made again. */
  get isCancelling(): boolean {
    return this.#mode === "Cancelling";
  }

  /** `first` is done before anything starts. */
  start(first?: "Suspend" | "Cancel"): void {
    this.#interruptUnknown();
    const { results, plan } = this.records;
    const isNew = this.options.recorded === undefined;
    const stopped = isNew ? undefined : stopReasonOf(this.#steps, this.records, this.failFast);
    if (stopped !== undefined) this.stop(stopped);
    if (first === "Cancel") this.cancel();
    if (first === "Suspend") this.suspend();
    if (this.#mode !== "Running") return;
    const { maxParallelSteps } = plan;
    const steps = isNew ? this.#steps : awaitingEntries(this.#steps, results);
    const part = { steps, count: plan.steps.length, maxParallelSteps };
    this.#schedule = this.#plan.strategy.schedule(part, (step) => results[step] !== undefined);
    this.pump();
  }

  /** What was begun before and must not be begun again has failed. */
  #interruptUnknown(): void {
    if (this.options.recorded === undefined) return;
    for (const step of this.#steps) {
      // Whoever heard of one of them may have stopped the run, or suspended it.
      if (this.#mode !== "Running") return;
      const { index, delivery, forEach, ignoresFailure } = step;
      const attempts = this.records.attempts[index] ?? 0;
      if (delivery !== "AtMostOnce" || attempts === 0 || forEach !== undefined) continue;
      if (this.records.results[index] !== undefined) continue;
      const error = interrupted(step.processor);
      this.records.record(step, { state: "Failed", error, attempts, ...(ignoresFailure ? { reason: "Ignored" } : {}) });
    }
  }

  /** Nothing more starts; once nothing is in flight it ends, Suspended if steps are left. Idempotent. */
  suspend(): void {
    if (this.#mode !== "Running") return;
    this.#mode = "Suspending";
    this.#cancelTimers();
    this.#settle();
  }

  /** Nothing more starts: what waits ends now, what is in flight by itself. Idempotent; nothing where every step has ended. */
  cancel(): void {
    if (this.#mode !== "Running" && this.#mode !== "Suspending") return;
    if (this.records.open(this.name) === 0) return;
    this.#mode = "Cancelling";
    this.#stopReason ??= "Cancelled";
    this.#cancelTimers();
    for (const step of this.#inOrder()) {
      const activity = this.#active[step.index];
      if (activity?.drain() !== true) this.#recordStopped(step, "Cancelled");
    }
    this.#settle();
  }

  /** Ends it now: what runs is aborted and not waited for, what has not started never does. */
  stop(reason: StopReason): void {
    if (this.#halt(reason)) this.#recordRest(reason);
  }

  /** The step fails while some of it is in flight, and FailFast stops the part. */
  failFastWith(step: PlanStep, result: StepResult): void {
    if (!this.#halt("FailFast")) return;
    this.#active[step.index]?.stop("FailFast");
    this.#record(step, result);
    this.#recordRest("FailFast");
  }

  /** Before anybody hears of it: whoever does may want something else of the part. */
  #halt(reason: StopReason): boolean {
    if (this.#mode === "Stopped" || this.#mode === "Over") return false;
    this.#mode = "Stopped";
    this.#stopReason ??= reason;
    this.#cancelTimers();
    this.abort(reason);
    return true;
  }

  #recordRest(reason: StopReason): void {
    for (const step of this.#inOrder()) {
      this.#active[step.index]?.stop(reason);
      this.#recordStopped(step, reason);
    }
    this.#end("Ended");
  }

  abort(reason: StopReason): void {
    this.#controller.abort(stopError(reason, this.records.plan, this.name));
  }

  /** Steps that have not ended, each after its dependencies, as long as nothing ends the loop otherwise. */
  *#inOrder(): Generator<PlanStep> {
    const { order, steps, finallyFrom } = this.records.plan;
    for (const index of order) {
      const step = steps[index];
      if (step === undefined || index < finallyFrom !== (this.name === "Main")) continue;
      if (this.records.results[index] === undefined) yield step;
    }
  }

  #recordStopped(step: PlanStep, reason: StopReason): void {
    const { results, attempts } = this.records;
    if (results[step.index] !== undefined) return;
    const activity = this.#active[step.index];
    const started = activity?.attempts ?? attempts[step.index] ?? 0;
    this.#record(step, resultStopped(step, results, reason, { attempts: started, fuel: activity?.fuel }));
  }

  /**
   * Starts what is ready. Steps that end at once only mark the next ones ready: the loop goes on, nothing recurses. After
   * much work on expressions the event loop has its turn, so that timers, cancellation and other runs have theirs.
   */
  pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    while (this.#mode === "Running" && this.#turn === undefined && this.#goOn()) {
      if (this.records.isTurnOver && this.records.open(this.name) > 0) this.#giveTurn();
    }
    this.#isPumping = false;
    this.#settle();
  }

  /** Whether there was anything to go on with. */
  #goOn(): boolean {
    const arrived = this.#arrived.length > 0 ? this.#arrived.shift() : undefined;
    if (arrived !== undefined) {
      arrived();
      return true;
    }
    const index = this.#schedule?.next() ?? -1;
    const step = index < 0 ? undefined : this.records.plan.steps[index];
    if (step !== undefined) this.#give(step);
    return step !== undefined;
  }

  #giveTurn(): void {
    this.#turn = this.options.ports.scheduler.after(0, () => {
      this.#turn = undefined;
      this.records.startTurn();
      this.pump();
    });
  }

  #settle(): void {
    if (this.#mode === "Stopped" || this.#mode === "Over" || this.#isPumping) return;
    if (this.records.open(this.name) === 0) this.#end("Ended");
    else if (this.#mode === "Suspending" && this.#inFlight === 0) this.#end("Suspended");
  }

  #end(end: "Ended" | "Suspended"): void {
    if (this.#mode === "Over") return;
    this.#mode = "Over";
    this.#turn?.cancel();
    if (end === "Suspended") this.abort("Cancelled");
    this.#plan.onEnd(end);
  }

  #cancelTimers(): void {
    for (const timer of this.#retries) timer.cancel();
    this.#retries.clear();
  }

  /** Gives a slot to the step. */
  #give(step: PlanStep): void {
    const { index, when } = step;
    const active = this.#active[index];
    if (active !== undefined) {
      active.slotGiven();
      return;
    }
    const unstarted = resultUnstarted(step, this.records.results);
    if (unstarted !== undefined) {
      this.release(step);
      this.finish(step, unstarted);
      return;
    }
    const activity = this.#plan.activityOf(this, step);
    this.#active[index] = activity;
    if (when === undefined) this.begin(activity);
    else this.prepare(when, activity, (fetched) => this.#decide(step, when, fetched, activity));
  }

  #decide(step: PlanStep, when: Expression, fetched: Fetched, activity: Activity): void {
    if (this.records.scope.evaluate(when, fetched) !== false) {
      activity.begin();
      return;
    }
    this.release(step);
    this.finish(step, { state: "Skipped", reason: "WhenFalse" });
  }

  /** What it throws fails it. */
  begin(activity: Activity): void {
    try {
      activity.begin();
    } catch (error) {
      activity.failed(errorOf(error));
    }
  }

  /** Goes on with `next` when the bytes that the expression looks into are there; what either throws fails the asker. */
  prepare(
    expression: Expression,
    asker: Asker,
    next: (fetched: Fetched) => void,
    bindings?: Bindings,
    fetched = nothingFetched,
  ): void {
    if (asker.isOver) return;
    try {
      const waiting = this.records.scope.prepare(expression, fetched, this.signal, bindings);
      // Meanwhile what was decoded may have been let go: so it is prepared again, until nothing is missing.
      if (waiting === undefined) next(fetched);
      else this.await(waiting, asker, (more) => this.prepare(expression, asker, next, bindings, more));
    } catch (error) {
      asker.failed(errorOf(error));
    }
  }

  /** Goes on in the part's own time; what either gives up with fails the asker. */
  await<T>(waiting: Promise<T>, asker: Asker, goOn: (value: T) => void): void {
    waiting.then(
      (value) => this.#later(asker, () => goOn(value)),
      (error) => this.#later(asker, () => asker.failed(errorOf(error))),
    );
  }

  #later(asker: Asker, goOn: () => void): void {
    if (this.#mode !== "Running") return;
    this.#arrived.push(() => {
      if (asker.isOver) return;
      try {
        goOn();
      } catch (error) {
        asker.failed(errorOf(error));
      }
    });
    this.pump();
  }

  /** Counts bytes worked on outside of the part's own loop; gives a turn of the event loop to wait for where it is due. */
  workedOn(bytes: number): Promise<void> | undefined {
    const { scope } = this.records;
    scope.budget.spendOnBytes(bytes);
    if (!scope.budget.isTurnOver) return undefined;
    return new Promise((resolve) => {
      this.options.ports.scheduler.after(0, () => {
        scope.budget.startTurn();
        resolve();
      });
    });
  }

  /** Something runs that has to come to its end before the part may end suspended. */
  takeOff(): void {
    this.#inFlight++;
  }

  land(): void {
    this.#inFlight--;
  }

  /** After the delay `ready` is called, unless nothing new may start by then. */
  retryAfter(delayMs: number, ready: () => void): void {
    if (this.#mode !== "Running") return;
    const timer = this.options.ports.scheduler.after(delayMs, () => {
      this.#retries.delete(timer);
      ready();
      this.pump();
    });
    this.#retries.add(timer);
  }

  /** The step asks for a slot; it is told by `slotGiven`. */
  askForSlot(step: PlanStep): void {
    this.#schedule?.ready(step.index);
  }

  release(step: PlanStep): void {
    this.#schedule?.released(step.index);
  }

  /** The step has ended; its slots are released already. */
  finish(step: PlanStep, result: StepResult): void {
    if (this.records.results[step.index] !== undefined) return;
    const isIgnored = result.state === "Failed" && step.ignoresFailure;
    this.#record(step, isIgnored ? { ...result, reason: "Ignored" } : result);
    this.#schedule?.ended(step.index);
    if (result.state === "Failed" && !isIgnored && this.failFast && this.#mode === "Running") this.stop("FailFast");
  }

  #record(step: PlanStep, result: StepResult): void {
    this.#active[step.index] = undefined;
    this.records.record(step, result);
  }
}
