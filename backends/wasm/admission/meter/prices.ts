import { type Instruction, opcodes } from "../../binary/instructions.ts";

// What is charged, in units of fuel. An instruction that is not named here costs one.

/** A call of a function of the host's. */
const importCall = 50;
/** It may be one of the host's, but is hardly ever. */
const indirectCall = 5;
/** Bulk operations, and growth, apart from what their length costs. */
const bulkOperation = 10;
const atomicOperation = 10;

/** Entering a function: V8's own work, and the addition to the meter. */
export const functionEntry = 2;
/** Of locals that are zeroed, how many cost one unit. */
export const localsPerUnit = 4;

/** Of memory that is filled, copied or grown by, how many bytes cost one unit, as a power of two. */
export const bytesPerUnitLog2 = 4;
/** For one element of a table that is filled, copied or grown by, as a power of two. */
export const unitsPerElementLog2 = 2;

/** memory.init, memory.copy and memory.fill; table.init, table.copy, table.grow and table.fill. */
const byteLengths = new Set([8, 10, 11]);
const elementLengths = new Set([12, 14, 15, 17]);

/** What the length counts that an instruction takes as its last operand; undefined where it takes none. */
export function lengthOf(opcode: number, suffix: number): "bytes" | "elements" | undefined {
  if (opcode !== opcodes.bulkPrefix) return undefined;
  if (byteLengths.has(suffix)) return "bytes";
  return elementLengths.has(suffix) ? "elements" : undefined;
}

/** What one instruction costs wherever it stands. */
export function priceOf(instruction: Instruction, importedFunctions: number): number {
  const { opcode, suffix, immediate } = instruction;
  switch (opcode) {
    case opcodes.block:
    case opcodes.loop:
    case opcodes.else:
    case opcodes.end:
      return 0;
    case opcodes.call:
      return immediate < importedFunctions ? importCall : 1;
    case opcodes.callIndirect:
    case opcodes.callRef:
      return indirectCall;
    case opcodes.memoryGrow:
      return bulkOperation;
    case opcodes.bulkPrefix:
      return suffix < 8 ? 1 : bulkOperation;
    case opcodes.atomicPrefix:
      return atomicOperation;
    default:
      return 1;
  }
}
