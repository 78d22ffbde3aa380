/** What stands in a text where a secret's value stood. */
const mask = "***";

/** A line of a value of several lines is looked for by itself if it is no shorter. */
const minLineCharacters = 8;

/** What is looked for at most: whole values in all their forms, then lines. With the next limit, it bounds the time that a text takes. */
const maxNeedles = 1_000;

/** A longer text is cut, so that a processor and its secrets cannot hold up everybody. In characters. */
const maxMaskedCharacters = 256 * 1024;

/** The values of a Processor's `spec.secrets` as they are at one time, and what hides them. Never to be printed. */
export class Secrets {
  /** By the name that the Processor gives them. */
  readonly values: Readonly<Record<string, string>>;
  /** The longest first: the first one's length is all that a cut can leave of a value. */
  #needles: readonly string[] | undefined;

  constructor(values: Readonly<Record<string, string>>) {
    this.values = Object.freeze({ ...values });
  }

  /** The length of the longest thing that {@link masked} looks for, in characters. */
  get longest(): number {
    return this.#sought()[0]?.length ?? 0;
  }

  /**
   * The text with `***` in place of each value: as it is, without the white space around it, as JSON, percent-encoding and
   * Base64 write it, and its longer lines one by one. What is over 256 Ki characters is left out where there are secrets.
   */
  masked(text: string): string {
    if (text.length <= maxMaskedCharacters || this.longest === 0) return this.#maskedWhole(text);
    const masked = this.#maskedWhole(text.slice(0, maxMaskedCharacters));
    // Half a secret at the cut is not recognised as one.
    return `${masked.slice(0, Math.max(0, masked.length - this.longest))}…`;
  }

  #maskedWhole(text: string): string {
    const spans = this.#sought().flatMap((needle) => occurrences(text, needle));
    if (spans.length === 0) return text;
    spans.sort((a, b) => a[0] - b[0]);
    let result = "";
    let end = 0;
    for (const [from, to] of spans) {
      // One that overlaps the one before is hidden with it.
      if (from >= end) result += text.slice(end, from) + mask;
      end = Math.max(end, to);
    }
    return result + text.slice(end);
  }

  #sought(): readonly string[] {
    if (this.#needles === undefined) {
      const values = Object.values(this.values).map((value) => value.toWellFormed());
      const all = new Set([...values.flatMap(formsOf), ...values.flatMap(linesOf)]);
      all.delete("");
      this.#needles = [...all].slice(0, maxNeedles).sort((a, b) => b.length - a.length);
    }
    return this.#needles;
  }
}

export const noSecrets = new Secrets({});

function formsOf(value: string): readonly string[] {
  return [value, value.trim(), printed(value)].flatMap((text) => [
    text,
    JSON.stringify(text).slice(1, -1),
    encodeURIComponent(text),
    Buffer.from(text, "utf8").toString("base64"),
  ]);
}

function linesOf(value: string): readonly string[] {
  const lines = value.split(/\r\n|\r|\n/).map((line) => printed(line).trim());
  return lines.filter((line) => line.length >= minLineCharacters);
}

/** Where the needle is, overlapping itself or not. */
function occurrences(text: string, needle: string): [number, number][] {
  const found: [number, number][] = [];
  for (let at = text.indexOf(needle); at >= 0; at = text.indexOf(needle, at + 1)) found.push([at, at + needle.length]);
  return found;
}

/** Text without what a terminal would act upon: line ends as `\n`, no control characters but that and the tab. */
export function printed(text: string): string {
  return text.replace(/\r\n?/g, "\n").replace(/(?![\t\n])\p{Cc}/gu, "");
}
