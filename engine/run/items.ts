import type { ItemResult, StepError } from "../outcome.ts";
import type { Payload } from "../payload.ts";
import type { RecordedItems } from "./run-options.ts";

/** How much of one item's own message it shows, in characters. */
const maxItemMessage = 160;

/** What is known of the items of one fan-out. */
export class Items {
  readonly #results: (ItemResult | undefined)[];
  #open: number;
  #failed = 0;
  #cancelled = 0;
  #mostAttempts = 0;
  #fuel: number | undefined;

  constructor(total: number, recorded: RecordedItems | undefined) {
    this.#results = Array.from({ length: total }, () => undefined);
    this.#open = total;
    for (const [index, result] of recorded?.results ?? []) if (index < total) this.set(index, result);
  }

  get total(): number {
    return this.#results.length;
  }

  /** Those that have not ended. */
  get open(): number {
    return this.#open;
  }

  get failed(): number {
    return this.#failed;
  }

  /** Those that were stopped. */
  get cancelled(): number {
    return this.#cancelled;
  }

  /** The most attempts that an item took which has ended. */
  get mostAttempts(): number {
    return this.#mostAttempts;
  }

  /** What those that have ended took together; undefined: nothing that was metered. */
  get fuel(): number | undefined {
    return this.#fuel;
  }

  hasEnded(index: number): boolean {
    return this.#results[index] !== undefined;
  }

  set(index: number, result: ItemResult): void {
    this.#results[index] = result;
    this.#open--;
    if (result.state === "Failed") this.#failed++;
    if (result.state === "Cancelled") this.#cancelled++;
    this.#mostAttempts = Math.max(this.#mostAttempts, result.attempts);
    if (result.fuel !== undefined) this.#fuel = (this.#fuel ?? 0) + result.fuel;
  }

  /** In the order of the list; undefined where there is none. */
  outputs(): readonly (Payload | undefined)[] {
    return this.#results.map((result) => (result?.state === "Succeeded" ? result.output : undefined));
  }

  /** The first failure, in the order of the list, with a message that names those that follow it as far as there is room. */
  error(): StepError {
    const failures = this.#results.flatMap((result, index) =>
      result?.state === "Failed" ? [{ index, error: result.error }] : [],
    );
    const [first] = failures;
    if (first === undefined) return { code: "Internal", kind: "System", message: "no item failed" };
    const message = summary(this.total, failures);
    const { code, kind, processorCode } = first.error;
    return { code, kind, message, ...(processorCode === undefined ? {} : { processorCode }) };
  }
}

/** The most attempts that were started of any item. */
export function mostAttempts({ results, attempts }: RecordedItems): number {
  let most = 0;
  for (const result of results.values()) most = Math.max(most, result.attempts);
  for (const started of attempts.values()) most = Math.max(most, started);
  return most;
}

/** One line of `kubectl get`: the row's `failures` and the manifest name the others. */
function summary(total: number, failures: readonly { readonly index: number; readonly error: StepError }[]): string {
  const [first, ...others] = failures;
  const counted = `${failures.length} of ${total} items failed`;
  if (first === undefined) return counted;
  const { code, message } = first.error;
  const shown = message.length > maxItemMessage ? `${message.slice(0, maxItemMessage).toWellFormed()}…` : message;
  const more = others.length === 0 ? "" : `; and ${others.length} more`;
  return `${counted}: item ${first.index}: ${code}: ${shown}${more}`;
}
