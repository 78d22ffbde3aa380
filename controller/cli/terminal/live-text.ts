import { createLogUpdate } from "log-update";
import type { TerminalStream } from "../context.ts";
import type { TerminalStyle } from "./terminal.ts";
import { fittingLines, type ViewLine } from "./view-lines.ts";

/** What is left of the terminal for the cursor's line. */
const linesKept = 1;
/** Of a terminal that does not say how high it is. */
const usualRows = 24;

/** Lines drawn again in place on a terminal while something goes on, and at its end once as a whole. */
export class LiveText {
  readonly #stream: TerminalStream;
  readonly #log: ReturnType<typeof createLogUpdate>;
  #shown = "";

  constructor(stream: TerminalStream) {
    this.#stream = stream;
    // The view writes to the terminal's own stream type, of which log-update wants no more than this.
    this.#log = createLogUpdate(stream as NodeJS.WriteStream);
  }

  /** As many of them as the terminal has room for: what has scrolled away cannot be taken back. */
  draw(lines: readonly ViewLine[], style: TerminalStyle): void {
    const height = Math.max(1, (this.#stream.rows ?? usualRows) - linesKept);
    const text = fittingLines(lines, height, style).join("\n");
    if (text === this.#shown) return;
    this.#shown = text;
    this.#anew(() => this.#log(text));
  }

  /** All of them, however high the terminal is: nothing moves any more, so they may scroll. */
  end(lines: readonly ViewLine[]): void {
    this.#anew(() => this.#stream.write(lines.map(({ text }) => `${text}\n`).join("")));
    this.#log.done();
  }

  /**
   * Frames are drawn whole, in one write. log-update would write what differs: where lines came between others it writes over
   * those that moved down, and it erases the last character of a line that is as wide as the terminal.
   */
  #anew(write: () => void): void {
    this.#stream.cork();
    this.#log.clear();
    write();
    this.#stream.uncork();
  }
}
