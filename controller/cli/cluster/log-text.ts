import { printable } from "../terminal/printable.ts";

/** What is shown of a log. */
export interface LogChoice {
  /** Only this attempt; absent: all, each after a line that says which it is. */
  readonly attempt?: number;
  /** Whether each line begins with its time. */
  readonly withTimes: boolean;
}

const separator = /^--- attempt (\d+) ---$/;
const stamped = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /;

/** The lines of a stored log that are asked for. An attempt that logged nothing has none. */
export function logLines(text: string, { attempt, withTimes }: LogChoice): readonly string[] {
  const shown: string[] = [];
  let current = 1;
  for (const line of text.replace(/\n$/, "").split("\n")) {
    const begun = separator.exec(line)?.[1];
    if (begun !== undefined) current = Number(begun);
    if (attempt !== undefined && (begun !== undefined || current !== attempt)) continue;
    shown.push(withTimes ? line : withoutTime(line));
  }
  return shown;
}

export function withoutTime(line: string): string {
  return line.replace(stamped, "");
}

/** The line as it is; on a terminal without what would move its cursor. */
export function logLine(line: string, isTerminal: boolean): string {
  return isTerminal ? printable(line) : line;
}
