import type { Clock } from "../engine/clock.ts";
import { printed, type Secrets } from "./secrets.ts";

/** What one attempt's log may take, its timestamps and line ends counted; what is beyond is cut. In bytes. */
export const maxLogBytes = 64 * 1024;

/** A timestamp, the space behind it and the line's end. */
export const logLineOverheadBytes = "2026-11-28T01:02:03.456Z ".length + 1;

/** A longer text is cut before it is looked at: that costs time, and no more than half of it is kept. In characters. */
const maxTextCharacters = 2 * maxLogBytes;

/**
 * One attempt's log on its way out: one line at a time, `2026-11-28T01:02:03.456Z message`, secrets masked, without
 * control characters, bounded. What comes after `end` is dropped.
 */
export class StepLog {
  readonly #write: (line: string) => void;
  readonly #clock: Clock;
  readonly #secrets: Secrets;
  #leftBytes = maxLogBytes;
  #cutBytes = 0;
  #ended = false;

  /** @param write takes a line, without its end; must not throw */
  constructor(write: (line: string) => void, clock: Clock, secrets: Secrets) {
    this.#write = write;
    this.#clock = clock;
    this.#secrets = secrets;
  }

  /**
   * Adds a text of one or more lines. Does not throw.
   * @param cutBytes what somebody has already cut off its end; with an empty text there is no line, only what was cut
   */
  readonly add = (text: string, cutBytes = 0): void => {
    if (this.#ended) return;
    if (this.#cutBytes > 0) {
      this.#cutBytes += Buffer.byteLength(text) + cutBytes;
      return;
    }
    const beyond = text.length - maxTextCharacters;
    const cut = cutBytes + Math.max(0, beyond);
    const masked = this.#secrets.masked(printed(text.slice(0, maxTextCharacters).toWellFormed()));
    // Half a secret, where the text was cut, is not recognised as one.
    const shown = cut === 0 ? masked : masked.slice(0, Math.max(0, masked.length - this.#secrets.longest));
    if (cut === 0 || shown !== "") for (const line of shown.replace(/\n$/, "").split("\n")) this.#addLine(line);
    this.#cutBytes += cut;
  };

  /** Says what was cut, if anything was. Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#cutBytes > 0) this.#write(this.#stamped(`[log cut: ${this.#cutBytes} more bytes]`));
  }

  #addLine(line: string): void {
    const bytes = Buffer.byteLength(line);
    const room = this.#leftBytes - logLineOverheadBytes;
    if (this.#cutBytes > 0 || room < bytes) {
      const part = this.#cutBytes > 0 || room <= 0 ? "" : start(line, room);
      if (part !== "") this.#write(this.#stamped(part));
      this.#cutBytes += Math.max(1, bytes - Buffer.byteLength(part));
      return;
    }
    this.#leftBytes = room - bytes;
    this.#write(this.#stamped(line));
  }

  #stamped(line: string): string {
    return `${new Date(this.#clock.now()).toISOString()} ${line}`;
  }
}

/** As many whole characters from its start as take no more bytes. */
function start(text: string, maxBytes: number): string {
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(maxBytes));
  return text.slice(0, read);
}
