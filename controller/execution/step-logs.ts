import type { Attempt } from "../../engine/run/run-options.ts";

/** What one attempt's log keeps, in characters; a backend cuts it at 64 KiB before that, and says so in it. */
const maxAttemptLength = 80 * 1024;

interface AttemptLog {
  readonly attempt: number;
  text: string;
}

/** What the attempts that run now log, by step and item; that of several attempts one after another under `--- attempt 2 ---`. */
export class StepLogs {
  readonly #logs = new Map<string, AttemptLog[]>();

  /** Takes what an attempt logs line by line, without the lines' ends. */
  of({ step, item, attempt }: Pick<Attempt, "step" | "item" | "attempt">): (line: string) => void {
    const log: AttemptLog = { attempt, text: "" };
    return (line) => {
      if (log.text === "") this.#begin(keyOf(step, item), log);
      if (log.text.length + line.length < maxAttemptLength) log.text += `${line}\n`;
    };
  }

  /** Gives the whole log and forgets it; undefined: nothing was logged. */
  take(step: number, item?: number): string | undefined {
    const key = keyOf(step, item);
    const logs = this.#logs.get(key);
    this.#logs.delete(key);
    if (logs === undefined) return undefined;
    const isOnlyFirst = logs.length === 1 && logs[0]?.attempt === 1;
    return logs.map(({ attempt, text }) => (isOnlyFirst ? text : `--- attempt ${attempt} ---\n${text}`)).join("");
  }

  #begin(key: string, log: AttemptLog): void {
    const logs = this.#logs.get(key);
    if (logs === undefined) this.#logs.set(key, [log]);
    else logs.push(log);
  }
}

function keyOf(step: number, item: number | undefined): string {
  return `${step}/${item ?? ""}`;
}
