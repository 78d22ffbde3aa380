import { errorClasses, toMillraceError } from "../errors.ts";
import type { Metadata } from "../metadata.ts";
import type { ItemResult, StepError } from "../outcome.ts";
import type { Payload } from "../payload.ts";
import type { PlanStep } from "../plan.ts";
import type { ProcessorRequest, ProcessorResponse } from "../processor.ts";
import type { Activity } from "./activity.ts";
import type { Part } from "./part.ts";
import type { Item, Prepared } from "./preparation.ts";
import { Preparation } from "./preparation.ts";
import { retryDelayMs } from "./retry.ts";
import { errorOf, withFuel } from "./rules.ts";
import type { Attempt, CacheUse, KnownResult, Work } from "./run-options.ts";

/** Whose works they are: a step's, or a fan-out's for its items. */
export interface WorkOwner {
  /** It will look at nothing more but its request. */
  workPrepared(work: WorkAttempts): void;
  /** It waits for its next attempt; its slot is free. */
  workPaused(work: WorkAttempts): void;
  /** It wants a slot again. */
  workReady(work: WorkAttempts): void;
  /** It has ended, and still holds its slot. */
  workFinished(work: WorkAttempts, result: ItemResult): void;
}

/** How much earlier than the run's deadline a backend may answer DeadlineExceeded for it: gRPC does by up to 20 ms. */
const deadlineSlackMs = 100;

/** Preparing holds a slot, as does InFlight; Waiting and Ready do not. */
type WorkState = "Preparing" | "InFlight" | "Waiting" | "Ready" | "Over";

/** One work, a step's or an item's: its attempts, and the waits between them. */
export class WorkAttempts implements Activity, Prepared {
  readonly step: PlanStep;
  readonly item: number | undefined;
  readonly #part: Part;
  readonly #owner: WorkOwner;
  /** Until it begins. */
  #item: Item | undefined;
  #attempts: number;
  #state: WorkState = "Preparing";
  #request: ProcessorRequest | undefined;
  #cache: CacheUse | undefined;
  /** Whether an attempt was made in this part of the run. */
  #isCalled = false;
  /** Of the newest attempt, where its backend told. */
  #fuel: number | undefined;
  /** Whether its attempt's timeout is what is left of the run's. */
  #isUntilDeadline = false;

  constructor(part: Part, step: PlanStep, owner: WorkOwner, item?: Item) {
    this.step = step;
    this.item = item?.index;
    this.#part = part;
    this.#owner = owner;
    this.#item = item;
    this.#attempts = item?.attempts ?? part.records.attempts[step.index] ?? 0;
  }

  get attempts(): number {
    return this.#attempts;
  }

  get fuel(): number | undefined {
    return this.#fuel;
  }

  get isOver(): boolean {
    return this.#state === "Over";
  }

  begin(): void {
    const { step } = this;
    const preparation = new Preparation(this.#part, step, this, this.#item);
    this.#item = undefined;
    preparation.begin();
  }

  slotGiven(): void {
    this.#attempt();
  }

  drain(): boolean {
    if (this.#state !== "InFlight") this.#state = "Over";
    return this.#state === "InFlight";
  }

  stop(): void {
    this.#state = "Over";
  }

  failed(error: StepError): void {
    this.#finish({ state: "Failed", error, attempts: this.#attempts });
  }

  #finish(result: ItemResult): void {
    if (this.#state === "Over") return;
    this.#state = "Over";
    this.#request = undefined;
    this.#owner.workFinished(this, withFuel(result, this.#fuel));
  }

  prepared(request: ProcessorRequest, cache: CacheUse | undefined): void {
    this.#request = request;
    this.#cache = cache;
    this.#owner.workPrepared(this);
    const asked = this.#part.options.known?.find(this.#work(), request, cache);
    if (asked === undefined) this.#attempt();
    else
      this.#part.await(asked, this, (known) => (known === undefined ? this.#attempt() : this.#found(request, known)));
  }

  #found(request: ProcessorRequest, { reason, output, metadata }: KnownResult): void {
    const payload = this.step.intent === "Analyze" ? request.payload : output;
    this.#finish({ state: "Succeeded", output: payload, metadata, attempts: this.#attempts, reason });
  }

  #work(): Work {
    const { index: step, name: stepName, processor } = this.step;
    const { execution } = this.#part.options;
    const idempotencyKey = this.#idempotencyKey();
    const work = { step, stepName, processor, idempotencyKey, execution };
    return this.item === undefined ? work : { ...work, item: this.item };
  }

  #idempotencyKey(): string {
    const key = `${this.#part.options.execution.uid}/${this.step.name}`;
    return this.item === undefined ? key : `${key}/${this.item}`;
  }

  #attempt(): void {
    const request = this.#request;
    if (request === undefined || this.#state === "Over") return;
    const { options } = this.#part;
    if (!this.#isCalled) options.retryBudgets?.called(options.execution.namespace, this.step.processor);
    this.#isCalled = true;
    this.#attempts++;
    this.#fuel = undefined;
    this.#state = "InFlight";
    this.#part.takeOff();
    this.#emitStarted();
    if (this.isOver) return;
    if (this.step.delivery === "AtMostOnce" && options.beforeAttempt !== undefined)
      this.#announce(options.beforeAttempt, request);
    else this.#invoke(request);
  }

  /** The attempt is recorded before it is made, and counts as in flight from then on. */
  #announce(beforeAttempt: (attempt: Attempt) => Promise<void>, request: ProcessorRequest): void {
    const announced = Promise.try(beforeAttempt, this.#call());
    announced.then(
      () => (this.isOver ? undefined : this.#invoke(request)),
      (error) => this.#unannounced(error),
    );
  }

  #invoke(request: ProcessorRequest): void {
    const { options, signal } = this.#part;
    let answer: Promise<ProcessorResponse>;
    try {
      answer = options.invoke(this.#call(), request, signal);
    } catch (error) {
      answer = Promise.reject(error);
    }
    answer.then(
      (response) => this.#land(response),
      (error) => this.#crash(error),
    );
  }

  #call(): Attempt {
    const { index: step, name: stepName, processor, timeoutMs: ownMs } = this.step;
    const { deadlineMs, options } = this.#part;
    const { execution } = options;
    const attempt = this.#attempts;
    let timeoutMs = ownMs;
    if (deadlineMs !== Number.POSITIVE_INFINITY) {
      const leftMs = deadlineMs - options.ports.clock.monotonic();
      this.#isUntilDeadline = leftMs <= ownMs;
      if (this.#isUntilDeadline) timeoutMs = Math.max(1, leftMs);
    }
    const idempotencyKey = this.#idempotencyKey();
    const reportFuel = (units: number) => {
      // One that was given up may tell after the next has begun.
      if (attempt === this.#attempts) this.#fuel = units;
    };
    const call = { step, stepName, processor, attempt, idempotencyKey, timeoutMs, execution, reportFuel };
    return this.item === undefined ? call : { ...call, item: this.item };
  }

  #land(response: ProcessorResponse): void {
    const request = this.#request;
    if (request === undefined || this.isOver) return;
    this.#part.land();
    this.#responded(request, response);
    this.#part.pump();
  }

  #crash(error: unknown): void {
    if (this.isOver) return;
    this.#part.land();
    this.#threw(error);
    this.#part.pump();
  }

  #unannounced(error: unknown): void {
    if (this.isOver) return;
    this.#part.land();
    this.failed(errorOf(error));
    this.#part.pump();
  }

  #responded(request: ProcessorRequest, response: ProcessorResponse): void {
    const { step } = this;
    if (response.ok) {
      const { metadata } = response;
      const output = step.intent === "Analyze" ? request.payload : response.payload;
      this.#keep(request, output, metadata);
      this.#finish({ state: "Succeeded", output, metadata, attempts: this.#attempts });
      return;
    }
    const { code, message, retryable, retryAfterMs } = response.error;
    const known = code === "InvalidInput" ? code : "ProcessorFailed";
    const error: StepError = { code: known, kind: errorClasses[known].kind, message, processorCode: code };
    this.#attemptFailed(error, retryable, retryAfterMs);
  }

  #keep(request: ProcessorRequest, output: Payload, metadata: Metadata): void {
    const cache = this.#cache;
    const { known } = this.#part.options;
    if (cache === undefined || known === undefined) return;
    this.#part.records.tell(() => known.keep(this.#work(), request, cache, output, metadata));
  }

  #threw(thrown: unknown): void {
    const error = toMillraceError(thrown);
    if (error.code === "DeadlineExceeded" && this.#isForDeadline()) this.#part.stop("PipelineTimeout");
    else this.#attemptFailed(errorOf(error), undefined, error.retryAfterMs);
  }

  /** Whether the attempt ran out of the run's time, not its own; backends may say so a little early. */
  #isForDeadline(): boolean {
    const { deadlineMs, options } = this.#part;
    return this.#isUntilDeadline && deadlineMs - options.ports.clock.monotonic() <= deadlineSlackMs;
  }

  #attemptFailed(error: StepError, retryable: boolean | undefined, retryAfterMs: number | undefined): void {
    const attempt = this.#attempts;
    const { random } = this.#part.options.ports;
    const delayMs = retryDelayMs(this.step.retry, { attempt, code: error.code, retryable, retryAfterMs }, random);
    if (delayMs === undefined) this.failed(error);
    else if (this.#part.isCancelling) this.#finish({ state: "Cancelled", reason: "Cancelled", attempts: attempt });
    else if (!this.#mayRetry()) this.failed(this.#exhausted(error));
    else this.#pause(error, delayMs);
  }

  #mayRetry(): boolean {
    const { retryBudgets, execution } = this.#part.options;
    const { processor, budgetPercent } = this.step;
    return retryBudgets === undefined || retryBudgets.mayRetry(execution.namespace, processor, budgetPercent);
  }

  #exhausted(error: StepError): StepError {
    const { processor, budgetPercent } = this.step;
    const why = `not tried again: the retry budget of the Processor ${processor} is used up (retry.budgetPercent: ${budgetPercent})`;
    return { ...error, message: `${error.message}; ${why}` };
  }

  #pause(error: StepError, delayMs: number): void {
    this.#state = "Waiting";
    this.#owner.workPaused(this);
    this.#part.retryAfter(delayMs, () => {
      this.#state = "Ready";
      this.#owner.workReady(this);
    });
    this.#emitRetrying(error, delayMs);
  }

  #emitStarted(): void {
    const { index: step } = this.step;
    const { item } = this;
    const attempt = this.#attempts;
    const { records } = this.#part;
    if (item === undefined) records.emit({ type: "StepStarted", step, attempt });
    else records.emit({ type: "ItemStarted", step, item, attempt });
  }

  #emitRetrying(error: StepError, delayMs: number): void {
    const { index: step } = this.step;
    const { item } = this;
    const retrying = { step, attempt: this.#attempts, error, delayMs };
    const { records } = this.#part;
    if (item === undefined) records.emit({ type: "StepRetrying", ...retrying });
    else records.emit({ type: "ItemRetrying", item, ...retrying });
  }
}

/** A step that is one work. */
export class StepWork implements WorkOwner {
  readonly #part: Part;

  constructor(part: Part) {
    this.#part = part;
  }

  workPrepared({ step }: WorkAttempts): void {
    this.#part.records.readingIsOver(step);
  }

  workPaused({ step }: WorkAttempts): void {
    this.#part.release(step);
  }

  workReady({ step }: WorkAttempts): void {
    this.#part.askForSlot(step);
  }

  workFinished({ step }: WorkAttempts, result: ItemResult): void {
    this.#part.release(step);
    this.#part.finish(step, result);
  }
}
