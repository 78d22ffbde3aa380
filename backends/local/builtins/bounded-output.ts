import { constants } from "node:buffer";

/** What a call would give is more than it may. */
export class OutputOverflow extends Error {
  override readonly name = "OutputOverflow";
  /** How many bytes it had come to, at least, when it was stopped. */
  readonly bytes: number;

  constructor(bytes: number) {
    super(`the output comes to ${bytes} bytes and more`);
    this.bytes = bytes;
  }
}

/** A call is more work than the thread that it is in can wait for. Nothing is wrong with it. */
export class WorkOverflow extends Error {
  override readonly name = "WorkOverflow";
}

/**
 * Where a built-in writes what may be much more than its payload: it stops before too much is allocated, and not when it
 * is done. Options of 4 KiB and a payload of 60 KB are enough for a text that no process can hold.
 */
export class BoundedOutput {
  readonly #parts: string[] = [];
  readonly #maxBytes: number;
  readonly #maxWork: number;
  #bytes = 0;
  #work = 0;

  /**
   * @param maxBytes of the output in UTF-8, in bytes
   * @param maxWork in units of some hundred nanoseconds; default: without end
   */
  constructor(maxBytes: number, maxWork = Number.POSITIVE_INFINITY) {
    this.#maxBytes = Math.min(maxBytes, constants.MAX_STRING_LENGTH);
    this.#maxWork = maxWork;
  }

  /** What was put so far. @throws OutputOverflow when its UTF-8 is over the limit */
  get text(): string {
    const text = this.#parts.join("");
    // A code unit is three bytes at most: most texts need no counting.
    if (3 * text.length <= this.#maxBytes) return text;
    const bytes = Buffer.byteLength(text);
    if (bytes > this.#maxBytes) throw new OutputOverflow(bytes);
    return text;
  }

  /** Adds to the text; one unit of work. @throws OutputOverflow, WorkOverflow */
  put(text: string): void {
    this.work(1);
    // At least a byte for each code unit: what this lets through is counted at the end.
    this.claim(text.length);
    this.#parts.push(text);
  }

  /** Counts bytes that are going to be given. @throws OutputOverflow */
  claim(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#maxBytes) throw new OutputOverflow(this.#bytes);
  }

  /** Counts work that puts nothing. @throws WorkOverflow */
  work(units: number): void {
    this.#work += units;
    if (this.#work > this.#maxWork) throw new WorkOverflow(`more than ${this.#maxWork} units of work`);
  }
}
