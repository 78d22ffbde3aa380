export interface EraKeywords {
  readonly era: string;
  readonly keywords: readonly string[];
}

/**
 * The words that tell each era from the others: term frequency × inverse document frequency, an era taken as one document.
 * `terms` has a line a word: era, word and count, separated by tabs.
 */
export function keywords(terms: string, top: number): readonly EraKeywords[] {
  const rows = parse(terms).toSorted((a, b) => a.era.localeCompare(b.era));
  const eras = Map.groupBy(rows, ({ era }) => era);
  const erasWith = new Map<string, number>();
  for (const { word } of rows) erasWith.set(word, (erasWith.get(word) ?? 0) + 1);
  return [...eras].map(([era, members]) => {
    const total = members.reduce((count, row) => count + row.count, 0);
    const weigh = ({ word, count }: Row) => (count / total) * Math.log(eras.size / (erasWith.get(word) ?? 1));
    const best = members.toSorted((a, b) => weigh(b) - weigh(a) || b.count - a.count);
    return { era, keywords: best.slice(0, top).map(({ word }) => word) };
  });
}

interface Row {
  readonly era: string;
  readonly word: string;
  readonly count: number;
}

function parse(terms: string): readonly Row[] {
  return terms
    .split("\n")
    .map((line) => line.split("\t"))
    .filter((fields) => fields.length === 3)
    .map(([era = "", word = "", count = ""]) => ({ era, word, count: Number(count) }));
}
