import type { Problem } from "../../engine/pipeline.ts";

const maxMessageBytes = 1_024;
/** Room for ` … and 1234 more; millrace validate shows all`. */
const reservedBytes = 64;

/** All problems in one condition's message of at most 1 KiB, and how many did not fit. */
export function problemsMessage(problems: readonly Problem[]): string {
  let message = "";
  for (const [index, problem] of problems.entries()) {
    const next = `${index === 0 ? "" : " "}${problemText(problem)}`;
    const rest = problems.length - index;
    if (Buffer.byteLength(message + next) > maxMessageBytes - reservedBytes) {
      const shown = message === "" ? cut(next, maxMessageBytes - reservedBytes) : message;
      const left = message === "" ? rest - 1 : rest;
      return left === 0 ? shown : `${shown} … and ${left} more; millrace validate shows all`;
    }
    message += next;
  }
  return message;
}

function problemText({ path, message, mend }: Problem): string {
  return `${path}: ${sentence(message)} ${sentence(mend)}`;
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

/** At most `maxBytes` of UTF-8, at the boundary of a character. */
function cut(text: string, maxBytes: number): string {
  let bytes = 0;
  let end = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > maxBytes - 3) return `${text.slice(0, end)}…`;
    end += character.length;
  }
  return text;
}
