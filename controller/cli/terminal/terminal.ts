import { createColors } from "picocolors";
import type { CliContext, TerminalStream } from "../context.ts";

type Colors = ReturnType<typeof createColors>;

/** How a stream may be written to. */
export interface TerminalStyle {
  readonly colors: Colors;
  readonly columns: number;
  /** Drawing characters of ours in ASCII, where the locale has no others; all else as it is. */
  readonly symbols: (text: string) => string;
  readonly isAscii: boolean;
}

/** What is written to a file or a pipe fits a terminal of the usual width. */
const usualColumns = 80;

export function terminalStyle(stream: TerminalStream, env: CliContext["env"]): TerminalStyle {
  const withColor = stream.isTTY === true && env.NO_COLOR === undefined && env.TERM !== "dumb";
  const isAscii = !isUnicode(env);
  return {
    colors: createColors(withColor),
    columns: Math.max(stream.columns ?? (Number(env.COLUMNS) || usualColumns), 20),
    symbols: isAscii ? inAscii : (text) => text,
    isAscii,
  };
}

/** As POSIX has it: the first variable that is set decides, and none is the locale C. Windows has none of them, and Unicode. */
function isUnicode(env: CliContext["env"]): boolean {
  if (env.OS === "Windows_NT") return true;
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || "C";
  return /utf-?8/i.test(locale);
}

const ascii: Readonly<Record<string, string>> = {
  "✔": "+",
  "✖": "x",
  "–": "-",
  "⊘": "/",
  "●": "*",
  "↻": "o",
  "·": ".",
  "▾": "v",
  "×": "x",
  "█": "#",
  "…": "~",
  "─": "-",
  "│": "|",
  "├": "|",
  "└": "`",
  "┊": ":",
};

const drawn = new RegExp(`[${Object.keys(ascii).join("")}]`, "gu");

function inAscii(text: string): string {
  return text.replace(drawn, (character) => ascii[character] ?? character);
}
