import { Writable } from "node:stream";
import type { TerminalStream } from "../../controller/cli/context.ts";

/** A control sequence, or one character. */
const tokens = /[\p{Cc}--[\n\r]]\[[?\d;]*[A-Za-z]|./gsv;

/** A terminal as xterm has it, as far as our views use one: what is written to it can be read off its screen. */
export class Screen extends Writable implements TerminalStream {
  readonly isTTY = true;
  readonly columns: number;
  readonly rows: number;
  /** How often it was written to. */
  writes = 0;
  /** Also what has scrolled away; the last {@link rows} of them can be written to. */
  readonly #lines: string[][] = [[]];
  #row = 0;
  #column = 0;

  constructor(columns: number, rows: number) {
    super({ decodeStrings: false });
    this.columns = columns;
    this.rows = rows;
  }

  /** What can be scrolled to, and the screen, without blanks at ends. */
  get text(): string {
    return this.#lines
      .map((line) =>
        Array.from(line, (cell) => cell ?? " ")
          .join("")
          .trimEnd(),
      )
      .join("\n")
      .trimEnd();
  }

  /** The screen alone. */
  get visible(): readonly string[] {
    return this.text.split("\n").slice(this.#top);
  }

  get #top(): number {
    return Math.max(0, this.#lines.length - this.rows);
  }

  override _write(chunk: string, _encoding: BufferEncoding, done: () => void): void {
    this.writes += 1;
    this.#take(chunk);
    done();
  }

  /** What was written while it was corked. */
  override _writev(chunks: readonly { readonly chunk: string }[], done: () => void): void {
    this.writes += 1;
    for (const { chunk } of chunks) this.#take(chunk);
    done();
  }

  #take(text: string): void {
    for (const [token] of text.matchAll(tokens)) this.#put(token);
  }

  #put(token: string): void {
    if (token === "\n") this.#lineFeed();
    else if (token === "\r") this.#column = 0;
    else if (token.startsWith("\u001b")) this.#control(token.at(-1) ?? "", Number(token.slice(2, -1)));
    else {
      // A full line keeps the cursor on its last column until one more character comes.
      if (this.#column === this.columns) this.#lineFeed();
      this.#line[this.#column] = token;
      this.#column += 1;
    }
  }

  /** A tty's driver makes a carriage return of it too. */
  #lineFeed(): void {
    this.#row += 1;
    this.#column = 0;
    if (this.#row === this.#lines.length) this.#lines.push([]);
  }

  #control(final: string, parameter: number): void {
    if (final === "A") this.#row = Math.max(this.#top, this.#row - (parameter || 1));
    else if (final === "B") this.#down(parameter || 1);
    else if (final === "G") this.#column = Math.max(0, parameter - 1);
    else if (final === "K")
      this.#line.length = parameter === 2 ? 0 : Math.min(this.#column, this.columns - 1, this.#line.length);
    else if (!"mhl".includes(final)) throw new Error(`the screen does not know CSI ${parameter} ${final}`);
  }

  /** The screen is empty below what was written. */
  #down(count: number): void {
    this.#row = Math.min(this.#top + this.rows - 1, this.#row + count);
    while (this.#lines.length <= this.#row) this.#lines.push([]);
  }

  get #line(): string[] {
    const line = this.#lines[this.#row];
    if (line === undefined) throw new RangeError(`no line ${this.#row}`);
    return line;
  }
}
