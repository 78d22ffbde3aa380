import { MillraceError } from "../errors.ts";
import { RunBudget } from "../expressions/cost.ts";
import type { Expression, Variables } from "../expressions/expressions.ts";
import { executionInput } from "../expressions/expressions.ts";
import type { Value } from "../expressions/json-values.ts";
import { decode, encode, fromJson } from "../expressions/json-values.ts";
import type { Metadata } from "../metadata.ts";
import type { JsonObject, Payload } from "../payload.ts";
import { BytesPayload } from "../payload.ts";
import type { ExecutionIdentity } from "../processor.ts";

/** The largest payload that an expression may look into, in bytes; one that is only passed on may be larger. */
export const maxDecodedBytes = 1024 * 1024;

/** All payloads together that one expression may look into, in bytes. */
export const maxDecodedBytesTogether = 4 * 1024 * 1024;

/** How much of a run's payloads stays decoded between its expressions, in bytes: decoded, JSON takes up to 20 times as much. */
export const maxKeptBytes = 2 * 1024 * 1024;

/** A step as expressions see it. */
export interface VisibleStep {
  /** As expressions beside it call it. */
  readonly name: string;
  /** Absent where the step has none: `has(steps.x.output)` is false. */
  readonly output?: Payload;
  readonly metadata: Metadata;
}

/** Gives what an expression may see of a run: the Execution's input where `index` is negative. */
export interface Visible {
  payload(index: number): Payload | undefined;
  step(index: number): VisibleStep;
}

/** What only one work's expressions see. */
export interface Bindings {
  /** Of a fan-out's item. */
  readonly item?: Value;
  readonly index?: bigint;
  /** Of a cache's key: what the step receives, as `input`. */
  readonly received?: Payload;
}

/** `execution.state`: that of the graph's steps, once they have ended. */
export type ExecutionState = "Running" | "Succeeded" | "Failed" | "Cancelled";

/** Bytes that were waited for, by the payload that they are of. */
export type Fetched = ReadonlyMap<Payload, Uint8Array>;

export const nothingFetched: Fetched = new Map();

const nothingBound: Bindings = {};

/**
 * The variables of one run's expressions. A payload is decoded when an expression first looks into it, and kept until the
 * last that does has done so; where more than {@link maxKeptBytes} would be kept, the one used longest ago is let go.
 */
export class Scope {
  readonly budget = new RunBudget();
  readonly #visible: Visible;
  readonly #execution: Map<unknown, Value>;
  /** By frame. */
  readonly #parameters = new Map<number, Value>();
  /** The one used last comes last. */
  readonly #decoded = new Map<Payload, Value>();
  #keptBytes = 0;
  readonly #pending = new Map<Payload, Promise<Uint8Array>>();
  /** How many are still to look into a payload, by whose it is. */
  readonly #readers = new Map<number, number>();

  /** `reads` has an item for each who is still to look into payloads: whose they are. */
  constructor(
    visible: Visible,
    reads: Iterable<readonly number[]>,
    parameters: JsonObject,
    { name, namespace, uid }: ExecutionIdentity,
  ) {
    this.#visible = visible;
    this.#execution = new Map<unknown, Value>(Object.entries({ name, namespace, uid, state: "Running" }));
    this.#parameters.set(executionInput, fromJson(parameters));
    for (const read of reads) {
      for (const index of read) this.#readers.set(index, (this.#readers.get(index) ?? 0) + 1);
    }
  }

  /** Another part of the run begins, whose fetches have nothing to do with those of the one before. */
  beginPart(state: ExecutionState): void {
    this.#execution.set("state", state);
    this.#pending.clear();
  }

  /** An inlined Pipeline is entered. */
  enterFrame(frame: number, parameters: Value): void {
    this.#parameters.set(frame, parameters);
  }

  /**
   * Fetches what the expression looks into and is not in memory; gives `fetched` and what is new. Undefined when nothing
   * has to be waited for. Throws MillraceError PayloadTooLarge.
   */
  prepare(
    expression: Expression,
    fetched: Fetched,
    signal: AbortSignal,
    bindings = nothingBound,
  ): Promise<Fetched> | undefined {
    if (expression.passes !== undefined) return undefined;
    const missing: Payload[] = [];
    let bytes = 0;
    for (const payload of this.#payloadsOf(expression, bindings)) {
      bytes += payload.size;
      refuseLarge(expression, payload.size, bytes);
      if (payload instanceof BytesPayload || this.#decoded.has(payload) || fetched.has(payload)) continue;
      missing.push(payload);
    }
    return missing.length === 0 ? undefined : this.#fetchAll(missing, fetched, signal);
  }

  #payloadsOf(expression: Expression, { received }: Bindings): readonly Payload[] {
    const payloads: Payload[] = [];
    for (const index of expression.payloads) {
      const payload = this.#visible.payload(index);
      if (payload !== undefined) payloads.push(payload);
    }
    if (expression.readsInputValue && received !== undefined) payloads.push(received);
    return payloads;
  }

  async #fetchAll(missing: readonly Payload[], fetched: Fetched, signal: AbortSignal): Promise<Fetched> {
    const arriving = missing.map(async (payload) => [payload, await this.#fetch(payload, signal)] as const);
    return new Map([...fetched, ...(await Promise.all(arriving))]);
  }

  #fetch(payload: Payload, signal: AbortSignal): Promise<Uint8Array> {
    const known = this.#pending.get(payload);
    if (known !== undefined) return known;
    const pending = payload.bytes(signal).finally(() => {
      if (this.#pending.get(payload) === pending) this.#pending.delete(payload);
    });
    this.#pending.set(payload, pending);
    return pending;
  }

  /** One who was to look into these payloads has done so, or never will. */
  release(reads: readonly number[]): void {
    for (const index of reads) {
      const readers = (this.#readers.get(index) ?? 0) - 1;
      this.#readers.set(index, readers);
      const payload = readers === 0 ? this.#visible.payload(index) : undefined;
      if (payload !== undefined) this.#letGo(payload);
    }
  }

  #letGo(payload: Payload): void {
    if (this.#decoded.delete(payload)) this.#keptBytes -= payload.size;
  }

  /** The expression's value, once it is prepared. Throws MillraceError InvalidInput. */
  evaluate(expression: Expression, fetched: Fetched, bindings = nothingBound): Value {
    const seen = this.#valuesFor(expression, fetched, bindings);
    const steps = new Map<unknown, Value>();
    for (const index of expression.steps) this.#show(index, seen, steps);
    const { item, index, received } = bindings;
    const variables: Variables = {
      input: received === undefined ? this.#inputOf(expression, seen) : shownReceived(received, seen),
      parameters: this.#parameters.get(expression.frame) ?? null,
      steps,
      execution: this.#execution,
      ...(item === undefined || index === undefined ? {} : { item, index }),
    };
    return expression.evaluate(variables, this.budget);
  }

  #inputOf({ frame, payloads }: Expression, seen: ReadonlyMap<Payload, Value>): Value {
    const input = payloads.includes(frame) ? this.#visible.payload(frame) : undefined;
    return input === undefined ? null : (seen.get(input) ?? null);
  }

  /** The expression's value as a payload; the original one where the expression only names it. */
  payloadOf(expression: Expression, fetched: Fetched, bindings = nothingBound): Payload {
    if (expression.passes !== undefined) return this.#passOn(expression, expression.passes);
    try {
      return this.asPayload(this.evaluate(expression, fetched, bindings));
    } catch (error) {
      throw inField(expression, error);
    }
  }

  /** Throws MillraceError InvalidInput for what has no JSON form, PayloadTooLarge. */
  asPayload(value: Value): Payload {
    const { bytes, contentType } = encode(value);
    this.budget.spendOnBytes(bytes.byteLength);
    return new BytesPayload(bytes, contentType);
  }

  #passOn(expression: Expression, index: number): Payload {
    const payload = this.#visible.payload(index);
    if (payload !== undefined) return payload;
    const { name } = this.#visible.step(index);
    const mend = `ask for it by has(…) first, or give the step that needs it a \`when\``;
    throw new MillraceError(
      "InvalidInput",
      `${expression.field} names the output of step ${name}, which gave none: ${mend}`,
    );
  }

  #valuesFor(expression: Expression, fetched: Fetched, bindings: Bindings): ReadonlyMap<Payload, Value> {
    const payloads = new Set(this.#payloadsOf(expression, bindings));
    const values = new Map<Payload, Value>();
    // What is kept comes first: to keep what is decoded now, it may be let go.
    for (const payload of payloads) {
      const kept = this.#decoded.get(payload);
      if (kept === undefined) continue;
      this.#decoded.delete(payload);
      this.#decoded.set(payload, kept);
      values.set(payload, kept);
      payloads.delete(payload);
    }
    for (const payload of payloads) {
      const value = this.#decode(payload, fetched);
      values.set(payload, value);
      // Nobody else need look into what one work receives.
      if (payload !== bindings.received) this.#keep(payload, value);
    }
    return values;
  }

  #decode(payload: Payload, fetched: Fetched): Value {
    const bytes = payload instanceof BytesPayload ? payload.data : fetched.get(payload);
    if (bytes === undefined) throw new MillraceError("Internal", "an expression was evaluated before it was prepared");
    this.budget.spendOnBytes(bytes.byteLength);
    return decode(bytes, payload.contentType);
  }

  #keep(payload: Payload, value: Value): void {
    this.#decoded.set(payload, value);
    this.#keptBytes += payload.size;
    for (const [oldest] of this.#decoded) {
      if (this.#keptBytes <= maxKeptBytes) return;
      this.#letGo(oldest);
    }
  }

  #show(index: number, seen: ReadonlyMap<Payload, Value>, steps: Map<unknown, Value>): void {
    const { name, output, metadata } = this.#visible.step(index);
    const shown = new Map<unknown, Value>([["metadata", new Map(Object.entries(metadata))]]);
    const value = output === undefined ? undefined : seen.get(output);
    if (value !== undefined) shown.set("output", value);
    steps.set(name, shown);
  }
}

/** `input` in a cache's key. */
function shownReceived(received: Payload, seen: ReadonlyMap<Payload, Value>): Value {
  const { digest, contentType, size } = received;
  const shown = new Map<unknown, Value>(Object.entries({ digest, contentType, size: BigInt(size) }));
  const value = seen.get(received);
  if (value !== undefined) shown.set("value", value);
  return shown;
}

function refuseLarge(expression: Expression, bytes: number, bytesTogether: number): void {
  const { field } = expression;
  if (bytes > maxDecodedBytes) {
    const limit = `an expression may look into at most ${maxDecodedBytes}; let a processor look into it`;
    throw new MillraceError("PayloadTooLarge", `${field} reads a payload of ${bytes} bytes; ${limit}`);
  }
  if (bytesTogether <= maxDecodedBytesTogether) return;
  const limit = `one expression may look into at most ${maxDecodedBytesTogether} together; let a processor look into them`;
  throw new MillraceError("PayloadTooLarge", `${field} reads payloads of ${bytesTogether} bytes; ${limit}`);
}

/** The error, with the expression's field before its message. */
export function inField(expression: Expression, error: unknown): unknown {
  if (!(error instanceof MillraceError) || error.message.startsWith(expression.field)) return error;
  return new MillraceError(error.code, `${expression.field}: ${error.message}`, { cause: error });
}
