import { MillraceError } from "../errors.ts";
import type { Value } from "../expressions/json-values.ts";
import { contentKind, decodeText, fromJson, jsonText, parseJson } from "../expressions/json-values.ts";
import { noMetadata } from "../metadata.ts";
import type { StepError } from "../outcome.ts";
import type { Json, JsonObject, Payload } from "../payload.ts";
import { BytesPayload, jsonPayload, mediaType } from "../payload.ts";
import type { EnterFacts, PlanStep } from "../plan.ts";
import type { Activity } from "./activity.ts";
import type { Part } from "./part.ts";
import { errorOf } from "./rules.ts";

/** How much the parameters of an inlined Pipeline may take as JSON together, in bytes: about what an Execution could give it. */
export const maxParametersBytes = 256 * 1024;

/** A step that no backend runs: it makes no attempt, and nothing of it is in flight. */
abstract class Passage implements Activity {
  protected readonly part: Part;
  protected readonly step: PlanStep;
  readonly attempts = 0;
  readonly fuel = undefined;
  #isOver = false;

  constructor(part: Part, step: PlanStep) {
    this.part = part;
    this.step = step;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  abstract begin(): void;

  /** It never asks for one. */
  slotGiven(): void {}

  drain(): boolean {
    this.#isOver = true;
    return false;
  }

  stop(): void {
    this.#isOver = true;
  }

  failed(error: StepError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.part.release(this.step);
    this.part.finish(this.step, { state: "Failed", error, attempts: 0 });
  }

  protected succeed(output: Payload): void {
    this.#isOver = true;
    this.part.release(this.step);
    this.part.finish(this.step, { state: "Succeeded", output, metadata: noMetadata, attempts: 0 });
  }
}

/** Gives an inlined Pipeline its parameters and its input, which must be what it declares. */
export class Entering extends Passage {
  readonly #facts: EnterFacts;
  /** As JSON, by name. */
  readonly #given = new Map<string, string>();
  #givenBytes = 0;

  constructor(part: Part, step: PlanStep, facts: EnterFacts) {
    super(part, step);
    this.#facts = facts;
  }

  begin(): void {
    this.#evaluateFrom(0);
  }

  #evaluateFrom(at: number): void {
    const named = this.#facts.parameters[at];
    if (named === undefined) {
      this.#checkParameters();
      return;
    }
    this.part.prepare(named.value, this, (fetched) => {
      this.#give(named.name, this.part.records.scope.evaluate(named.value, fetched));
      this.#evaluateFrom(at + 1);
    });
  }

  #give(name: string, value: Value): void {
    const text = jsonText(value);
    const bytes = Buffer.byteLength(text);
    this.part.records.scope.budget.spendOnBytes(bytes);
    this.#givenBytes += bytes;
    this.#given.set(name, text);
    if (this.#givenBytes <= maxParametersBytes) return;
    const limit = `they may take at most ${maxParametersBytes} together; pass what is large as input`;
    throw new MillraceError(
      "PayloadTooLarge",
      `the parameters of step ${this.step.name} take ${this.#givenBytes} bytes of JSON and more; ${limit}`,
    );
  }

  #checkParameters(): void {
    const { declared, checkParameters, pipeline } = this.#facts;
    if (checkParameters !== undefined) {
      const parameters: JsonObject = Object.fromEntries(
        declared.map(({ name, default: byDefault }): [string, Json] => {
          const text = this.#given.get(name);
          return [name, text === undefined ? (byDefault ?? null) : JSON.parse(text)];
        }),
      );
      const wrong = checkParameters(parameters);
      if (wrong !== undefined) {
        const message = `step ${this.step.name} gives parameters that the Pipeline ${pipeline} does not take: ${wrong}`;
        throw new MillraceError("InvalidInput", message);
      }
    }
    this.#takeInput();
  }

  /** As the Pipeline's expressions see them: the same values as if an Execution gave them. */
  #parameters(): Value {
    return new Map<unknown, Value>(
      this.#facts.declared.map(({ name, default: byDefault }) => {
        const text = this.#given.get(name);
        return [name, text === undefined ? fromJson(byDefault ?? null) : parseJson(text)];
      }),
    );
  }

  #takeInput(): void {
    const { input, origin } = this.step;
    const { records } = this.part;
    if (input !== undefined)
      this.part.prepare(input, this, (fetched) => this.#checkInput(records.scope.payloadOf(input, fetched)));
    else this.#checkInput(records.payload(origin));
  }

  #checkInput(payload: Payload | undefined): void {
    const { name } = this.step;
    if (payload === undefined) throw new MillraceError("Internal", `the payload of step ${name} is not there`);
    const { checkInput, maxInputBytes, pipeline } = this.#facts;
    if (payload.size > maxInputBytes) {
      const message = `step ${name} gives the Pipeline ${pipeline} an input of ${payload.size} bytes; it takes at most ${maxInputBytes} (input.maxSize)`;
      throw new MillraceError("PayloadTooLarge", message);
    }
    if (checkInput === undefined) this.#enter(payload);
    else if (contentKind(payload.contentType) === "Bytes") {
      const message = `step ${name} gives the Pipeline ${pipeline} an input of type ${payload.contentType}; it has a schema and takes JSON or text`;
      throw new MillraceError("InvalidInput", message);
    } else if (payload instanceof BytesPayload) this.#enterWith(payload, payload.data);
    else this.part.await(payload.bytes(this.part.signal), this, (bytes) => this.#enterWith(payload, bytes));
  }

  #enterWith(payload: Payload, bytes: Uint8Array): void {
    const { checkInput, pipeline } = this.#facts;
    this.part.records.scope.budget.spendOnBytes(bytes.byteLength);
    const wrong = checkInput?.(this.#json(payload, bytes));
    if (wrong !== undefined) {
      const message = `step ${this.step.name} gives an input that the Pipeline ${pipeline} does not take: ${wrong}`;
      throw new MillraceError("InvalidInput", message);
    }
    this.#enter(payload);
  }

  /** A text is a string to a schema. */
  #json({ contentType }: Payload, bytes: Uint8Array): Json {
    try {
      const text = decodeText(bytes, mediaType(contentType));
      return contentKind(contentType) === "Text" ? text : JSON.parse(text);
    } catch (cause) {
      const why = errorOf(cause).message.slice(0, 200);
      const message = `step ${this.step.name} gives an input of type ${contentType} that is not valid: ${why}`;
      throw new MillraceError("InvalidInput", message, { cause });
    }
  }

  #enter(payload: Payload): void {
    this.part.records.scope.enterFrame(this.step.index, this.#parameters());
    this.succeed(payload);
  }
}

/** Gives an inlined Pipeline's output to those that depend on the step that named it. */
export class Leaving extends Passage {
  begin(): void {
    const { input, origin } = this.step;
    const { records } = this.part;
    if (input !== undefined)
      this.part.prepare(input, this, (fetched) => this.succeed(records.scope.payloadOf(input, fetched)));
    // As in a run of its own: a Pipeline whose only sink was skipped gives null.
    else this.succeed(records.payload(origin) ?? jsonPayload(null));
  }
}
