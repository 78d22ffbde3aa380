// The small harness on which every bench stands: warm up, alternate A B A B …, take medians, print.
// A bench is a file in this folder that exports `bench: Bench`; `npm run bench [-- NAME] [--json]` finds it by its name.

/** One side of a row: does the whole round and gives back how many units of work it really did. */
export type Side = () => Promise<number> | number;

/** What one row compares. */
export interface Comparison {
  /** Rounds before anything is measured; default 3. */
  readonly warmUpRounds?: number;
  /** Measured rounds of each side; default 15. */
  readonly rounds?: number;
  /** Units of work that a round of either side claims to do; a round that does another number fails the bench. */
  readonly units: number;
  readonly ours: Side;
  readonly baseline: Side;
}

/** Medians over the rounds, per unit of work. */
export interface Measured {
  readonly oursUs: number;
  readonly baselineUs: number;
}

/** One line of the table, and with `--json` one line of output. */
export interface Row {
  /** `bench/row`, or `bench` where there is only one. */
  readonly name: string;
  /** What the bar is about, in the bar's own sense: ours over the baseline, or the absolute that it names. */
  readonly ratio: number;
  /** As performance.md says it, for example `<= 1.2`. */
  readonly bar: string;
  readonly ok: boolean;
  /** Numbers worth reading, unit in the name. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly baseline: Readonly<Record<string, number>>;
}

/** A bench: gives its rows; throws when a side did less than it claims. */
export type Bench = () => Promise<readonly Row[]>;

/** Measures both sides in turn, after warming both up. */
export async function compare(comparison: Comparison): Promise<Measured> {
  const { units, ours, baseline } = comparison;
  for (let round = 0; round < (comparison.warmUpRounds ?? 3); round++) {
    await timed("ours", ours, units);
    await timed("baseline", baseline, units);
  }
  const oursMs: number[] = [];
  const baselineMs: number[] = [];
  for (let round = 0; round < (comparison.rounds ?? 15); round++) {
    oursMs.push(await timed("ours", ours, units));
    baselineMs.push(await timed("baseline", baseline, units));
  }
  return { oursUs: (median(oursMs) * 1000) / units, baselineUs: (median(baselineMs) * 1000) / units };
}

async function timed(name: string, side: Side, units: number): Promise<number> {
  const startMs = performance.now();
  const done = await side();
  const tookMs = performance.now() - startMs;
  if (done !== units) throw new Error(`the bench is unfair: ${name} did ${done} of ${units} units`);
  return tookMs;
}

/** The middle value; the mean of the two middle ones where their number is even. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

/** The rows as a table for people. */
export function tableOf(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.name,
    row.ratio.toFixed(2),
    row.bar,
    row.ok ? "ok" : "MISSED",
    numbers(row.metrics),
    numbers(row.baseline),
  ]);
  const table = [["bench", "ratio", "bar", "", "ours", "baseline"], ...cells];
  const widths = table[0]?.map((_, column) => Math.max(...table.map((line) => line[column]?.length ?? 0))) ?? [];
  return table
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function numbers(metrics: Readonly<Record<string, number>>): string {
  return Object.entries(metrics)
    .map(([name, value]) => `${name}=${Number(value.toPrecision(3))}`)
    .join(" ");
}
