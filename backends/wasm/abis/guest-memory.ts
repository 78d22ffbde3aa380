import type { AbiName } from "./contract.ts";
import type { Fuel } from "./fuel.ts";
import { brokenRule, tooMuch } from "./refusals.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A guest's linear memory, seen from the host: whatever a guest gives as pointer and length is checked here, and nowhere else. */
export class GuestMemory {
  readonly #abi: AbiName;
  readonly #memory: WebAssembly.Memory;
  readonly #fuel: Fuel;

  constructor(abi: AbiName, memory: WebAssembly.Memory, fuel: Fuel) {
    this.#abi = abi;
    this.#memory = memory;
    this.#fuel = fuel;
  }

  get byteLength(): number {
    return this.#memory.buffer.byteLength;
  }

  /**
   * The bytes from `pointer` on, both taken as unsigned: a view that is good until the guest runs on. The guest pays for them, as they
   * are there to be copied.
   * @throws ProcessorCrashed when they lie beyond the memory's end, SandboxViolation when the fuel does not suffice
   */
  slice(pointer: number, length: number, what: string): Uint8Array<ArrayBuffer> {
    const view = this.#view(pointer, length, what);
    this.#fuel.chargeBytes(view.byteLength);
    return view;
  }

  #view(pointer: number, length: number, what: string): Uint8Array<ArrayBuffer> {
    const start = pointer >>> 0;
    const size = length >>> 0;
    const { buffer } = this.#memory;
    if (start + size > buffer.byteLength) {
      throw brokenRule(
        this.#abi,
        `${what} lies outside of the memory: ${size} bytes at ${start}, the memory has ${buffer.byteLength}`,
      );
    }
    return new Uint8Array(buffer, start, size);
  }

  /** @throws PayloadTooLarge when it is longer than `maxBytes`, ProcessorCrashed when it is not UTF-8, and as `slice` */
  text(pointer: number, length: number, maxBytes: number, what: string): string {
    if (length >>> 0 > maxBytes) throw tooMuch(what, length >>> 0, maxBytes);
    const bytes = this.#view(pointer, length, what);
    this.#fuel.chargeText(bytes.byteLength);
    try {
      return decoder.decode(bytes);
    } catch {
      throw brokenRule(this.#abi, `${what} is not UTF-8`);
    }
  }

  /** As {@link text}, of JSON: taking it apart is paid for too. */
  json(pointer: number, length: number, maxBytes: number, what: string): string {
    const json = this.text(pointer, length, maxBytes, what);
    this.#fuel.chargeJson(length >>> 0);
    return json;
  }

  /** Writes what fits into the buffer, and gives the whole length, as `snprintf` does. All of it is paid for: the host made all of it. */
  writeText(text: string, pointer: number, capacity: number): number {
    const room = this.#view(pointer, capacity, "a buffer to read into");
    const { read, written } = encoder.encodeInto(text, room);
    if (read === text.length) {
      this.#fuel.chargeText(written);
      return written;
    }
    const bytes = encoder.encode(text);
    this.#fuel.chargeText(bytes.byteLength);
    room.set(bytes.subarray(0, room.byteLength));
    return bytes.byteLength;
  }

  /** @throws ProcessorCrashed when there is no room at `pointer` */
  write(bytes: Uint8Array, pointer: number, what: string): void {
    this.slice(pointer, bytes.byteLength, what).set(bytes);
  }

  /** A little-endian unsigned number of 32 bits. */
  u32(pointer: number, what: string): number {
    const { buffer, byteOffset } = this.slice(pointer, 4, what);
    return new DataView(buffer, byteOffset, 4).getUint32(0, true);
  }
  setU32(pointer: number, value: number, what: string): void {
    const { buffer, byteOffset } = this.slice(pointer, 4, what);
    new DataView(buffer, byteOffset, 4).setUint32(0, value, true);
  }

  setU64(pointer: number, value: bigint, what: string): void {
    const { buffer, byteOffset } = this.slice(pointer, 8, what);
    new DataView(buffer, byteOffset, 8).setBigUint64(0, value, true);
  }
}
