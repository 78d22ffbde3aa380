import type { TerminalStyle } from "./terminal.ts";

/** What a line says, for a terminal that has no room for all: how the whole stands, what runs, what failed, or anything else. */
export type LineRank = "Head" | "Running" | "Failed" | "Other";

/** A line of what is shown. */
export interface ViewLine {
  readonly text: string;
  readonly rank: LineRank;
}

/** Those that go first when not all fit. */
const ranked = ["Head", "Running", "Failed"] as const;

/**
 * At most that many lines, in their order: the head, then what runs, what failed, and what is near to the first that runs.
 * Where lines are left out stands how many.
 */
export function fittingLines(lines: readonly ViewLine[], height: number, style: TerminalStyle): readonly string[] {
  if (lines.length <= height) return lines.map(({ text }) => text);
  const shown = new Set<number>();
  // A gap takes a line, and at first all is one gap.
  let left = height - 1;
  for (const index of byImportance(lines)) {
    const isHidden = (at: number) => at >= 0 && at < lines.length && !shown.has(at);
    // It splits a gap in two, or makes it shorter, or takes the place of the words for it.
    const cost = Number(isHidden(index - 1)) + Number(isHidden(index + 1));
    if (cost > left) continue;
    left -= cost;
    shown.add(index);
  }
  return withGaps(lines, shown, style);
}

function byImportance(lines: readonly ViewLine[]): readonly number[] {
  const of = (rank: LineRank) => [...lines.keys()].filter((index) => lines[index]?.rank === rank);
  const near = Math.max(
    0,
    lines.findIndex(({ rank }) => rank === "Running"),
  );
  const others = of("Other").sort((one, other) => Math.abs(one - near) - Math.abs(other - near));
  return [...ranked.flatMap(of), ...others];
}

function withGaps(lines: readonly ViewLine[], shown: ReadonlySet<number>, style: TerminalStyle): readonly string[] {
  const texts: string[] = [];
  let hidden = 0;
  const closeGap = () => {
    if (hidden > 0)
      texts.push(style.colors.dim(style.symbols(`… ${hidden} ${hidden === 1 ? "line" : "lines"} hidden`)));
    hidden = 0;
  };
  for (const [index, { text }] of lines.entries()) {
    if (!shown.has(index)) {
      hidden += 1;
      continue;
    }
    closeGap();
    texts.push(text);
  }
  closeGap();
  return texts;
}
