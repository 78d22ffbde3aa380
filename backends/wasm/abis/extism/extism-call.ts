import { MillraceError } from "../../../../engine/errors.ts";
import type { GuestHost, GuestHttpResponse, GuestRequest } from "../guest.ts";
import { GuestCall } from "../guest-call.ts";
import { GuestMemory } from "../guest-memory.ts";
import { brokenRule } from "../refusals.ts";
import { type Kernel, type KernelNumber, pageBytes } from "./kernel.ts";

const encoder = new TextEncoder();

/** Of an error's text that came without a code; so much still fits when each byte of it is no UTF-8. */
const maxPlainErrorBytes = 4 * 1024;

/** Where a call's blocks are, and how many there may be. */
export interface ExtismRoom {
  readonly kernel: Kernel;
  /** Of the kernel's memory and the module's together; a kernel that may be kept has its pages from calls before. */
  readonly maxMemoryBytes: number;
  /** See `heldGlobal`. */
  readonly held: WebAssembly.Global;
}

/** A call of a module that brings its data over in Extism's memory. */
export class ExtismCall extends GuestCall {
  #room: ExtismRoom | undefined;
  #blocks: GuestMemory | undefined;
  /** That the call has taken of the kernel's memory beyond its first page. */
  #takenBytes = 0;
  /** By which the module may grow less. */
  #heldBytes = 0;
  #output: { readonly address: KernelNumber; readonly length: KernelNumber } | undefined;
  /** The block that was named as the error; 0: none. */
  error: KernelNumber = 0n;
  /** Of the last HTTP request; its body is the guest's to keep. */
  response: Omit<GuestHttpResponse, "body"> | undefined;

  constructor(request: GuestRequest, host: GuestHost) {
    super("Extism", request, host);
  }

  /** To be called before any code of the guest runs, but after `attach`. */
  enter(room: ExtismRoom): void {
    const { kernel } = room;
    this.#room = room;
    this.#blocks = new GuestMemory(this.abi, kernel.memory, this.fuel);
    this.#hold(kernel.mayBeKept ? 0 : kernel.heldBytes);
  }

  placeInput(): void {
    const { payload } = this.request;
    this.#entered(this.#room).kernel.setInput(this.place(payload), payload.byteLength);
  }

  /**
   * Sets so many bytes of the kernel's memory aside for this call, all that it took before included; they are paid for as the module's own
   * are when it grows, and count with those: it may grow by so much less.
   * @throws SandboxViolation when the limit does not allow it, or the fuel does not suffice
   */
  takeRoom(kernelBytes: number): void {
    const { maxMemoryBytes } = this.#entered(this.#room);
    const ownBytes = this.memory.byteLength;
    if (ownBytes + kernelBytes > maxMemoryBytes) {
      throw new MillraceError(
        "SandboxViolation",
        `The WASM module wanted more memory than its limit of ${maxMemoryBytes} bytes (spec.wasm.limits.memory): ${ownBytes} bytes of its own and what it holds of Extism's memory count together. Raise the limit, free blocks that are no longer needed, or give it less input.`,
      );
    }
    this.fuel.chargePages((kernelBytes - this.#takenBytes) / pageBytes);
    this.#takenBytes = kernelBytes;
    this.#hold(Math.max(this.#heldBytes, kernelBytes));
  }

  /** Gives the guest a block with this in it; 0 for nothing. */
  place(value: string | Uint8Array | undefined): KernelNumber {
    if (value === undefined) return 0n;
    const bytes = typeof value === "string" ? encoder.encode(value) : value;
    if (typeof value === "string") this.fuel.chargeText(bytes.byteLength);
    const address = this.#entered(this.#room).kernel.alloc(bytes.byteLength);
    if (address !== 0n) this.#entered(this.#blocks).write(bytes, Number(address), "a block of Extism's memory");
    return address;
  }

  /** What is in the block at `address`, of 0 nothing: a view that is good until the guest runs on. */
  block(address: KernelNumber, what: string): Uint8Array<ArrayBuffer> {
    const { start, length } = this.#find(address, what);
    return this.#entered(this.#blocks).slice(start, length, what);
  }

  /** As {@link block}, as text. */
  textAt(address: KernelNumber, maxBytes: number, what: string): string {
    const { start, length } = this.#find(address, what);
    return this.#entered(this.#blocks).text(start, length, maxBytes, what);
  }

  /** As {@link textAt}, of JSON. */
  jsonAt(address: KernelNumber, maxBytes: number, what: string): string {
    const { start, length } = this.#find(address, what);
    return this.#entered(this.#blocks).json(start, length, maxBytes, what);
  }

  setOutput(address: KernelNumber, length: KernelNumber): void {
    this.#output = { address, length };
  }

  /** What was set, which may lie within a block. */
  output(): Uint8Array {
    if (this.#output === undefined || this.#output.length === 0n) return new Uint8Array();
    const start = Number(BigInt.asUintN(64, this.#output.address));
    const length = Number(BigInt.asUintN(64, this.#output.length));
    const memory = this.#entered(this.#blocks);
    if (start + length > memory.byteLength) {
      throw brokenRule(this.abi, `the output lies outside of Extism's memory: ${length} bytes at ${start}`);
    }
    return memory.slice(start, length, "the output");
  }

  /** The text of the error that was named, cut where it is long; undefined when none was. */
  errorText(): string | undefined {
    if (this.error === 0n) return undefined;
    return new TextDecoder().decode(this.block(this.error, "the error").subarray(0, maxPlainErrorBytes));
  }

  #find(address: KernelNumber, what: string): { start: number; length: number } {
    if (address === 0n) return { start: 0, length: 0 };
    const length = this.#entered(this.#room).kernel.lengthAt(address);
    if (length === 0) {
      throw brokenRule(
        this.abi,
        `${what} lies in no block of Extism's memory: there is none at ${BigInt.asUintN(64, address)}`,
      );
    }
    return { start: Number(address), length };
  }

  #hold(bytes: number): void {
    this.#heldBytes = bytes;
    this.#entered(this.#room).held.value = bytes / pageBytes;
  }

  #entered<Part>(part: Part | undefined): Part {
    if (part === undefined) throw new Error("Extism's memory was asked for before it was there");
    return part;
  }
}
