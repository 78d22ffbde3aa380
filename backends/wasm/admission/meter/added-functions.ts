import { meterLayout, unitsPerPageLog2 } from "../../abis/fuel.ts";
import { opcodes } from "../../binary/instructions.ts";
import { leb128, signedLeb128 } from "../../binary/reader.ts";
import { type Additions, isOutOfFuel } from "./body-writer.ts";
import { bytesPerUnitLog2, unitsPerElementLog2 } from "./prices.ts";

const empty = 0x40;
const i32 = 0x7f;
const memorySize = 0x3f;
/** As a signed LEB128 number. */
const minusOne = 0x7f;
const i32EqualZero = 0x45;
const i32Equal = 0x46;
const i64LessOrEqualUnsigned = 0x58;
const i64Add = 0x7c;
const i64ShiftLeft = 0x86;
const i64ShiftRight = 0x88;
const extendUnsigned = 0xad;

/** Of a module's memory: indices of globals, and a number. */
export interface MemoryAdditions {
  /** See `refusedGlobal` and `heldGlobal`. */
  readonly refused: number;
  readonly held: number;
  /** What the memory and what is held may have together. */
  readonly maxPages: number;
}

/** The bodies of the functions that admission adds, in the order of their indices: each `(i32) → i32`. */
export function addedFunctions(additions: Additions, memory: MemoryAdditions | undefined): Uint8Array[] {
  const { meter } = additions;
  const bodies = [
    [0, ...charge(meter, bytesPerUnitLog2, i64ShiftRight), opcodes.localGet, 0, opcodes.end],
    [0, ...charge(meter, unitsPerElementLog2, i64ShiftLeft), opcodes.localGet, 0, opcodes.end],
  ];
  if (memory !== undefined) bodies.push(grow(additions, memory), grant(memory));
  return bodies.map((body) => Uint8Array.from([...leb128(body.length), ...body]));
}

/** Charges for the parameter, and traps when it was too much. */
function charge(meter: number, log2: number, shift: number): number[] {
  const global = leb128(meter);
  return [
    [opcodes.globalGet, ...global, opcodes.localGet, 0, extendUnsigned, opcodes.i64Const, log2, shift],
    [opcodes.i64Const, Number(meterLayout.stackBits), i64ShiftLeft, i64Add],
    [opcodes.globalSet, ...global, opcodes.globalGet, ...global, ...isOutOfFuel],
    [opcodes.if, empty, opcodes.unreachable, opcodes.end],
  ].flat();
}

/** Grows the memory by the parameter. Only what was granted is charged. */
function grow({ meter, grow: own }: Additions, { refused }: MemoryAdditions): number[] {
  return [
    [1, 1, i32], // a local, 1
    [opcodes.localGet, 0, opcodes.call, ...leb128(own + 1), opcodes.localSet, 1],
    [opcodes.globalGet, ...leb128(refused), i32EqualZero, opcodes.if, empty],
    [...charge(meter, unitsPerPageLog2, i64ShiftLeft), opcodes.end, opcodes.localGet, 1, opcodes.end],
  ].flat();
}

/**
 * Gives the memory so many pages, if there is room besides what is held, and notes in a global whether that was refused, so that a trap
 * for want of memory can be told from any other by state. A function of its own: V8 inlines less in a module most of whose functions
 * are not small, which took a quarter of the speed of one that does nothing but call itself.
 */
function grant({ refused, held, maxPages }: MemoryAdditions): number[] {
  const note = leb128(refused);
  return [
    [1, 1, i32, opcodes.i32Const, minusOne, opcodes.localSet, 1], // a local, 1
    [opcodes.localGet, 0, extendUnsigned, memorySize, 0, extendUnsigned, i64Add],
    [opcodes.globalGet, ...leb128(held), extendUnsigned, i64Add],
    [opcodes.i64Const, ...signedLeb128(BigInt(maxPages)), i64LessOrEqualUnsigned, opcodes.if, empty],
    [opcodes.localGet, 0, opcodes.memoryGrow, 0, opcodes.localSet, 1, opcodes.end],
    [opcodes.localGet, 1, opcodes.i32Const, minusOne, i32Equal, opcodes.globalSet, ...note],
    [opcodes.localGet, 1, opcodes.end],
  ].flat();
}
