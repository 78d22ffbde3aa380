import { meterLayout } from "../../abis/fuel.ts";
import { opcodes } from "../../binary/instructions.ts";
import { leb128 } from "../../binary/reader.ts";
import { type Additions, isOutOfFuel } from "./body-writer.ts";
import { bytesPerUnitLog2, unitsPerElementLog2, unitsPerPageLog2 } from "./prices.ts";

const empty = 0x40;
const i32 = 0x7f;
const i32EqualZero = 0x45;
const i32Equal = 0x46;
const i64Add = 0x7c;
const i64ShiftLeft = 0x86;
const i64ShiftRight = 0x88;
const extendUnsigned = 0xad;

/** The bodies of the functions that admission adds, in the order of their indices: each `(i32) → i32`. */
export function addedFunctions(additions: Additions, refused: number | undefined): Uint8Array[] {
  const { meter } = additions;
  const bodies = [
    [0, ...charge(meter, bytesPerUnitLog2, i64ShiftRight), opcodes.localGet, 0, opcodes.end],
    [0, ...charge(meter, unitsPerElementLog2, i64ShiftLeft), opcodes.localGet, 0, opcodes.end],
  ];
  if (refused !== undefined) bodies.push(grow(meter, refused));
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

/**
 * Grows the memory by the parameter, and notes in a global whether that was refused, so that a trap for want of memory can be told from
 * any other by state. Only what was granted is charged.
 */
function grow(meter: number, refused: number): number[] {
  const note = leb128(refused);
  return [
    [1, 1, i32], // a local, 1
    [opcodes.localGet, 0, opcodes.memoryGrow, 0, opcodes.localTee, 1],
    [opcodes.i32Const, 0x7f, i32Equal, opcodes.globalSet, ...note],
    [opcodes.globalGet, ...note, i32EqualZero, opcodes.if, empty],
    [...charge(meter, unitsPerPageLog2, i64ShiftLeft), opcodes.end, opcodes.localGet, 1, opcodes.end],
  ].flat();
}
