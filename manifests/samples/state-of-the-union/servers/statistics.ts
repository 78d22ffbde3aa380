/** One address: the header line `# YEAR NAME` and the line after it. */
interface Address {
  readonly year: number;
  readonly name: string;
  readonly words: number;
  readonly sentences: number;
  readonly letters: number;
}

export interface Statistics {
  readonly addresses: number;
  readonly words: number;
  readonly sentences: number;
  readonly longest: string;
  readonly shortest: string;
  readonly eras: readonly EraStatistics[];
}

export interface EraStatistics {
  readonly era: string;
  readonly addresses: number;
  readonly wordsPerAddress: number;
  readonly wordsPerSentence: number;
  readonly lettersPerWord: number;
}

/** Length and style of each address and era of the cleaned text; undefined when there is no address in it. */
export function statistics(text: string): Statistics | undefined {
  const addresses = [...text.matchAll(/^# (\d{4}) (.+)\n(.*)$/gm)].map(([, year = "", name = "", body = ""]) =>
    measure(Number(year), name, body),
  );
  if (addresses.length === 0) return undefined;
  const byLength = addresses.toSorted((a, b) => a.words - b.words);
  return {
    addresses: addresses.length,
    words: sum(addresses, "words"),
    sentences: sum(addresses, "sentences"),
    longest: title(byLength.at(-1)),
    shortest: title(byLength[0]),
    eras: [...Map.groupBy(addresses, ({ year }) => eraOf(year))].map(([era, members]) => describeEra(era, members)),
  };
}

/** Fifty years each: `1790-1839`, `1840-1889`, … */
export function eraOf(year: number): string {
  const start = 1790 + Math.floor((year - 1790) / 50) * 50;
  return `${start}-${start + 49}`;
}

function measure(year: number, name: string, body: string): Address {
  const words = body.match(/[A-Za-z']+/g) ?? [];
  const letters = words.reduce((total, word) => total + word.length, 0);
  const sentences = body.match(/[.!?](?=\s|$)/g)?.length ?? 1;
  return { year, name, words: words.length, sentences, letters };
}

function describeEra(era: string, members: readonly Address[]): EraStatistics {
  const words = sum(members, "words");
  return {
    era,
    addresses: members.length,
    wordsPerAddress: Math.round(words / members.length),
    wordsPerSentence: tenths(words / sum(members, "sentences")),
    lettersPerWord: tenths(sum(members, "letters") / words),
  };
}

function sum(addresses: readonly Address[], field: "words" | "sentences" | "letters"): number {
  return addresses.reduce((total, address) => total + address[field], 0);
}

function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}

function title(address: Address | undefined): string {
  return address === undefined ? "" : `${address.name}, ${address.year} (${address.words} words)`;
}
