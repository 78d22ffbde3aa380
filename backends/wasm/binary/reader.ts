import { MillraceError } from "../../../engine/errors.ts";

/** The module's bytes break the binary format. `offset` counts from the start of the file, as wasm-tools and wabt print it. */
export function malformed(offset: number, what: string): MillraceError {
  return new MillraceError(
    "InvalidInput",
    `The WASM module is malformed at offset 0x${offset.toString(16)} (${offset}): ${what}. Rebuild it, or check that it was copied whole and in binary mode.`,
  );
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Of anything in one vector; V8 takes no more functions either. */
const maxCount = 1_000_000;

/** A cursor over part of a module. Every read is bounded by `end`; what does not fit is refused with its offset. */
export class BinaryReader {
  readonly #bytes: Uint8Array;
  readonly end: number;
  offset: number;

  constructor(bytes: Uint8Array, start = 0, end: number = bytes.byteLength) {
    this.#bytes = bytes;
    this.offset = start;
    this.end = end;
  }

  get done(): boolean {
    return this.offset >= this.end;
  }

  /** The next byte, without stepping over it; undefined at the end. */
  peek(): number | undefined {
    return this.done ? undefined : this.#bytes[this.offset];
  }

  byte(what: string): number {
    if (this.offset >= this.end) throw malformed(this.offset, `it ends inside ${what}`);
    return this.#bytes[this.offset++] ?? 0;
  }

  /** An unsigned LEB128 number of at most 32 bits: five bytes, the last of which holds four bits. */
  u32(what: string): number {
    const start = this.offset;
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte(what);
      if (shift === 28 && byte > 0x0f) throw malformed(start, `${what} is not a 32-bit LEB128 number`);
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw malformed(start, `${what} is not a 32-bit LEB128 number`);
  }

  /** A signed LEB128 number of at most 33 bits. */
  s33(what: string): number {
    const start = this.offset;
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte(what);
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return byte & 0x40 ? value - 2 ** (shift + 7) : value;
    }
    throw malformed(start, `${what} is not a 33-bit LEB128 number`);
  }

  /** Steps over a LEB128 number of at most `maxBytes` bytes, whatever its value. */
  skipNumber(maxBytes: number): void {
    const start = this.offset;
    for (let left = maxBytes; left > 0; left--) {
      if (this.byte("a number") < 0x80) return;
    }
    throw malformed(start, `a number takes more than ${maxBytes} bytes`);
  }

  skipBytes(length: number): void {
    if (length > this.end - this.offset) throw malformed(this.offset, "it ends inside an instruction");
    this.offset += length;
  }

  /**
   * How many items follow. Each takes at least one byte, so that a forged count is refused before anything is allocated for it.
   * @param max the most that are accepted: what is read of them must fit into the heap
   */
  count(what: string, max: number = maxCount): number {
    const start = this.offset;
    const count = this.u32(`the count of ${what}`);
    if (count > max) throw malformed(start, `it claims ${count} ${what}, more than the ${max} that are accepted`);
    const left = this.end - this.offset;
    if (count > left) throw malformed(start, `it claims ${count} ${what}, but only ${left} bytes follow`);
    return count;
  }

  name(what: string): string {
    const start = this.offset;
    const bytes = this.take(this.u32(`the length of ${what}`), what);
    try {
      return utf8.decode(bytes);
    } catch {
      throw malformed(start, `${what} is not UTF-8`);
    }
  }

  take(length: number, what: string): Uint8Array {
    const start = this.offset;
    if (length > this.end - start) {
      throw malformed(start, `${what} claims ${length} bytes, but only ${this.end - start} follow`);
    }
    this.offset = start + length;
    return this.#bytes.subarray(start, this.offset);
  }

  /** A reader over the next `length` bytes, which this one steps over. */
  sub(length: number, what: string): BinaryReader {
    this.take(length, what);
    return new BinaryReader(this.#bytes, this.offset - length, this.offset);
  }

  /** Another cursor at the same place. */
  clone(): BinaryReader {
    return new BinaryReader(this.#bytes, this.offset, this.end);
  }

  finish(what: string): void {
    if (!this.done) throw malformed(this.offset, `${this.end - this.offset} bytes are left over after ${what}`);
  }
}

/** `value` (an unsigned 32-bit number) in LEB128. */
export function leb128(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return bytes;
}

/** `value` (a signed number of 64 bits) in LEB128. */
export function signedLeb128(value: bigint): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; ) {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    if ((rest === 0n && low < 0x40) || (rest === -1n && low >= 0x40)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}
