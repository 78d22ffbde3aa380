import { MillraceError } from "../../../engine/errors.ts";
import { fuelGlobal } from "./host-exports.ts";

/**
 * What a metered module counts, in one exported i64, so that entering a function is one addition. Both parts count up, from where their
 * highest bit is set just when too much was used. Bits 0–15: counted stack, in steps of {@link stackStepBytes}; bits 16–63: units of
 * fuel. Thus the usual charges fit into an immediate operand, and being out of fuel is the sign.
 */
export const meterLayout = {
  /** How far fuel is shifted. */
  stackBits: 16n,
  /** Set once calls went deeper than they may. */
  tooDeep: 1n << 15n,
  /** Set once more fuel was used than there was. */
  outOfFuel: 1n << 63n,
} as const;

/** The unit in which stack is counted. */
export const stackStepBytes = 32;

/**
 * How much stack the frames of a module's functions may take together, as admission counts them. What V8 takes is less, in either
 * of its tiers, and fits into the 984 KiB of a main thread with room for the host's own calls.
 */
export const maxStackBytes = 640 * 1024;

/** The most fuel that can be counted. */
export const maxFuel = 100_000_000_000_000;

/** How many bytes the host copies, to or from a module, for one unit. */
const bytesPerUnit = 64;

/** For a page of memory, of which there were none before, as a power of two: the system clears it when it is first touched. */
export const unitsPerPageLog2 = 12;

/** What the host does for a text that it reads or makes, and for each byte of it: of what is no ASCII, some nanoseconds. */
const unitsPerText = 200;
const unitsPerTextByte = 1;

/** For a byte of JSON that the host takes apart: numbers, nesting and many keys take as long. */
const unitsPerJsonByte = 8;

const { stackBits, tooDeep, outOfFuel } = meterLayout;
const noFuel = outOfFuel - (1n << stackBits);
const wholeStack = tooDeep - BigInt(maxStackBytes / stackStepBytes);

/**
 * The meter's value in an instance that nobody has given fuel, to which a module adds what making the instance costs: its first function
 * traps.
 */
export const emptyMeter: bigint = noFuel + wholeStack;

/** The fuel of one instance, as its exported global counts it. Deterministic: the same calls use the same units, wherever they run. */
export class Fuel {
  readonly #meter: WebAssembly.Global;
  #limit = 0;
  /** What making the instance costs, until it is charged. */
  #setup: number;

  constructor(exports: Readonly<Record<string, unknown>>) {
    const meter = exports[fuelGlobal];
    if (!(meter instanceof WebAssembly.Global)) throw new MillraceError("Internal", "a WASM module is not metered");
    this.#meter = meter;
    // An instance that has served a call within its fuel is below, and owes nothing.
    this.#setup = Math.max(0, this.#charged);
  }

  /**
   * Gives `units`, from 0 to {@link maxFuel}, and the whole stack, whatever was used before. The first time, what making the instance
   * costs is charged.
   * @throws SandboxViolation when that is more than `units`
   */
  fill(units: number): void {
    this.#limit = units;
    this.#meter.value = emptyMeter + (BigInt(this.#setup - units) << stackBits);
    this.#setup = 0;
    if (this.isExhausted) throw this.exceeded();
  }

  /** What was used since it was filled, at most what was given. */
  get used(): number {
    return Math.min(this.#charged, this.#limit);
  }

  get left(): number {
    return this.#limit - this.used;
  }

  get isExhausted(): boolean {
    return this.#charged > this.#limit;
  }

  /** Whether calls went too deep. */
  get isTooDeep(): boolean {
    return (this.#state & tooDeep) !== 0n;
  }

  /** @throws SandboxViolation when there is not so much left */
  charge(units: number): void {
    if (units === 0) return;
    this.#meter.value = this.#state + (BigInt(units) << stackBits);
    if (this.isExhausted) throw this.exceeded();
  }

  /** For `bytes` that the host copies. */
  chargeBytes(bytes: number): void {
    this.charge(Math.floor(bytes / bytesPerUnit));
  }

  /** For pages of memory that the host sets aside for a module. */
  chargePages(pages: number): void {
    this.charge(pages * 2 ** unitsPerPageLog2);
  }

  /** For a text of so many bytes in UTF-8 that the host reads, or makes for a module to read, whether that takes it or not. */
  chargeText(bytes: number): void {
    this.charge(unitsPerText + bytes * unitsPerTextByte);
  }

  /** For so many bytes of JSON that the host takes apart. */
  chargeJson(bytes: number): void {
    this.charge(bytes * unitsPerJsonByte);
  }

  /** What to throw when {@link isExhausted}. */
  exceeded(cause?: unknown): MillraceError {
    return new MillraceError(
      "SandboxViolation",
      `The WASM module used its fuel limit of ${this.#limit} units (spec.wasm.limits.fuel) and was stopped. Raise the limit, give it less input, or look for a loop without end.`,
      { cause },
    );
  }

  get #state(): bigint {
    return BigInt.asUintN(64, this.#meter.value as bigint);
  }

  /** A charge may pass the limit before it is noticed. */
  get #charged(): number {
    return Number((this.#state - noFuel) >> stackBits) + this.#limit;
  }
}
