import { MillraceError } from "../errors.ts";
import type { Expression } from "../expressions/expressions.ts";
import type { Value } from "../expressions/json-values.ts";
import { canonicalText } from "../expressions/json-values.ts";
import type { Metadata } from "../metadata.ts";
import { noMetadata } from "../metadata.ts";
import type { ItemResult, StepError, StepResult } from "../outcome.ts";
import type { Payload } from "../payload.ts";
import { digestOf } from "../payload.ts";
import type { PlanStep } from "../plan.ts";
import type { Activity } from "./activity.ts";
import type { WorkOwner } from "./attempts.ts";
import { WorkAttempts } from "./attempts.ts";
import { listOf } from "./item-outputs.ts";
import { Items } from "./items.ts";
import type { Part } from "./part.ts";
import type { Item } from "./preparation.ts";
import { interrupted } from "./resume.ts";
import type { StopReason } from "./rules.ts";
import { errorOf, receivedMetadata, withFuel } from "./rules.ts";
import type { RecordedItems } from "./run-options.ts";
import { inField } from "./scope.ts";

/** How many items the list of a fan-out may have. */
export const maxItems = 10_000;

/** Hexadecimal digits of a list's digest. */
const digestLength = 32;

/** Listing holds a slot; Running holds one for each item that does; Assembling holds none. */
type FanOutState = "Listing" | "Running" | "Assembling" | "Over";

/** What is known of an item that has not ended. */
type Started = Pick<Activity, "attempts"> & Partial<Pick<Activity, "fuel">>;

/** A step that is run once for each item of a list. */
export class FanOut implements Activity, WorkOwner {
  readonly #part: Part;
  readonly #step: PlanStep;
  readonly #forEach: Expression;
  readonly #recorded: RecordedItems | undefined;
  #state: FanOutState = "Listing";
  /** Each until its work begins. */
  #values: (Value | undefined)[] = [];
  #items: Items;
  #metadata: Metadata = noMetadata;
  /** Items that have begun in this part of the run and have not ended. */
  readonly #live = new Map<number, WorkAttempts>();
  /** Those of them that want a slot for their next attempt. */
  readonly #ready: WorkAttempts[] = [];
  /** No item before it is still to begin. */
  #next = 0;
  /** Items that hold a slot. */
  #running = 0;
  #isAskingForSlot = false;
  /** Items whose expressions are still to be evaluated. */
  #unprepared = 0;

  constructor(part: Part, step: PlanStep, forEach: Expression) {
    this.#part = part;
    this.#step = step;
    this.#forEach = forEach;
    this.#recorded = part.records.recordedItems(step);
    this.#items = new Items(this.#recorded?.total ?? 0, this.#recorded);
  }

  get isOver(): boolean {
    return this.#state === "Over";
  }

  get attempts(): number {
    let most = Math.max(this.#items.mostAttempts, this.#part.records.attempts[this.#step.index] ?? 0);
    for (const { attempts } of this.#live.values()) most = Math.max(most, attempts);
    return most;
  }

  get fuel(): number | undefined {
    return this.#items.fuel;
  }

  begin(): void {
    const forEach = this.#forEach;
    this.#part.prepare(forEach, this, (fetched) => this.#list(this.#part.records.scope.evaluate(forEach, fetched)));
  }

  #list(list: Value): void {
    const { records } = this.#part;
    if (!Array.isArray(list)) throw new MillraceError("InvalidInput", `${this.#forEach.field} gave no list`);
    const metadata = receivedMetadata(this.#step, records.plan, records.results);
    if (metadata instanceof MillraceError) throw metadata;
    const digest = this.#digest(list);
    this.#items = new Items(list.length, this.#recorded);
    this.#metadata = metadata;
    this.#values = [...list];
    this.#state = "Running";
    records.emit({ type: "ItemsListed", step: this.#step.index, total: list.length, digest });
    this.#interruptUnknown();
    this.#unprepared = this.#items.open;
    // Whoever heard of the list may have stopped the run, or suspended it.
    if (!this.isOver && this.#part.isRunning) this.#useFirstSlot();
  }

  /** The slot in which the list was evaluated. */
  #useFirstSlot(): void {
    if (this.#items.open > 0 && !this.#hasFailedForGood()) {
      this.#useSlot();
      return;
    }
    this.#part.release(this.#step);
    if (this.#hasFailedForGood()) this.#failNow();
    else this.#conclude();
  }

  /** Of what is the same for equal lists; and a list that is not what it was when its items ran has no place for their results. */
  #digest(list: Value[]): string {
    const { field } = this.#forEach;
    if (list.length > maxItems) {
      const mend = "let an item stand for several, or a processor loop over them";
      throw new MillraceError(
        "InvalidInput",
        `${field} gave ${list.length} items; at most ${maxItems} may be: ${mend}`,
      );
    }
    const text = this.#canonical(list);
    this.#part.records.scope.budget.spendOnBytes(text.byteLength);
    const digest = digestOf(text).slice("sha256:".length).slice(0, digestLength);
    if (this.#recorded === undefined || this.#recorded.digest === digest) return digest;
    throw new MillraceError(
      "Internal",
      `${field} gave another list (${digest}) than before this run was interrupted (${this.#recorded.digest}), so that the items' results belong to none of its items; run it anew`,
    );
  }

  #canonical(list: Value[]): Uint8Array {
    try {
      return new TextEncoder().encode(canonicalText(list));
    } catch (error) {
      throw inField(this.#forEach, error);
    }
  }

  /** Items that must not be begun twice. */
  #interruptUnknown(): void {
    if (this.#step.delivery !== "AtMostOnce") return;
    for (const [index, attempts] of this.#recorded?.attempts ?? []) {
      if (this.isOver) return;
      if (this.#items.hasEnded(index) || index >= this.#items.total || attempts === 0) continue;
      this.#record(index, { state: "Failed", error: interrupted(this.#step.processor), attempts });
    }
  }

  slotGiven(): void {
    this.#isAskingForSlot = false;
    this.#useSlot();
  }

  #useSlot(): void {
    const again = this.#ready.shift();
    const work = again ?? this.#nextWork();
    if (work === undefined) {
      this.#part.release(this.#step);
      return;
    }
    this.#running++;
    if (again === undefined) this.#part.begin(work);
    else work.slotGiven();
    this.#askForSlot();
  }

  /** One at a time, so that other steps have their turns. */
  #askForSlot(): void {
    if (this.#state !== "Running" || this.#isAskingForSlot || this.#running >= this.#step.maxParallel) return;
    if (this.#ready.length === 0 && this.#toBegin() === undefined) return;
    this.#isAskingForSlot = true;
    this.#part.askForSlot(this.#step);
  }

  /** The next item that has not begun. */
  #toBegin(): number | undefined {
    while (this.#next < this.#items.total && this.#items.hasEnded(this.#next)) this.#next++;
    return this.#next < this.#items.total ? this.#next : undefined;
  }

  #nextWork(): WorkAttempts | undefined {
    const index = this.#toBegin();
    if (index === undefined) return undefined;
    this.#next++;
    const attempts = this.#recorded?.attempts.get(index) ?? 0;
    const item: Item = { index, value: this.#values[index] ?? null, metadata: this.#metadata, attempts };
    this.#values[index] = undefined;
    const work = new WorkAttempts(this.#part, this.#step, this, item);
    this.#live.set(index, work);
    return work;
  }

  workPrepared(): void {
    this.#unprepared--;
    if (this.#unprepared === 0) this.#part.records.readingIsOver(this.#step);
  }

  workPaused(): void {
    this.#freeSlot();
    this.#askForSlot();
  }

  workReady(work: WorkAttempts): void {
    this.#ready.push(work);
    this.#askForSlot();
  }

  workFinished({ item = 0 }: WorkAttempts, result: ItemResult): void {
    this.#live.delete(item);
    this.#freeSlot();
    this.#record(item, result);
    if (this.isOver) return;
    if (this.#hasFailedForGood()) this.#failNow();
    else if (this.#items.open === 0 || (this.#part.isCancelling && this.#live.size === 0)) this.#conclude();
    else this.#askForSlot();
  }

  #freeSlot(): void {
    this.#running--;
    this.#part.release(this.#step);
  }

  #record(item: number, result: ItemResult): void {
    this.#items.set(item, result);
    this.#part.records.emit({ type: "ItemFinished", step: this.#step.index, item, result });
  }

  get #fails(): boolean {
    return this.#items.failed > 0 && !this.#step.ignoresFailure;
  }

  /** Whether the others need not be waited for. */
  #hasFailedForGood(): boolean {
    return this.#fails && this.#part.failFast && this.#part.isRunning;
  }

  #failNow(): void {
    const failed = { state: "Failed", error: this.#items.error(), attempts: this.attempts } as const;
    this.#part.failFastWith(this.#step, withFuel(failed, this.fuel));
  }

  /** No item will run any more. */
  #conclude(): void {
    const { attempts } = this;
    if (this.#fails) this.#finish({ state: "Failed", error: this.#items.error(), attempts });
    else if (this.#part.isCancelling && (this.#items.open > 0 || this.#items.cancelled > 0))
      this.#finish({ state: "Cancelled", reason: "Cancelled", attempts });
    else this.#assemble();
  }

  #assemble(): void {
    this.#state = "Assembling";
    const part = this.#part;
    const landed = (next: () => void) => {
      if (this.isOver) return;
      part.land();
      next();
      part.pump();
    };
    part.takeOff();
    this.#outputList().then(
      (output) => landed(() => this.#succeed(output)),
      (error) => landed(() => this.failed(errorOf(error))),
    );
  }

  async #outputList(): Promise<Payload> {
    const { signal, options } = this.#part;
    const list = await listOf(this.#items.outputs(), signal, (bytes) => this.#part.workedOn(bytes));
    return options.keepList === undefined ? list : await options.keepList(list, signal);
  }

  #succeed(output: Payload): void {
    this.#finish({ state: "Succeeded", output, metadata: noMetadata, attempts: this.attempts });
  }

  failed(error: StepError): void {
    if (this.isOver) return;
    if (this.#state === "Listing") this.#part.release(this.#step);
    this.#finish({ state: "Failed", error, attempts: this.attempts });
  }

  #finish(result: StepResult): void {
    this.#state = "Over";
    this.#part.finish(this.#step, withFuel(result, this.fuel));
  }

  drain(): boolean {
    for (const [item, work] of this.#live) {
      if (work.drain()) continue;
      this.#live.delete(item);
      this.#cancelItem(item, work, "Cancelled");
    }
    this.#ready.length = 0;
    if (this.#live.size > 0 || this.#state === "Assembling") return true;
    this.#state = "Over";
    return false;
  }

  stop(reason: StopReason): void {
    if (this.isOver) return;
    const wasRunning = this.#state === "Running";
    this.#state = "Over";
    for (const work of this.#live.values()) work.stop();
    for (const [item, work] of this.#live) this.#cancelItem(item, work, reason);
    if (!wasRunning) return;
    for (const [item, attempts] of this.#recorded?.attempts ?? [])
      if (item < this.#items.total) this.#cancelItem(item, { attempts }, reason);
  }

  #cancelItem(item: number, { attempts, fuel }: Started, reason: StopReason): void {
    if (attempts === 0 || this.#items.hasEnded(item)) return;
    this.#record(item, withFuel({ state: "Cancelled", reason, attempts }, fuel));
  }
}
