import { MillraceError } from "./errors.ts";
import type { Expression, Variables } from "./expressions.ts";
import type { Value } from "./json-values.ts";
import { decode, encode } from "./json-values.ts";
import type { Metadata } from "./metadata.ts";
import type { Json, JsonObject, Payload } from "./payload.ts";
import { BytesPayload } from "./payload.ts";
import type { ExecutionIdentity } from "./processor.ts";

/** The largest payload that an expression may look into, in bytes; one that is only passed on may be larger. */
export const maxDecodedBytes = 4 * 1024 * 1024;

/** A step as expressions see it. */
export interface VisibleStep {
  readonly name: string;
  /** Absent where the step did not succeed: `has(steps.x.output)` is false. */
  readonly output?: Payload;
  readonly metadata: Metadata;
}

/** Gives what an expression may see of a run: the Execution's input where `index` is negative. */
export interface Visible {
  payload(index: number): Payload | undefined;
  step(index: number): VisibleStep;
}

/** The variables of one run's expressions. A payload is decoded when an expression first looks into it, and once. */
export class Scope {
  readonly #visible: Visible;
  readonly #variables: { input: Value; parameters: Value; steps: Map<unknown, Value>; execution: Value };
  readonly #decoded = new Map<Payload, Value>();
  readonly #pending = new Map<Payload, Promise<void>>();

  constructor(visible: Visible, parameters: JsonObject, { name, namespace, uid }: ExecutionIdentity) {
    this.#visible = visible;
    const execution = new Map<unknown, Value>(Object.entries({ name, namespace, uid }));
    this.#variables = { input: null, parameters: toValue(parameters), steps: new Map(), execution };
  }

  /** Decodes what the expression looks into. Undefined when nothing has to be waited for, as with payloads in memory. */
  prepare(expression: Expression, signal: AbortSignal): Promise<unknown> | undefined {
    if (expression.passes !== undefined) return undefined;
    const waiting: Promise<void>[] = [];
    for (const index of expression.payloads) {
      const payload = this.#visible.payload(index);
      if (payload === undefined || this.#decoded.has(payload)) continue;
      const pending = this.#decode(payload, expression, signal);
      if (pending !== undefined) waiting.push(pending);
    }
    return waiting.length === 0 ? undefined : Promise.all(waiting);
  }

  #decode(payload: Payload, expression: Expression, signal: AbortSignal): Promise<void> | undefined {
    if (payload.size > maxDecodedBytes) {
      const limit = `an expression may look into at most ${maxDecodedBytes}`;
      throw new MillraceError(
        "PayloadTooLarge",
        `${expression.field} reads a payload of ${payload.size} bytes; ${limit}`,
      );
    }
    if (payload instanceof BytesPayload) {
      this.#decoded.set(payload, decode(payload.data, payload.contentType));
      return undefined;
    }
    const known = this.#pending.get(payload);
    if (known !== undefined) return known;
    const pending = this.#fetch(payload, signal);
    this.#pending.set(payload, pending);
    return pending;
  }

  async #fetch(payload: Payload, signal: AbortSignal): Promise<void> {
    try {
      this.#decoded.set(payload, decode(await payload.bytes(signal), payload.contentType));
    } finally {
      this.#pending.delete(payload);
    }
  }

  /** The expression's value, once it is prepared. Throws MillraceError InvalidInput. */
  evaluate(expression: Expression): Value {
    const variables = this.#variables;
    for (const index of expression.steps) this.#show(index);
    for (const index of expression.payloads) if (index < 0) variables.input = this.#valueOf(index) ?? null;
    return expression.evaluate(variables satisfies Variables);
  }

  /** The expression's value as a payload; the original one where the expression only names it. */
  payloadOf(expression: Expression): Payload {
    if (expression.passes !== undefined) return this.#passOn(expression, expression.passes);
    try {
      const { bytes, contentType } = encode(this.evaluate(expression));
      return new BytesPayload(bytes, contentType);
    } catch (error) {
      throw inField(expression, error);
    }
  }

  #passOn(expression: Expression, index: number): Payload {
    const payload = this.#visible.payload(index);
    if (payload !== undefined) return payload;
    const { name } = this.#visible.step(index);
    const mend = `ask for it by has(…) first, or give the step that needs it a \`when\``;
    throw new MillraceError(
      "InvalidInput",
      `${expression.field} names the output of step ${name}, which was skipped: ${mend}`,
    );
  }

  #valueOf(index: number): Value | undefined {
    const payload = this.#visible.payload(index);
    return payload === undefined ? undefined : this.#decoded.get(payload);
  }

  #show(index: number): void {
    const step = this.#visible.step(index);
    const shown = new Map<unknown, Value>([["metadata", new Map(Object.entries(step.metadata))]]);
    const output = step.output === undefined ? undefined : this.#decoded.get(step.output);
    if (output !== undefined) shown.set("output", output);
    this.#variables.steps.set(step.name, shown);
  }
}

function inField(expression: Expression, error: unknown): unknown {
  if (!(error instanceof MillraceError) || error.message.startsWith(expression.field)) return error;
  return new MillraceError(error.code, `${expression.field}: ${error.message}`, { cause: error });
}

/** A parameter as expressions see it; JSON of an object is parsed already, so that 1.0 and 1 are the same. */
function toValue(json: Json): Value {
  if (typeof json === "number") return Number.isSafeInteger(json) ? BigInt(json) : json;
  if (typeof json !== "object" || json === null) return json;
  if (Array.isArray(json)) return json.map((item: Json) => toValue(item));
  return new Map<unknown, Value>(Object.entries(json).map(([key, value]) => [key, toValue(value)]));
}
