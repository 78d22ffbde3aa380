/** A pattern's length, in characters. */
const maxPatternLength = 512;

/** The {@link patternSize} of one pattern: compiling one takes some milliseconds at most. */
export const maxPatternSize = 4_000;

/** The sizes of a Pipeline's constant patterns together, each distinct one counted once. */
export const maxPatternsSize = 20_000;

/** Text in which a pattern of `matches` is looked for, in linear time. */
export interface LinearRegex {
  test(text: string): boolean;
  /** Instructions of the compiled pattern: an upper bound of the work for each character. */
  programSize(): number;
}

/** The patterns of one Pipeline: constant ones are compiled once, when it is checked; others when they are met. */
export class Patterns {
  readonly #compile: (pattern: string) => LinearRegex;
  readonly #constants = new Map<string, LinearRegex>();
  #left = maxPatternsSize;

  constructor(compile: (pattern: string) => LinearRegex) {
    this.#compile = compile;
  }

  /** Compiles a constant pattern. Throws Error when it is none, or is too large by itself or with the others. */
  addConstant(pattern: string): void {
    if (this.#constants.has(pattern)) return;
    const size = checkedSize(pattern);
    if (size > this.#left) {
      throw new Error(`the Pipeline's patterns together are larger than ${maxPatternsSize} instructions`);
    }
    // Also one that is refused has cost its time.
    this.#left -= size;
    this.#constants.set(pattern, this.#compile(pattern));
  }

  /** The program of a constant pattern. */
  constant(pattern: string): LinearRegex | undefined {
    return this.#constants.get(pattern);
  }

  /** Compiles a pattern that is not constant; `charge` is called with its size before. Throws Error when it is none, or too large. */
  compile(pattern: string, charge: (size: number) => void): LinearRegex {
    charge(checkedSize(pattern));
    return this.#compile(pattern);
  }
}

function checkedSize(pattern: string): number {
  if (pattern.length > maxPatternLength) throw new Error(`a pattern has at most ${maxPatternLength} characters`);
  const size = patternSize(pattern);
  if (size <= maxPatternSize) return size;
  throw new Error(
    `the pattern is larger than ${maxPatternSize} instructions, its repetitions and Unicode classes counted; repeat less`,
  );
}

/** What a Unicode class (`\pL`) takes to build, in instructions. */
const unicodeClassSize = 100;
/** What a range of other than ASCII takes where case is ignored: each character is folded. */
const foldedRangeSize = 1_000;
/** The choice, and the nothing that an empty alternative is. */
const alternativeSize = 2;
const largest = 1e9;

/**
 * At least the instructions that RE2 makes of a pattern, and what building its character classes takes, from one walk
 * over the text: known before anything is compiled, as `{n}` in `{n}` multiplies. Of what is no pattern, some number.
 */
export function patternSize(pattern: string): number {
  return new PatternWalk(pattern).size();
}

/** What a group holds so far. A repetition multiplies the last item, so it is kept apart. */
interface Group {
  before: number;
  last: number;
}

class PatternWalk {
  readonly #pattern: string;
  readonly #isFolding: boolean;
  readonly #groups: Group[] = [];
  #group: Group = { before: 0, last: 0 };
  #classes = 0;
  #at = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
    this.#isFolding = /\(\?[a-zA-Z]*i/.test(pattern);
  }

  size(): number {
    while (this.#at < this.#pattern.length) this.#step();
    while (this.#groups.length > 0) this.#close();
    return this.#group.before + this.#group.last + this.#classes + 3;
  }

  #step(): void {
    const character = this.#pattern[this.#at++];
    if (character === "(") this.#open();
    else if (character === ")") this.#close();
    else if (character === "|") this.#item(alternativeSize);
    else if (character === "?") this.#group.last += 1;
    else if (character === "*" || character === "+") this.#group.last += 2;
    else if (character === "{") this.#repeat();
    else if (character === "[") this.#class();
    else if (character === "\\") this.#escape();
    else this.#item(1);
  }

  #item(size: number): void {
    this.#group.before += this.#group.last;
    this.#group.last = size;
  }

  #open(): void {
    // Flags are no item: in `x(?i){9}` it is x that comes nine times.
    if (this.#skip(/\?[a-zA-Z-]*\)/y) !== undefined) return;
    this.#item(0);
    this.#groups.push(this.#group);
    this.#group = { before: 0, last: 0 };
    this.#skip(/\?(?:P?<[^>]*>|[a-zA-Z-]*:?)/y);
  }

  #close(): void {
    const outer = this.#groups.pop();
    if (outer === undefined) return;
    outer.last = Math.max(1, this.#group.before + this.#group.last) + 2;
    this.#group = outer;
  }

  #repeat(): void {
    const found = this.#skip(/(?=,?\d)(\d*)(?:(,)(\d*))?\}/y);
    if (found === undefined) {
      this.#item(1);
      return;
    }
    const [, least, comma, most] = found;
    const times = Math.max(1, Number(least), Number(most ?? 0));
    // What may come or not is one instruction more each time.
    const choice = comma === undefined ? 0 : 1;
    this.#group.last = Math.min(largest, (this.#group.last + choice) * times + 2 * choice);
  }

  #escape(): void {
    const quoted = this.#skip(/Q([\s\S]*?)(?:\\E|$)/y);
    if (quoted !== undefined) {
      for (let count = quoted[1]?.length ?? 0; count > 0; count--) this.#item(1);
      return;
    }
    this.#item(1);
    this.#escaped();
  }

  /** Steps over what follows a backslash. */
  #escaped(): void {
    if (this.#skip(/[pP](?:\{[^}]*\}|.)/y) !== undefined) this.#classes += unicodeClassSize;
    else if (this.#skip(/x\{[^}]*\}/y) === undefined) this.#at++;
  }

  #class(): void {
    this.#item(1);
    this.#skip(/\^?\]?/y);
    while (this.#at < this.#pattern.length) {
      if (this.#skip(/\[:[^\]]*:\]/y) !== undefined) continue;
      const character = this.#pattern[this.#at++];
      if (character === "]") return;
      this.#classes++;
      if (character === "\\") this.#escaped();
      else if (character === "-" && this.#isFolding && this.#skip(/[ -Z^-~]/y) === undefined)
        this.#classes += foldedRangeSize;
    }
  }

  /** Steps over what `pattern`, which is sticky, finds here. */
  #skip(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#pattern);
    if (found === null) return undefined;
    this.#at += found[0].length;
    return found;
  }
}
