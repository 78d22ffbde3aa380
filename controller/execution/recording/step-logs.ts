import type { Attempt } from "../../../engine/run/run-options.ts";

/** What one attempt's log keeps, in characters; a backend cuts it at 64 KiB before that, and says so in it. */
const maxAttemptLength = 80 * 1024;

/** What a run holds of logs until they are stored, in characters: ten thousand items may wait for their retries at once. */
const maxHeldLength = 16 * 1024 * 1024;

/** Stands where an attempt's log would go on. */
const cutMark = "[log cut: too much of this run's logs waits for its steps to end]\n";

interface AttemptLog {
  readonly attempt: number;
  text: string;
  isCut: boolean;
}

/** What the attempts that run now log, by step and item; that of several attempts one after another under `--- attempt 2 ---`. */
export class StepLogs {
  readonly #logs = new Map<string, AttemptLog[]>();
  #heldLength = 0;

  /** Takes what an attempt logs line by line, without the lines' ends. */
  of({ step, item, attempt }: Pick<Attempt, "step" | "item" | "attempt">): (line: string) => void {
    const log: AttemptLog = { attempt, text: "", isCut: false };
    return (line) => {
      if (log.isCut) return;
      if (log.text === "") this.#begin(keyOf(step, item), log);
      if (this.#heldLength + line.length >= maxHeldLength) this.#cut(log);
      else if (log.text.length + line.length < maxAttemptLength) this.#add(log, `${line}\n`);
    };
  }

  /** Gives the whole log and forgets it; undefined: nothing was logged. */
  take(step: number, item?: number): string | undefined {
    const key = keyOf(step, item);
    const logs = this.#logs.get(key);
    this.#logs.delete(key);
    if (logs === undefined) return undefined;
    for (const { text } of logs) this.#heldLength -= text.length;
    const isOnlyFirst = logs.length === 1 && logs[0]?.attempt === 1;
    return logs.map(({ attempt, text }) => (isOnlyFirst ? text : `--- attempt ${attempt} ---\n${text}`)).join("");
  }

  #begin(key: string, log: AttemptLog): void {
    const logs = this.#logs.get(key);
    if (logs === undefined) this.#logs.set(key, [log]);
    else logs.push(log);
  }

  #add(log: AttemptLog, text: string): void {
    log.text += text;
    this.#heldLength += text.length;
  }

  #cut(log: AttemptLog): void {
    log.isCut = true;
    this.#add(log, cutMark);
  }
}

function keyOf(step: number, item: number | undefined): string {
  return `${step}/${item ?? ""}`;
}
