import { MillraceError } from "../../../../engine/errors.ts";
import { kernelModule, maxKernelPages } from "./kernel-module.ts";

const pageBytes = 65_536;

/** An address in the kernel's memory, or a number there, as a guest gives it: 64 bits. */
export type KernelNumber = bigint;

interface KernelExports {
  readonly memory: WebAssembly.Memory;
  readonly alloc: (bytes: KernelNumber) => KernelNumber;
  readonly length: (address: KernelNumber) => KernelNumber;
  readonly input_set: (address: KernelNumber, bytes: KernelNumber) => void;
  readonly reset: () => void;
}

/** A kernel that took more is not kept for the next instance: a memory never shrinks. */
const maxKeptBytes = 1024 * 1024;

/**
 * Extism's memory: blocks that the host and one guest hand to each other. A guest calls the `functions` itself; what it does there is
 * bounded by the kernel's memory, and that by `mayHold`.
 */
export class Kernel {
  /** What a guest imports of the kernel itself. */
  readonly functions: Readonly<Record<string, unknown>>;
  readonly #exports: KernelExports;

  /** @param mayHold throws unless the kernel may hold so many bytes */
  constructor(module: WebAssembly.Module, mayHold: (bytes: number) => void) {
    const host = { make_room: (end: number) => this.#makeRoom(end >>> 0, mayHold) };
    const instance = new WebAssembly.Instance(module, { host });
    this.#exports = instance.exports as unknown as KernelExports;
    const { memory: _memory, input_set: _set, reset: _reset, ...functions } = instance.exports;
    this.functions = functions;
  }

  static compile(): WebAssembly.Module {
    return new WebAssembly.Module(kernelModule());
  }

  get memory(): WebAssembly.Memory {
    return this.#exports.memory;
  }

  /** Beyond its first page, which every kernel has. */
  get heldBytes(): number {
    return this.memory.buffer.byteLength - pageBytes;
  }

  get mayBeKept(): boolean {
    return this.memory.buffer.byteLength <= maxKeptBytes;
  }

  /** The length of the block at `address`, 0 when there is none. */
  lengthAt(address: KernelNumber): number {
    return Number(this.#exports.length(address));
  }

  /** A new block; 0 for no bytes. */
  place(bytes: Uint8Array): KernelNumber {
    const address = this.#exports.alloc(BigInt(bytes.byteLength));
    if (address !== 0n) new Uint8Array(this.memory.buffer).set(bytes, Number(address));
    return address;
  }

  /** Forgets every block, and zeroes what was in them. */
  reset(): void {
    this.#exports.reset();
  }

  setInput(bytes: Uint8Array): void {
    this.#exports.input_set(this.place(bytes), BigInt(bytes.byteLength));
  }

  #makeRoom(end: number, mayHold: (bytes: number) => void): void {
    const pages = Math.ceil(end / pageBytes);
    mayHold(pages > maxKernelPages ? Number.POSITIVE_INFINITY : (pages - 1) * pageBytes);
    try {
      this.memory.grow(pages - this.memory.buffer.byteLength / pageBytes);
    } catch (thrown) {
      throw new MillraceError("ResourceExhausted", `No room for ${end} bytes of Extism's memory.`, { cause: thrown });
    }
  }
}
