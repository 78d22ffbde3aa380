import type { Timer } from "../clock.ts";
import { MillraceError } from "../errors.ts";
import type { Outcome, RunError } from "../outcome.ts";
import type { StrategyName } from "../pipeline.ts";
import type { Plan } from "../plan.ts";
import { activities } from "./activities.ts";
import type { Outputs } from "./outputs.ts";
import { evaluateOutputs, hasOutputExpressions, plainOutputs } from "./outputs.ts";
import type { PartPlan } from "./part.ts";
import { Part } from "./part.ts";
import { Records } from "./records.ts";
import type { PartName, StopReason } from "./rules.ts";
import { errorOf, stopError } from "./rules.ts";
import type { RunHandle, RunOptions } from "./run-options.ts";
import { hybrid } from "./strategies/hybrid.ts";
import { levelByLevel } from "./strategies/level-by-level.ts";
import { reactive } from "./strategies/reactive.ts";
import { workQueue } from "./strategies/work-queue.ts";
import type { ExecutionStrategy } from "./strategy.ts";

const strategies: Readonly<Record<StrategyName, ExecutionStrategy>> = {
  WorkQueue: workQueue,
  LevelByLevel: levelByLevel,
  Reactive: reactive,
  Hybrid: hybrid,
};

/**
 * Runs a plan to its end, or until it is suspended. It begins as soon as the caller has its handle. Where the signal aborts,
 * or a timeout is over, it does not wait for attempts in flight; what such an attempt gives later is dropped.
 */
export function startRun(plan: Plan, options: RunOptions): RunHandle {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const run = new Run(plan, options, resolve);
  queueMicrotask(() => run.start());
  return { outcome: promise, suspend: () => run.suspend(), cancelGracefully: () => run.cancelGracefully() };
}

/** Runs a plan to its end. */
export function run(plan: Plan, options: RunOptions): Promise<Outcome> {
  return startRun(plan, options).outcome;
}

type RunPhase = "New" | "Main" | "Outputs" | "Finally" | "Over";

/** How the graph's steps ended, and so the run, if those of `finally` do not fail it. */
type Verdict = Omit<Outcome, "steps"> & { readonly state: "Succeeded" | "Failed" | "Cancelled" };

/** The graph's steps, then the outputs, then the steps of `finally`, then the outcome. */
class Run {
  readonly #plan: Plan;
  readonly #options: RunOptions;
  readonly #resolve: (outcome: Outcome) => void;
  readonly #records: Records;
  #phase: RunPhase = "New";
  #part: Part | undefined;
  #deadline: Timer | undefined;
  #isSuspended = false;
  #isCancelled = false;
  /** Cancelled at once, or broken: `finally` does not run. */
  #isAborted = false;
  #verdict: Verdict = { state: "Succeeded" };
  readonly #onAbort = () => this.#abort();

  constructor(plan: Plan, options: RunOptions, resolve: (outcome: Outcome) => void) {
    this.#plan = plan;
    this.#options = options;
    this.#resolve = resolve;
    this.#records = new Records(plan, options, this.#onAbort);
  }

  start(): void {
    const { signal } = this.#options;
    this.#phase = "Main";
    const isLeft = this.#records.open("Main") > 0;
    this.#part = this.#newPart("Main", isLeft ? this.#mainLeftMs() : undefined, (end) => this.#mainEnded(end));
    if (signal.aborted) {
      this.#abort();
      return;
    }
    signal.addEventListener("abort", this.#onAbort, { once: true });
    if (this.#isCancelled) this.#part.start("Cancel");
    else this.#part.start(this.#isSuspended ? "Suspend" : undefined);
  }

  suspend(): void {
    if (this.#isSuspended) return;
    this.#isSuspended = true;
    if (this.#phase === "Main" || this.#phase === "Finally") this.#part?.suspend();
  }

  cancelGracefully(): void {
    if (this.#isCancelled) return;
    this.#isCancelled = true;
    if (this.#phase === "Main") this.#part?.cancel();
  }

  #mainLeftMs(): number | undefined {
    const { timeoutMs } = this.#plan;
    if (timeoutMs === undefined) return undefined;
    return Math.max(0, timeoutMs - (this.#options.recorded?.elapsedMs ?? 0));
  }

  #newPart(name: PartName, leftMs: number | undefined, onEnd: PartPlan["onEnd"]): Part {
    const { clock, scheduler } = this.#options.ports;
    let deadlineMs = Number.POSITIVE_INFINITY;
    if (leftMs !== undefined) {
      deadlineMs = clock.monotonic() + leftMs;
      this.#deadline = scheduler.after(leftMs, () => this.#outOfTime());
    }
    const strategy = strategies[this.#plan.strategy];
    return new Part(this.#records, { name, strategy, deadlineMs, activityOf: activities(), onEnd });
  }

  #outOfTime(): void {
    if (this.#phase === "Outputs") this.#stopOutputs("PipelineTimeout");
    else this.#part?.stop("PipelineTimeout");
  }

  /** The caller cancels at once, or somebody who must not throw has thrown. */
  #abort(): void {
    if (this.#phase === "Over") return;
    this.#isAborted = true;
    if (this.#phase === "Outputs") this.#stopOutputs("Cancelled");
    else this.#part?.stop("Cancelled");
  }

  #mainEnded(end: "Ended" | "Suspended"): void {
    if (end === "Suspended") {
      this.#end({ state: "Suspended" });
      return;
    }
    this.#phase = "Outputs";
    const stopped = this.#part?.stopReason;
    const error = this.#records.firstError("Main");
    if (stopped === "Cancelled" || stopped === "PipelineTimeout") this.#conclude(this.#stoppedVerdict(stopped, "Main"));
    else if (error !== undefined && this.#plan.failurePolicy !== "BestEffort")
      this.#conclude({ state: "Failed", error });
    else if (!hasOutputExpressions(this.#plan)) this.#concludeWith(plainOutputs(this.#records));
    else this.#evaluateOutputs();
  }

  #stoppedVerdict(reason: StopReason, part: PartName): Verdict {
    const error = errorOf(stopError(reason, this.#plan, part));
    return { state: reason === "Cancelled" ? "Cancelled" : "Failed", error };
  }

  #evaluateOutputs(): void {
    const signal = this.#part?.signal;
    if (signal === undefined) return;
    evaluateOutputs(this.#records, signal).then(
      (outputs) => this.#concludeWith(outputs),
      (error) => this.#conclude({ state: "Failed", error: this.#records.firstError("Main") ?? errorOf(error) }),
    );
  }

  /** Whoever waits for bytes hears of it, and what he has to say then comes too late. */
  #stopOutputs(reason: StopReason): void {
    this.#part?.abort(reason);
    this.#conclude(this.#stoppedVerdict(reason, "Main"));
  }

  #concludeWith(outputs: Outputs | undefined): void {
    if (outputs !== undefined) this.#conclude({ state: "Succeeded", ...outputs });
    else this.#conclude({ state: "Failed", error: this.#records.firstError("Main") ?? noError });
  }

  /** The graph's steps have ended, and it is known how. */
  #conclude(verdict: Verdict): void {
    if (this.#phase !== "Outputs") return;
    this.#deadline?.cancel();
    this.#verdict = verdict;
    if (this.#plan.finallyFrom === this.#plan.steps.length) this.#end(verdict);
    else if (this.#isSuspended && !this.#isAborted && this.#records.open("Finally") > 0)
      this.#end({ state: "Suspended" });
    else this.#startFinally(verdict);
  }

  #startFinally({ state }: Verdict): void {
    this.#phase = "Finally";
    this.#records.beginFinally(state);
    const isLeft = this.#records.open("Finally") > 0 && !this.#isAborted;
    const leftMs = isLeft ? this.#plan.finallyTimeoutMs : undefined;
    this.#part = this.#newPart("Finally", leftMs, (end) => this.#finallyEnded(end));
    if (this.#isAborted) this.#part.stop("Cancelled");
    else this.#part.start();
  }

  #finallyEnded(end: "Ended" | "Suspended"): void {
    const error = this.#records.firstError("Finally");
    const stopped = this.#part?.stopReason;
    if (end === "Suspended") this.#end({ state: "Suspended" });
    else if (stopped === "Cancelled") this.#end(this.#stoppedVerdict(stopped, "Finally"));
    else if (this.#verdict.state !== "Succeeded") this.#end(this.#verdict);
    else if (stopped !== undefined) this.#end(this.#stoppedVerdict(stopped, "Finally"));
    else this.#end(error === undefined ? this.#verdict : { state: "Failed", error });
  }

  #end(end: Omit<Outcome, "steps">): void {
    if (this.#phase === "Over") return;
    this.#phase = "Over";
    this.#deadline?.cancel();
    this.#options.signal.removeEventListener("abort", this.#onAbort);
    const { defect, results } = this.#records;
    const outcome = defect === undefined ? end : ({ state: "Failed", error: defect } as const);
    this.#resolve({ ...outcome, steps: results });
  }
}

/** A step whose output is missing has failed, or another before it. */
const noError: RunError = errorOf(new MillraceError("Internal", "there is no output, and no step has failed"));
