import { MillraceError } from "../../../../engine/errors.ts";
import type { Fuel } from "../fuel.ts";
import type { GuestHost, GuestHttpResponse, GuestRequest } from "../guest.ts";
import { GuestCall } from "../guest-call.ts";
import { GuestMemory } from "../guest-memory.ts";
import { brokenRule } from "../refusals.ts";
import type { Kernel, KernelNumber } from "./kernel.ts";

const encoder = new TextEncoder();

/** Of an error's text that came without a code; so much still fits when each byte of it is no UTF-8. */
const maxPlainErrorBytes = 4 * 1024;

/** A call of a module that brings its data over in Extism's memory. */
export class ExtismCall extends GuestCall {
  #fuel: Fuel | undefined;
  #kernel: Kernel | undefined;
  #blocks: GuestMemory | undefined;
  #maxMemoryBytes = 0;
  #output: { readonly address: KernelNumber; readonly length: KernelNumber } | undefined;
  /** The block that was named as the error; 0: none. */
  error: KernelNumber = 0n;
  /** Of the last HTTP request. */
  response: GuestHttpResponse | undefined;

  constructor(request: GuestRequest, host: GuestHost) {
    super("Extism", request, host);
  }

  override attach(memory: WebAssembly.Memory, fuel: Fuel): void {
    super.attach(memory, fuel);
    this.#fuel = fuel;
  }

  /** To be called before any code of the guest runs, but after {@link attach}. */
  enter(kernel: Kernel, maxMemoryBytes: number): void {
    this.#kernel = kernel;
    this.#blocks = new GuestMemory(this.abi, kernel.memory, this.#entered(this.#fuel));
    this.#maxMemoryBytes = maxMemoryBytes;
  }

  placeInput(): void {
    this.#entered(this.#fuel).chargeBytes(this.request.payload.byteLength);
    this.#entered(this.#kernel).setInput(this.request.payload);
  }

  /**
   * The module's memory and the kernel's count together.
   * @throws SandboxViolation when the kernel may not hold so many bytes, by default those that it holds
   */
  checkMemory(kernelBytes: number = this.#entered(this.#kernel).heldBytes): void {
    const ownBytes = this.memory.byteLength;
    if (ownBytes + kernelBytes <= this.#maxMemoryBytes) return;
    throw new MillraceError(
      "SandboxViolation",
      `The WASM module wanted more memory than its limit of ${this.#maxMemoryBytes} bytes (spec.wasm.limits.memory): ${ownBytes} bytes of its own and what it holds of Extism's memory count together. Raise the limit, free blocks that are no longer needed, or give it less input.`,
    );
  }

  /** Gives the guest a block with this in it. */
  place(value: string | Uint8Array | undefined): KernelNumber {
    if (value === undefined) return 0n;
    const bytes = typeof value === "string" ? encoder.encode(value) : value;
    this.#entered(this.#fuel).chargeBytes(bytes.byteLength);
    return this.#entered(this.#kernel).place(bytes);
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
    const length = this.#entered(this.#kernel).lengthAt(address);
    if (length === 0) {
      throw brokenRule(
        this.abi,
        `${what} lies in no block of Extism's memory: there is none at ${BigInt.asUintN(64, address)}`,
      );
    }
    return { start: Number(address), length };
  }

  #entered<Part>(part: Part | undefined): Part {
    if (part === undefined) throw new Error("Extism's memory was asked for before it was there");
    return part;
  }
}
