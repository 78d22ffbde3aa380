import type { Attempt } from "../../engine/run/run-options.ts";
import type { StepLogs } from "../execution/step-logs.ts";
import { withoutTime } from "./log-text.ts";
import { printable } from "./printable.ts";

/** How much of a step's log is shown when it has failed, in lines. */
const tailLines = 10;

export interface LocalLogsOptions {
  /** Where logs are kept for a saved run. */
  readonly kept: StepLogs | undefined;
  /** Told each line as it comes, fit for a terminal. */
  readonly onLine: ((line: string) => void) | undefined;
}

/** What steps of a run in this process log. */
export class LocalLogs {
  readonly #options: LocalLogsOptions;
  /** The last lines by step. */
  readonly #tails = new Map<string, string[]>();

  constructor(options: LocalLogsOptions) {
    this.#options = options;
  }

  /** Takes what an attempt logs, one or more lines at a time. */
  of(attempt: Attempt): (text: string) => void {
    const keep = this.#options.kept?.of(attempt);
    const { stepName, item } = attempt;
    const place = item === undefined ? stepName : `${stepName} ${item}`;
    return (text) => {
      keep?.(text);
      const lines = text
        .replace(/\r?\n$/, "")
        .split(/\r?\n/)
        .map((line) => printable(withoutTime(line)));
      for (const line of lines) this.#options.onLine?.(`[${place}] ${line}`);
      const tail = [...(this.#tails.get(stepName) ?? []), ...lines];
      this.#tails.set(stepName, tail.slice(-tailLines));
    };
  }

  /** What the step logged at last; empty if it logged nothing. */
  tailOf(stepName: string): readonly string[] {
    return this.#tails.get(stepName) ?? [];
  }
}
