import { leb128 } from "./reader.ts";

/** Fewer are copied faster one by one. */
const minBlockBytes = 64;

/** Bytes that grow at the end; copying millions of small pieces allocates nothing for each. */
export class BinaryWriter {
  #buffer: Uint8Array;
  #length = 0;

  /** @param expectedBytes room from the start; more is made as needed */
  constructor(expectedBytes: number) {
    this.#buffer = new Uint8Array(Math.max(64, expectedBytes));
  }

  get length(): number {
    return this.#length;
  }

  /** What was written; not to be written to. */
  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Starts anew, in the room that there is. */
  clear(): void {
    this.#length = 0;
  }

  /** An unsigned number in LEB128. */
  number(value: number): void {
    this.copy(leb128(value), 0, Number.POSITIVE_INFINITY);
  }

  /** The bytes of `source` from `start` up to `end`, or its end. */
  copy(source: Uint8Array | readonly number[], start: number, end: number): void {
    const stop = Math.min(end, source.length);
    this.#makeRoom(stop - start);
    if (stop - start > minBlockBytes && source instanceof Uint8Array) {
      this.#buffer.set(source.subarray(start, stop), this.#length);
      this.#length += stop - start;
      return;
    }
    for (let at = start; at < stop; at++) this.#buffer[this.#length++] = source[at] ?? 0;
  }

  #makeRoom(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.byteLength) return;
    const larger = new Uint8Array(Math.max(this.#buffer.byteLength * 2, this.#length + bytes));
    larger.set(this.bytes);
    this.#buffer = larger;
  }
}
