import type { GuestCall } from "../guest-call.ts";
import type { GuestMemory } from "../guest-memory.ts";
import { OutputLines } from "./output-lines.ts";
import { type RandomPurpose, seededRandom, type WasiSystem } from "./system.ts";

/** The file descriptors that are open: input, which is empty, and two for output. */
export const standardInput = 0;
const standardOutput = 1;
const standardError = 2;

/** What WASI keeps of one call. */
export class WasiCall {
  readonly guest: GuestCall;
  readonly system: WasiSystem;
  /** The guest ended itself in mid-code: its instance is not to be used again. */
  hasExited = false;
  readonly #instanceStartMs: number;
  readonly #callStartMs: number;
  readonly #outputs = new Map<number, OutputLines>();
  #randomPurpose: RandomPurpose;
  #fillRandom: WasiSystem["fillRandom"] | undefined;

  /**
   * @param instanceStartMs by `system.monotonicNow`: that clock must not go back when an instance serves another call
   * @param randomPurpose of what the guest draws until {@link beginCall}
   */
  constructor(guest: GuestCall, system: WasiSystem, instanceStartMs: number, randomPurpose: RandomPurpose = "Call") {
    this.guest = guest;
    this.system = system;
    this.#instanceStartMs = instanceStartMs;
    this.#randomPurpose = randomPurpose;
    this.#callStartMs = system.monotonicNow();
  }

  get memory(): GuestMemory {
    return this.guest.memory;
  }

  /** Milliseconds since the instance was made, whole ones: what takes less cannot be timed. */
  get elapsedMs(): number {
    return Math.floor(this.system.monotonicNow() - this.#instanceStartMs);
  }

  /** What is left of the attempt's time: nobody needs to sleep longer. */
  get leftMs(): number {
    const spentMs = this.system.monotonicNow() - this.#callStartMs;
    return Math.max(0, this.guest.request.context.timeoutMs - spentMs);
  }

  /** Undefined for a descriptor that is none for output. */
  output(descriptor: number): OutputLines | undefined {
    if (descriptor !== standardOutput && descriptor !== standardError) return undefined;
    let output = this.#outputs.get(descriptor);
    if (output === undefined) {
      output = new OutputLines((text) => this.guest.logPaid(text));
      this.#outputs.set(descriptor, output);
    }
    return output;
  }

  isOpen(descriptor: number): boolean {
    return descriptor === standardInput || this.output(descriptor) !== undefined;
  }

  fillRandom(target: Uint8Array<ArrayBuffer>): void {
    this.#fillRandom ??= this.#random();
    this.#fillRandom(target);
  }

  /** The instance is made: what a seed gives from now on is the same whether that was for this call or for one before. */
  beginCall(): void {
    this.#randomPurpose = "Call";
    this.#fillRandom = undefined;
  }

  /** The call is over: lines that were not ended are logged as they are. */
  flush(): void {
    for (const output of this.#outputs.values()) output.flush();
  }

  #random(): WasiSystem["fillRandom"] {
    const { randomSeed } = this.guest.request.capabilities;
    return randomSeed === undefined ? this.system.fillRandom : seededRandom(randomSeed, this.#randomPurpose);
  }
}
