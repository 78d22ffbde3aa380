/** Of a line that has not ended, in bytes; a longer one is logged in parts. */
const maxLineBytes = 8 * 1024;

const lineFeed = 0x0a;

/** One of a guest's output streams on its way to the log: whole lines go at once, what is left of one at its end. */
export class OutputLines {
  readonly #log: (text: Uint8Array) => void;
  readonly #held = Buffer.alloc(maxLineBytes);
  #heldBytes = 0;

  constructor(log: (text: Uint8Array) => void) {
    this.#log = log;
  }

  /** `bytes` may be a view of the guest's memory: it is not kept. */
  write(bytes: Uint8Array): void {
    const end = bytes.lastIndexOf(lineFeed);
    if (end >= 0) this.#logWith(bytes.subarray(0, end));
    for (let rest = bytes.subarray(end + 1); rest.byteLength > 0; ) {
      const taken = rest.subarray(0, maxLineBytes - this.#heldBytes);
      this.#held.set(taken, this.#heldBytes);
      this.#heldBytes += taken.byteLength;
      rest = rest.subarray(taken.byteLength);
      if (this.#heldBytes === maxLineBytes) this.flush();
    }
  }

  /** Logs a line that has no end yet. */
  flush(): void {
    if (this.#heldBytes > 0) this.#logWith(new Uint8Array());
  }

  #logWith(more: Uint8Array): void {
    this.#log(Buffer.concat([this.#held.subarray(0, this.#heldBytes), more]));
    this.#heldBytes = 0;
  }
}
