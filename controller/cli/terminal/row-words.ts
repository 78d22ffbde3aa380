import type { FanOutRow, StepRow, StepRowError } from "../../api/types.ts";
import { printable } from "./printable.ts";
import type { TerminalStyle } from "./terminal.ts";

/** A row, or what a step of a run that goes on came to. */
type Judged = { readonly state: StepRow["state"]; readonly reason?: string };

/** A step's state in one character, coloured where colours are. */
export function glyphOf(row: Judged | undefined, { colors }: Pick<TerminalStyle, "colors">): string {
  switch (row?.state) {
    case "Succeeded":
      return colors.green("✔");
    case "Failed":
      return row.reason === "Ignored" ? colors.yellow("✖") : colors.red("✖");
    case "Skipped":
      return colors.yellow("–");
    case "Cancelled":
      return colors.yellow("⊘");
    case "Running":
      return colors.cyan("●");
    case "Retrying":
      return colors.yellow("↻");
    default:
      return colors.dim("·");
  }
}

/** The state in words: how a fan-out's items are, else the reason, which is of one state only, else the state itself. */
export function stateWords(row: StepRow | undefined): string {
  if (row === undefined) return "";
  return row.items === undefined ? printable(row.reason ?? row.state) : itemCounts(row.items);
}

/** `812/10000, 1 failed, 800 cached`: succeeded of all, what else became of them, and how many needed no attempt. */
export function itemCounts({ total, succeeded, ...others }: FanOutRow): string {
  const counted = (["failed", "cancelled", "cached", "reused"] as const).flatMap((what) => {
    const count = others[what] ?? 0;
    return count === 0 ? [] : [`${count} ${what}`];
  });
  return [`${succeeded}/${total}`, ...counted].join(", ");
}

/** `Unavailable`, or `ProcessorFailed (OutOfInk)` where the processor has a code of its own. */
export function codeWords({ code, processorCode }: Pick<StepRowError, "code" | "processorCode">): string {
  return processorCode === undefined ? code : `${code} (${printable(processorCode)})`;
}
