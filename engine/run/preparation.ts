import { MillraceError } from "../errors.ts";
import type { Expression } from "../expressions/expressions.ts";
import type { Value } from "../expressions/json-values.ts";
import { jsonText } from "../expressions/json-values.ts";
import type { Metadata } from "../metadata.ts";
import { maxOptionsBytes } from "../metadata.ts";
import type { JsonObject, Payload } from "../payload.ts";
import type { PlanStep } from "../plan.ts";
import type { ProcessorRequest } from "../processor.ts";
import type { Asker } from "./activity.ts";
import type { Part } from "./part.ts";
import { receivedMetadata } from "./rules.ts";
import type { CacheUse } from "./run-options.ts";
import type { Bindings, Fetched } from "./scope.ts";

/** Which item of a fan-out a work is for. */
export interface Item {
  readonly index: number;
  readonly value: Value;
  /** The step's: the same for all items. */
  readonly metadata: Metadata;
  readonly attempts: number;
}

/** Who waits for what all of its attempts are given. */
export interface Prepared extends Asker {
  prepared(request: ProcessorRequest, cache: CacheUse | undefined): void;
}

/** Evaluates what a work's attempts are given: options, input, the key of its cache. */
export class Preparation {
  readonly #part: Part;
  readonly #step: PlanStep;
  readonly #work: Prepared;
  readonly #item: Item | undefined;

  constructor(part: Part, step: PlanStep, work: Prepared, item: Item | undefined) {
    this.#part = part;
    this.#step = step;
    this.#work = work;
    this.#item = item;
  }

  begin(): void {
    const { options, optionsExpression } = this.#step;
    if (optionsExpression === undefined) this.#takeInput(options);
    else this.#prepare(optionsExpression, (fetched) => this.#takeInput(this.#options(optionsExpression, fetched)));
  }

  #prepare(expression: Expression, next: (fetched: Fetched) => void, received?: Payload): void {
    this.#part.prepare(expression, this.#work, next, this.#bindings(received));
  }

  #bindings(received?: Payload): Bindings {
    const item = this.#item;
    return {
      ...(item === undefined ? {} : { item: item.value, index: BigInt(item.index) }),
      ...(received === undefined ? {} : { received }),
    };
  }

  #options(expression: Expression, fetched: Fetched): JsonObject {
    const step = this.#step;
    const text = jsonText(this.#part.records.scope.evaluate(expression, fetched, this.#bindings()));
    const options: JsonObject = { ...step.options, ...JSON.parse(text) };
    const bytes = Buffer.byteLength(JSON.stringify(options));
    if (bytes > maxOptionsBytes) {
      const limit = `a step may be given at most ${maxOptionsBytes}; pass what is large as payload, by \`input\``;
      throw new MillraceError(
        "PayloadTooLarge",
        `the options of step ${step.name} take ${bytes} bytes of JSON; ${limit}`,
      );
    }
    const wrong = step.checkOptions?.(options);
    if (wrong === undefined) return options;
    const message = `${expression.field} gave options that the Processor ${step.processor} does not take: ${wrong}`;
    throw new MillraceError("InvalidInput", message);
  }

  #takeInput(options: JsonObject): void {
    const { input, origin } = this.#step;
    const { records } = this.#part;
    if (input !== undefined)
      this.#prepare(input, (fetched) =>
        this.#receive(options, records.scope.payloadOf(input, fetched, this.#bindings())),
      );
    else if (this.#item !== undefined) this.#receive(options, records.scope.asPayload(this.#item.value));
    else this.#receive(options, records.payload(origin));
  }

  #receive(options: JsonObject, payload: Payload | undefined): void {
    const step = this.#step;
    const { records } = this.#part;
    const metadata = this.#item?.metadata ?? receivedMetadata(step, records.plan, records.results);
    if (metadata instanceof MillraceError) throw metadata;
    if (payload === undefined) throw new MillraceError("Internal", `the payload of step ${step.name} is not there`);
    const request = { payload, metadata, options };
    const { cache } = step;
    if (cache === undefined) this.#work.prepared(request, undefined);
    else if (cache.key === undefined) this.#work.prepared(request, { maxAgeMs: cache.maxAgeMs });
    else this.#takeKey(request, cache.maxAgeMs, cache.key);
  }

  #takeKey(request: ProcessorRequest, maxAgeMs: number, expression: Expression): void {
    const { payload } = request;
    const take = (fetched: Fetched) =>
      this.#work.prepared(request, { maxAgeMs, key: this.#key(expression, fetched, payload) });
    this.#prepare(expression, take, payload);
  }

  #key(expression: Expression, fetched: Fetched, received: Payload): string {
    const key = this.#part.records.scope.evaluate(expression, fetched, this.#bindings(received));
    if (typeof key === "string") return key;
    throw new MillraceError("InvalidInput", `${expression.field} gave no string`);
  }
}
