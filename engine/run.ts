import type { Ports, Timer } from "./clock.ts";
import { errorClasses, MillraceError, toMillraceError } from "./errors.ts";
import type { Expression } from "./expressions.ts";
import { noMetadata } from "./metadata.ts";
import type { Outcome, RunError, RunEvent, StepError, StepResult } from "./outcome.ts";
import type { JsonObject, Payload } from "./payload.ts";
import { jsonPayload } from "./payload.ts";
import type { Plan, PlanStep } from "./plan.ts";
import type { ExecutionIdentity, ProcessorRequest, ProcessorResponse } from "./processor.ts";
import { retryDelayMs } from "./retry.ts";
import type { StopReason } from "./rules.ts";
import { errorOf, receivedMetadata, skipReason, stopError } from "./rules.ts";
import type { Fetched, Visible, VisibleStep } from "./scope.ts";
import { nothingFetched, Scope } from "./scope.ts";
import { workQueue } from "./strategies/work-queue.ts";
import type { ExecutionStrategy, Schedule } from "./strategy.ts";

/** One attempt of one step, to be made by a backend. */
export interface Attempt {
  /** Index into the plan's steps. */
  readonly step: number;
  readonly stepName: string;
  readonly processor: string;
  /** From 1. */
  readonly attempt: number;
  readonly idempotencyKey: string;
  /** The shorter of the step's timeout and what is left of the Pipeline's. */
  readonly timeoutMs: number;
  readonly execution: ExecutionIdentity;
}

/** Makes one attempt: deadline, limits and error translation are its work, retries are not. Throws only MillraceError. */
export type Invoke = (attempt: Attempt, request: ProcessorRequest, signal: AbortSignal) => Promise<ProcessorResponse>;

export interface RunOptions {
  readonly execution: ExecutionIdentity;
  readonly input: Payload;
  /** Complete: defaults are filled in by `bindParameters`. */
  readonly parameters: JsonObject;
  readonly invoke: Invoke;
  readonly ports: Ports;
  /** Immediate cancellation, and shutdown: running attempts are aborted, every row ends final. */
  readonly signal: AbortSignal;
  /** Steps that ended in an earlier part of this run, by name; they are not run again. */
  readonly recorded?: ReadonlyMap<string, StepResult>;
  /** Attempts already started by an earlier part of this run, by step name, so that attempts are counted on. */
  readonly attempts?: ReadonlyMap<string, number>;
  /** How much of the Pipeline's timeout an earlier part of this run used up, in milliseconds. */
  readonly elapsedMs?: number;
  readonly onEvent?: (event: RunEvent) => void;
}

/** How much earlier than the Pipeline's timeout a backend may answer DeadlineExceeded for it: gRPC does by up to 20 ms. */
const deadlineSlackMs = 100;

/**
 * Runs a plan to its end. Never rejects: whatever happens, every row ends final. It ends as soon as the signal aborts or
 * the Pipeline's timeout is over, also when an attempt in flight does not; what such an attempt gives later is dropped.
 */
export function run(plan: Plan, options: RunOptions): Promise<Outcome> {
  return new Promise((resolve) => new Run(plan, options, workQueue, resolve).start());
}

class Run implements Visible {
  readonly #plan: Plan;
  readonly #options: RunOptions;
  readonly #resolve: (outcome: Outcome) => void;
  readonly #schedule: Schedule;
  readonly #controller = new AbortController();
  /** By step; a step that has a result is final and never changes. */
  readonly #results: (StepResult | undefined)[];
  /** By step: attempts started, those of earlier parts of the run included. */
  readonly #attempts: Int32Array;
  /** By step: what its attempts are given, from its first attempt to its end. */
  readonly #requests: (ProcessorRequest | undefined)[];
  readonly #retryTimers = new Map<number, Timer>();
  /** Steps whose attempt's timeout is what is left of the Pipeline's. */
  readonly #untilDeadline = new Set<number>();
  #scope: Scope | undefined;
  #open: number;
  #deadlineMs = Number.POSITIVE_INFINITY;
  #deadlineTimer: Timer | undefined;
  #firstError: RunError | undefined;
  #defect: StepError | undefined;
  #stopped: StopReason | undefined;
  /** What goes on now that its bytes are there. */
  readonly #arrived: (() => void)[] = [];
  /** Pending while the event loop has its turn; nothing goes on meanwhile. */
  #turnTimer: Timer | undefined;
  #isPumping = false;
  #isConcluding = false;
  #isOver = false;
  readonly #onAbort = () => this.#stop("Cancelled");

  constructor(plan: Plan, options: RunOptions, strategy: ExecutionStrategy, resolve: (outcome: Outcome) => void) {
    this.#plan = plan;
    this.#options = options;
    this.#resolve = resolve;
    const count = plan.steps.length;
    this.#results = plan.steps.map(() => undefined);
    this.#requests = plan.steps.map(() => undefined);
    this.#attempts = new Int32Array(count);
    this.#open = count;
    this.#takeBack();
    this.#schedule = strategy.schedule(plan, (step) => this.#results[step] !== undefined);
  }

  start(): void {
    const { signal } = this.#options;
    if (signal.aborted) {
      this.#stop("Cancelled");
      return;
    }
    signal.addEventListener("abort", this.#onAbort, { once: true });
    this.#startDeadline();
    if (this.#firstError !== undefined && this.#plan.failurePolicy === "FailFast") this.#stop("FailFast");
    this.#pump();
  }

  /** Takes over what earlier parts of this run recorded. */
  #takeBack(): void {
    const { recorded, attempts } = this.#options;
    if (recorded === undefined && attempts === undefined) return;
    for (const { index, name } of this.#plan.steps) {
      this.#attempts[index] = attempts?.get(name) ?? 0;
      const result = recorded?.get(name);
      if (result === undefined) continue;
      this.#results[index] = result;
      this.#open--;
      if (result.state === "Failed") this.#firstError ??= { ...result.error, step: name };
    }
  }

  #startDeadline(): void {
    const { timeoutMs } = this.#plan;
    if (timeoutMs === undefined) return;
    const { clock, scheduler } = this.#options.ports;
    const leftMs = Math.max(0, timeoutMs - (this.#options.elapsedMs ?? 0));
    this.#deadlineMs = clock.monotonic() + leftMs;
    this.#deadlineTimer = scheduler.after(leftMs, () => this.#stop("PipelineTimeout"));
  }

  payload(index: number): Payload | undefined {
    if (index < 0) return this.#options.input;
    const result = this.#results[index];
    return result?.state === "Succeeded" ? result.output : undefined;
  }

  step(index: number): VisibleStep {
    const result = this.#results[index];
    const name = this.#plan.steps[index]?.name ?? "";
    return result?.state === "Succeeded"
      ? { name, output: result.output, metadata: result.metadata }
      : { name, metadata: noMetadata };
  }

  /**
   * Starts what is ready. Steps that end at once only mark the next ones ready: the loop goes on, nothing recurses. After
   * much work on expressions the event loop has its turn, so that timers, cancellation and other runs have theirs.
   */
  #pump(): void {
    if (this.#isPumping || this.#isConcluding || this.#turnTimer !== undefined) return;
    this.#isPumping = true;
    while (this.#stopped === undefined && this.#turnTimer === undefined && this.#goOn()) {
      if (this.#open > 0 && this.#scope?.budget.isTurnOver === true) this.#giveTurn();
    }
    this.#isPumping = false;
    if (this.#open === 0) this.#conclude();
  }

  /** Whether there was anything to go on with. */
  #goOn(): boolean {
    const arrived = this.#arrived.shift();
    if (arrived !== undefined) {
      arrived();
      return true;
    }
    const step = this.#plan.steps[this.#schedule.next()];
    if (step !== undefined) this.#begin(step);
    return step !== undefined;
  }

  #giveTurn(): void {
    this.#turnTimer = this.#options.ports.scheduler.after(0, () => {
      this.#turnTimer = undefined;
      this.#scope?.budget.startTurn();
      this.#pump();
    });
  }

  #begin(step: PlanStep): void {
    const request = this.#requests[step.index];
    if (request !== undefined) {
      this.#attempt(step, request);
      return;
    }
    const reason = skipReason(step, this.#results);
    if (reason !== undefined) {
      this.#finish(step.index, { state: "Skipped", reason });
      return;
    }
    const { when } = step;
    if (when === undefined) this.#takeInput(step);
    else this.#prepare(when, step, (fetched) => this.#decide(step, when, fetched));
  }

  #decide(step: PlanStep, when: Expression, fetched: Fetched): void {
    if (this.#scopeOfRun().evaluate(when, fetched) === false) {
      this.#finish(step.index, { state: "Skipped", reason: "WhenFalse" });
      return;
    }
    this.#takeInput(step);
  }

  #takeInput(step: PlanStep): void {
    const { input } = step;
    if (input === undefined) this.#beginWith(step, this.payload(step.origin));
    else this.#prepare(input, step, (fetched) => this.#beginWith(step, this.#scopeOfRun().payloadOf(input, fetched)));
  }

  /** Goes on with `next` when the bytes that the expression looks into are there; what either throws fails the step. */
  #prepare(expression: Expression, step: PlanStep, next: (fetched: Fetched) => void, fetched = nothingFetched): void {
    if (this.#results[step.index] !== undefined) return;
    try {
      const waiting = this.#scopeOfRun().prepare(expression, fetched, this.#controller.signal);
      if (waiting === undefined) {
        next(fetched);
        return;
      }
      // Meanwhile what was decoded may have been let go: so it is prepared again, until nothing is missing.
      waiting.then(
        (more) => this.#later(() => this.#prepare(expression, step, next, more)),
        (error) => this.#later(() => this.#fail(step, errorOf(error))),
      );
    } catch (error) {
      this.#fail(step, errorOf(error));
    }
  }

  #later(next: () => void): void {
    if (this.#isOver) return;
    this.#arrived.push(next);
    this.#pump();
  }

  #scopeOfRun(): Scope {
    if (this.#scope !== undefined) return this.#scope;
    const open = this.#plan.steps.filter(({ index }) => !this.#isReadingOver(index));
    const reads = [...open.map((step) => step.reads), this.#plan.outputReads];
    this.#scope = new Scope(this, reads, this.#options.parameters, this.#options.execution);
    return this.#scope;
  }

  /** A step's expressions have been evaluated when it has its request, or never will be when it has its result. */
  #isReadingOver(index: number): boolean {
    return this.#requests[index] !== undefined || this.#results[index] !== undefined;
  }

  #beginWith(step: PlanStep, payload: Payload | undefined): void {
    const metadata = receivedMetadata(step, this.#plan, this.#results);
    if (payload === undefined || metadata instanceof MillraceError) {
      const defect = new MillraceError("Internal", `the payload of step ${step.name} is not there`);
      this.#fail(step, errorOf(metadata instanceof MillraceError ? metadata : defect));
      return;
    }
    const request = { payload, metadata, options: step.options };
    this.#scope?.release(step.reads);
    this.#requests[step.index] = request;
    this.#attempt(step, request);
  }

  #attempt(step: PlanStep, request: ProcessorRequest): void {
    const { index, name, processor } = step;
    const { execution, invoke, ports } = this.#options;
    const attempt = (this.#attempts[index] ?? 0) + 1;
    this.#attempts[index] = attempt;
    this.#emit({ type: "StepStarted", step: index, attempt });
    if (this.#stopped !== undefined) return;
    let timeoutMs = step.timeoutMs;
    const leftMs = this.#deadlineMs - ports.clock.monotonic();
    if (leftMs <= timeoutMs) {
      timeoutMs = Math.max(1, leftMs);
      this.#untilDeadline.add(index);
    }
    const idempotencyKey = `${execution.uid}/${name}`;
    const call: Attempt = { step: index, stepName: name, processor, attempt, idempotencyKey, timeoutMs, execution };
    this.#invoke(invoke, call, request).then(
      (response) => this.#responded(step, request, response),
      (error) => this.#threw(step, error),
    );
  }

  #invoke(invoke: Invoke, call: Attempt, request: ProcessorRequest): Promise<ProcessorResponse> {
    try {
      return invoke(call, request, this.#controller.signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #responded(step: PlanStep, request: ProcessorRequest, response: ProcessorResponse): void {
    if (this.#results[step.index] !== undefined) return;
    if (response.ok) {
      const output = step.intent === "Analyze" ? request.payload : response.payload;
      const attempts = this.#attempts[step.index] ?? 0;
      this.#finish(step.index, { state: "Succeeded", output, metadata: response.metadata, attempts });
    } else {
      const { code, message, retryable, retryAfterMs } = response.error;
      const known = code === "InvalidInput" ? code : "ProcessorFailed";
      this.#failed(
        step,
        { code: known, kind: errorClasses[known].kind, message, processorCode: code },
        retryable,
        retryAfterMs,
      );
    }
    this.#pump();
  }

  #threw(step: PlanStep, thrown: unknown): void {
    if (this.#results[step.index] !== undefined) return;
    const error = toMillraceError(thrown);
    if (error.code === "DeadlineExceeded" && this.#isForDeadline(step)) {
      this.#stop("PipelineTimeout");
      return;
    }
    this.#failed(step, errorOf(error), undefined, error.retryAfterMs);
    this.#pump();
  }

  /** Whether an attempt ran out of the Pipeline's time, not its own; backends may say so a little early. */
  #isForDeadline({ index }: PlanStep): boolean {
    const leftMs = this.#deadlineMs - this.#options.ports.clock.monotonic();
    return this.#untilDeadline.has(index) && leftMs <= deadlineSlackMs;
  }

  #failed(step: PlanStep, error: StepError, retryable: boolean | undefined, retryAfterMs: number | undefined): void {
    const attempt = this.#attempts[step.index] ?? 0;
    const { ports } = this.#options;
    const delayMs = retryDelayMs(step.retry, { attempt, code: error.code, retryable, retryAfterMs }, ports.random);
    if (delayMs === undefined) {
      this.#fail(step, error);
      return;
    }
    this.#schedule.paused(step.index);
    this.#retryTimers.set(
      step.index,
      ports.scheduler.after(delayMs, () => {
        this.#retryTimers.delete(step.index);
        this.#schedule.resumed(step.index);
        this.#pump();
      }),
    );
    this.#emit({ type: "StepRetrying", step: step.index, attempt, error, delayMs });
  }

  #fail(step: PlanStep, error: StepError): void {
    if (this.#results[step.index] !== undefined) return;
    this.#firstError ??= { ...error, step: step.name };
    this.#finish(step.index, { state: "Failed", error, attempts: this.#attempts[step.index] ?? 0 });
    if (this.#plan.failurePolicy === "FailFast") this.#stop("FailFast");
  }

  #finish(index: number, result: StepResult): void {
    this.#record(index, result);
    this.#schedule.finished(index);
  }

  #record(index: number, result: StepResult): void {
    if (this.#scope !== undefined && !this.#isReadingOver(index))
      this.#scope.release(this.#plan.steps[index]?.reads ?? []);
    this.#results[index] = result;
    this.#requests[index] = undefined;
    this.#open--;
    this.#emit({ type: "StepFinished", step: index, result });
  }

  /** A listener that throws is a defect of ours: it hears nothing more, and the run ends with it. */
  #emit(event: RunEvent): void {
    if (this.#defect !== undefined) return;
    try {
      this.#options.onEvent?.(event);
    } catch (error) {
      this.#defect = errorOf(new MillraceError("Internal", "a listener of the run failed", { cause: error }));
      this.#stop("Cancelled");
    }
  }

  /** Ends the run now: what runs is aborted and not waited for, what has not started never does. */
  #stop(reason: StopReason): void {
    if (this.#stopped !== undefined || this.#isOver) return;
    this.#stopped = reason;
    for (const timer of this.#retryTimers.values()) timer.cancel();
    this.#controller.abort(stopError(reason, this.#plan));
    for (const index of this.#plan.order) {
      const step = this.#plan.steps[index];
      if (step !== undefined && this.#results[index] === undefined)
        this.#record(index, this.#stoppedResult(step, reason));
    }
    this.#conclude();
  }

  #stoppedResult(step: PlanStep, reason: StopReason): StepResult {
    const attempts = this.#attempts[step.index] ?? 0;
    if (attempts > 0) return { state: "Cancelled", reason, attempts };
    const isUpstreamFailed = skipReason(step, this.#results) === "UpstreamFailed";
    return { state: "Skipped", reason: isUpstreamFailed ? "UpstreamFailed" : reason };
  }

  #conclude(): void {
    if (this.#defect !== undefined) {
      this.#end({ state: "Failed", error: this.#defect });
      return;
    }
    if (this.#stopped === "Cancelled" || this.#stopped === "PipelineTimeout") {
      const error = errorOf(stopError(this.#stopped, this.#plan));
      this.#end({ state: this.#stopped === "Cancelled" ? "Cancelled" : "Failed", error });
      return;
    }
    if (this.#isConcluding) return;
    this.#isConcluding = true;
    if (this.#firstError !== undefined) {
      this.#end({ state: "Failed", error: this.#firstError });
      return;
    }
    const { output, outputOrigin } = this.#plan;
    if (output === undefined) {
      this.#end({ state: "Succeeded", output: this.payload(outputOrigin) ?? jsonPayload(null) });
      return;
    }
    this.#evaluateOutput(output, nothingFetched);
  }

  #evaluateOutput(output: Expression, fetched: Fetched): void {
    if (this.#isOver) return;
    const fail = (error: unknown) => this.#end({ state: "Failed", error: errorOf(error) });
    try {
      const scope = this.#scopeOfRun();
      const waiting = scope.prepare(output, fetched, this.#controller.signal);
      if (waiting === undefined) this.#end({ state: "Succeeded", output: scope.payloadOf(output, fetched) });
      else waiting.then((more) => this.#evaluateOutput(output, more), fail);
    } catch (error) {
      fail(error);
    }
  }

  #end(end: Omit<Outcome, "steps">): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#deadlineTimer?.cancel();
    this.#turnTimer?.cancel();
    this.#options.signal.removeEventListener("abort", this.#onAbort);
    this.#resolve({ ...end, steps: this.#results.filter((result) => result !== undefined) });
  }
}
