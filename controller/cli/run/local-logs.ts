import type { ItemResult } from "../../../engine/outcome.ts";
import type { Attempt } from "../../../engine/run/run-options.ts";
import type { StepLogs } from "../../execution/recording/step-logs.ts";
import { withoutTime } from "../cluster/log-text.ts";
import { printable } from "../terminal/printable.ts";

/** How much of a step's log is shown when it has failed, in lines. */
const tailLines = 10;
/** Of how many items of a fan-out that failed, the first ones to fail. */
const mostItems = 3;

export interface LocalLogsOptions {
  /** Where logs are kept for a saved run. */
  readonly kept: StepLogs | undefined;
  /** Told each line as it comes, fit for a terminal. */
  readonly onLine: ((line: string) => void) | undefined;
}

/** The last lines of a step's log, or of an item's. */
export interface LogTail {
  /** `step "pages"`, or `item 3 of step "pages"`. */
  readonly of: string;
  readonly lines: readonly string[];
}

/** What steps of a run in this process log. */
export class LocalLogs {
  readonly #options: LocalLogsOptions;
  /** The last lines by place: a step, or an item that has not ended well. */
  readonly #tails = new Map<string, readonly string[]>();
  /** Items that failed, by step, those whose lines are kept. */
  readonly #failed = new Map<string, readonly number[]>();

  constructor(options: LocalLogsOptions) {
    this.#options = options;
  }

  /** Takes what an attempt logs, one or more lines at a time. */
  of(attempt: Attempt): (text: string) => void {
    const keep = this.#options.kept?.of(attempt);
    const { stepName, item } = attempt;
    const place = placeOf(stepName, item);
    return (text) => {
      keep?.(text);
      const lines = text
        .replace(/\r?\n$/, "")
        .split(/\r?\n/)
        .map((line) => printable(withoutTime(line)));
      for (const line of lines) this.#options.onLine?.(`[${place}] ${line}`);
      const tail = [...(this.#tails.get(place) ?? []), ...lines];
      this.#tails.set(place, tail.slice(-tailLines));
    };
  }

  /** Of items only what the first ones that failed logged is of use: there may be ten thousand of them. */
  itemEnded(stepName: string, item: number, { state }: ItemResult): void {
    const failed = this.#failed.get(stepName) ?? [];
    if (state === "Failed" && failed.length < mostItems) this.#failed.set(stepName, [...failed, item]);
    else this.#tails.delete(placeOf(stepName, item));
  }

  /** What the step, or its items that failed, logged at last; without what logged nothing. */
  tailsOf(stepName: string): readonly LogTail[] {
    const items = (this.#failed.get(stepName) ?? []).toSorted((one, other) => one - other);
    const tails = items.map((item) => ({ of: `item ${item} of step "${stepName}"`, place: placeOf(stepName, item) }));
    return [{ of: `step "${stepName}"`, place: stepName }, ...tails].flatMap(({ of, place }) => {
      const lines = this.#tails.get(place);
      return lines === undefined ? [] : [{ of, lines }];
    });
  }
}

function placeOf(stepName: string, item: number | undefined): string {
  return item === undefined ? stepName : `${stepName} ${item}`;
}
