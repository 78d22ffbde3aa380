import { MillraceError } from "../../../../engine/errors.ts";
import { kernelModule, maxKernelPages } from "./kernel-module.ts";

/** A page of the kernel's memory. */
export const pageBytes = 65_536;

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
 * bounded by the kernel's memory, and that by `takeRoom`.
 */
export class Kernel {
  /** What a guest imports of the kernel itself. */
  readonly functions: Readonly<Record<string, unknown>>;
  readonly #exports: KernelExports;

  /** @param takeRoom told of how many bytes a call takes, its first page apart, before it does; throws unless it may */
  constructor(module: WebAssembly.Module, takeRoom: (bytes: number) => void) {
    const host = { make_room: (end: number) => this.#makeRoom(end >>> 0, takeRoom) };
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
  alloc(bytes: number): KernelNumber {
    return this.#exports.alloc(BigInt(bytes));
  }

  /** Forgets every block, and zeroes what was in them. */
  reset(): void {
    this.#exports.reset();
  }

  setInput(address: KernelNumber, bytes: number): void {
    this.#exports.input_set(address, BigInt(bytes));
  }

  #makeRoom(end: number, takeRoom: (bytes: number) => void): void {
    const pages = Math.ceil(end / pageBytes);
    takeRoom(pages > maxKernelPages ? Number.POSITIVE_INFINITY : (pages - 1) * pageBytes);
    const more = pages - this.memory.buffer.byteLength / pageBytes;
    if (more <= 0) return;
    try {
      this.memory.grow(more);
    } catch (thrown) {
      throw new MillraceError("ResourceExhausted", `No room for ${end} bytes of Extism's memory.`, { cause: thrown });
    }
  }
}
