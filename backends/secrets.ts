/** What stands in a text where a secret's value stood. */
const mask = "***";

/** A line of a value of several lines is looked for by itself if it is no shorter. */
const minLineCharacters = 8;

/** What is looked for at most: whole values in all their forms, then lines. With the next limit, it bounds the time that a text takes: two seconds, where both are made for it. */
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
    const hidden = new HiddenSpans(text);
    for (const needle of this.#sought()) hidden.find(needle);
    return hidden.masked();
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

/**
 * What is to be hidden in a text. It takes as much memory as the text, however often secrets occur in it, and each search
 * takes about as long as the text is, however the needle overlaps itself: the processor chooses both.
 */
class HiddenSpans {
  readonly #text: string;
  /** By where a span begins: where the longest such ends. Absent: there is none. */
  #ends: Uint32Array | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  /** Hides the needle wherever it is, overlapping itself or not. */
  find(needle: string): void {
    const text = this.#text;
    for (let at = text.indexOf(needle); at >= 0; ) {
      const next = text.indexOf(needle, at + 1);
      const overlaps = next >= 0 && next < at + needle.length;
      const last = overlaps ? this.#lastRepeated(next, needle.length, next - at) : at;
      this.#hide(at, last + needle.length);
      at = overlaps ? text.indexOf(needle, last + 1) : next;
    }
  }

  masked(): string {
    const text = this.#text;
    const ends = this.#ends;
    if (ends === undefined) return text;
    let result = "";
    let end = 0;
    for (let from = 0; from < text.length; from++) {
      const to = ends[from] ?? 0;
      if (to === 0) continue;
      // One that overlaps the one before is hidden with it.
      if (from >= end) result += text.slice(end, from) + mask;
      end = Math.max(end, to);
    }
    return result + text.slice(end);
  }

  /** Of occurrences each `step` behind the one before: where the last begins. Their text repeats itself, so that no character is compared twice. */
  #lastRepeated(second: number, length: number, step: number): number {
    const text = this.#text;
    let end = second + length;
    while (end < text.length && text.charCodeAt(end) === text.charCodeAt(end - step)) end++;
    return second + Math.floor((end - second - length) / step) * step;
  }

  #hide(from: number, to: number): void {
    this.#ends ??= new Uint32Array(this.#text.length);
    this.#ends[from] = Math.max(this.#ends[from] ?? 0, to);
  }
}

/** Text without what a terminal would act upon: line ends as `\n`, no control characters but that and the tab. */
export function printed(text: string): string {
  return text.replace(/\r\n?/g, "\n").replace(/(?![\t\n])\p{Cc}/gu, "");
}
