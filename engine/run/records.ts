import { MillraceError } from "../errors.ts";
import { noMetadata } from "../metadata.ts";
import type { RunError, RunEvent, StepError, StepResult } from "../outcome.ts";
import type { Payload } from "../payload.ts";
import { jsonPayload } from "../payload.ts";
import type { Plan, PlanStep } from "../plan.ts";
import { mostAttempts } from "./items.ts";
import type { PartName } from "./rules.ts";
import { errorOf, hasOutput } from "./rules.ts";
import type { Recorded, RecordedItems, RunOptions } from "./run-options.ts";
import type { ExecutionState, Visible, VisibleStep } from "./scope.ts";
import { Scope } from "./scope.ts";

/** What is known of a run's steps, both parts of it, and who hears of it. */
export class Records implements Visible {
  readonly plan: Plan;
  readonly options: RunOptions;
  /** By step; a step that has a result is final and never changes. */
  readonly results: (StepResult | undefined)[];
  /** By step: attempts that earlier parts of the run started. */
  readonly attempts: Int32Array;
  readonly #open: Record<PartName, number>;
  readonly #firstErrors: Partial<Record<PartName, RunError>> = {};
  /** By step: whether its expressions have been evaluated, or never will be. */
  readonly #isReadingOver: Uint8Array;
  readonly #nothing = jsonPayload(null);
  readonly #onDefect: () => void;
  #state: ExecutionState = "Running";
  #scope: Scope | undefined;
  #defect: StepError | undefined;

  /** `onDefect` is called once, when a listener has thrown. */
  constructor(plan: Plan, options: RunOptions, onDefect: () => void) {
    const count = plan.steps.length;
    this.plan = plan;
    this.options = options;
    this.#onDefect = onDefect;
    this.results = plan.steps.map(() => undefined);
    this.attempts = new Int32Array(count);
    this.#isReadingOver = new Uint8Array(count);
    this.#open = { Main: plan.finallyFrom, Finally: count - plan.finallyFrom };
    if (options.recorded !== undefined) this.#takeBack(options.recorded);
  }

  /** Takes over what earlier parts of this run recorded. */
  #takeBack({ results, attempts, items }: Recorded): void {
    for (const { index, kind, name } of this.plan.steps) {
      if (kind === "Enter") continue;
      const listed = items.get(name);
      this.attempts[index] = Math.max(attempts.get(name) ?? 0, listed === undefined ? 0 : mostAttempts(listed));
      const result = results.get(name);
      if (result !== undefined) this.#set(index, result);
    }
    for (const step of this.plan.steps) if (step.enter !== undefined) this.#takeBackEnter(step, step.enter.exit);
  }

  /** An Enter has no row. Nobody needs what it gave when all that stands between it and its Exit has ended, the Exit too. */
  #takeBackEnter({ index }: PlanStep, exit: number): void {
    for (let inner = index + 1; inner <= exit; inner++) {
      if (this.results[inner] === undefined && this.plan.steps[inner]?.kind !== "Enter") return;
    }
    const left = this.results[exit];
    const entered = { state: "Succeeded", output: this.#nothing, metadata: noMetadata, attempts: 0 } as const;
    this.#set(index, left === undefined || left.state === "Succeeded" ? entered : left);
  }

  /** Steps of the part that have not ended. */
  open(part: PartName): number {
    return this.#open[part];
  }

  /** The first failure of the part that is not ignored. */
  firstError(part: PartName): RunError | undefined {
    return this.#firstErrors[part];
  }

  /** A listener threw. */
  get defect(): StepError | undefined {
    return this.#defect;
  }

  recordedItems({ name }: PlanStep): RecordedItems | undefined {
    return this.options.recorded?.items.get(name);
  }

  payload(index: number): Payload | undefined {
    if (index < 0) return this.options.input;
    const result = this.results[index];
    if (result?.state === "Succeeded") return result.output;
    return hasOutput(result) ? this.#nothing : undefined;
  }

  step(index: number): VisibleStep {
    const result = this.results[index];
    const name = this.plan.steps[index]?.localName ?? "";
    const metadata = result?.state === "Succeeded" ? result.metadata : noMetadata;
    const output = this.payload(index);
    return output === undefined ? { name, metadata } : { name, output, metadata };
  }

  /** Made when the first expression needs it. */
  get scope(): Scope {
    if (this.#scope !== undefined) return this.#scope;
    const { plan, options } = this;
    const open = plan.steps.filter(({ index }) => this.#isReadingOver[index] !== 1);
    const reads = [...open.map((step) => step.reads), plan.outputReads];
    this.#scope = new Scope(this, reads, options.parameters, options.execution);
    this.#scope.beginPart(this.#state);
    return this.#scope;
  }

  /** `execution.state` is from now on how the graph's steps have ended. */
  beginFinally(state: ExecutionState): void {
    this.#state = state;
    this.#scope?.beginPart(state);
  }

  get isTurnOver(): boolean {
    return this.#scope?.budget.isTurnOver === true;
  }

  startTurn(): void {
    this.#scope?.budget.startTurn();
  }

  /** The step's expressions have been evaluated, or never will be. */
  readingIsOver(step: PlanStep): void {
    if (this.#isReadingOver[step.index] === 1) return;
    this.#isReadingOver[step.index] = 1;
    this.#scope?.release(step.reads);
  }

  record(step: PlanStep, result: StepResult): void {
    this.readingIsOver(step);
    this.#set(step.index, result);
    if (step.kind !== "Enter") this.emit({ type: "StepFinished", step: step.index, result });
  }

  #set(index: number, result: StepResult): void {
    const part = index < this.plan.finallyFrom ? "Main" : "Finally";
    this.#isReadingOver[index] = 1;
    this.results[index] = result;
    this.#open[part]--;
    if (result.state === "Failed" && result.reason === undefined)
      this.#firstErrors[part] ??= { ...result.error, step: this.plan.steps[index]?.name ?? "" };
  }

  emit(event: RunEvent): void {
    if (this.#defect !== undefined) return;
    try {
      this.options.onEvent?.(event);
    } catch (error) {
      this.#broke(error);
    }
  }

  /** Tells somebody else who must not throw. */
  tell(listener: () => void): void {
    if (this.#defect !== undefined) return;
    try {
      listener();
    } catch (error) {
      this.#broke(error);
    }
  }

  /** A listener that throws is a defect of ours: nobody hears anything more, and the run ends with it. */
  #broke(cause: unknown): void {
    this.#defect = errorOf(new MillraceError("Internal", "a listener of the run failed", { cause }));
    this.#onDefect();
  }
}
