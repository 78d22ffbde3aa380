import { type Instruction, opcodes } from "./instructions.ts";

/** `[first opcode, last opcode, operands taken, operands given]`, of the instructions whose effect does not hang on a type. */
type Row = readonly [number, number, number, number];

const plain: readonly Row[] = [
  [0x1a, 0x1a, 1, 0],
  [0x1b, 0x1c, 3, 1],
  [0x20, 0x20, 0, 1],
  [0x21, 0x21, 1, 0],
  [0x22, 0x22, 1, 1],
  [0x23, 0x23, 0, 1],
  [0x24, 0x24, 1, 0],
  [0x25, 0x25, 1, 1],
  [0x26, 0x26, 2, 0],
  [0x28, 0x35, 1, 1],
  [0x36, 0x3e, 2, 0],
  [0x3f, 0x3f, 0, 1],
  [0x40, 0x40, 1, 1],
  [0x41, 0x44, 0, 1],
  [0x45, 0x45, 1, 1],
  [0x46, 0x4f, 2, 1],
  [0x50, 0x50, 1, 1],
  [0x51, 0x66, 2, 1],
  [0x67, 0x69, 1, 1],
  [0x6a, 0x78, 2, 1],
  [0x79, 0x7b, 1, 1],
  [0x7c, 0x8a, 2, 1],
  [0x8b, 0x91, 1, 1],
  [0x92, 0x98, 2, 1],
  [0x99, 0x9f, 1, 1],
  [0xa0, 0xa6, 2, 1],
  [0xa7, 0xc4, 1, 1],
  [0xd0, 0xd0, 0, 1],
  [0xd1, 0xd1, 1, 1],
  [0xd2, 0xd2, 0, 1],
  [0xd4, 0xd5, 1, 1],
  [0xd6, 0xd6, 1, 0],
];

const bulk: readonly Row[] = [
  [0, 7, 1, 1],
  [8, 8, 3, 0],
  [10, 12, 3, 0],
  [14, 14, 3, 0],
  [15, 15, 2, 1],
  [16, 16, 0, 1],
  [17, 17, 3, 0],
];

/** Two operands and one result, unless a later row says otherwise. */
const vector: readonly Row[] = [
  [0, 275, 2, 1],
  [0, 10, 1, 1],
  [11, 11, 2, 0],
  [12, 12, 0, 1],
  [15, 22, 1, 1],
  [24, 25, 1, 1],
  [27, 27, 1, 1],
  [29, 29, 1, 1],
  [31, 31, 1, 1],
  [33, 33, 1, 1],
  [77, 77, 1, 1],
  [82, 82, 3, 1],
  [83, 83, 1, 1],
  [88, 91, 2, 0],
  [92, 100, 1, 1],
  [103, 106, 1, 1],
  [116, 117, 1, 1],
  [122, 122, 1, 1],
  [124, 129, 1, 1],
  [131, 132, 1, 1],
  [135, 138, 1, 1],
  [148, 148, 1, 1],
  [160, 161, 1, 1],
  [163, 164, 1, 1],
  [167, 170, 1, 1],
  [192, 193, 1, 1],
  [195, 196, 1, 1],
  [199, 202, 1, 1],
  [224, 225, 1, 1],
  [227, 227, 1, 1],
  [236, 237, 1, 1],
  [239, 239, 1, 1],
  [248, 255, 1, 1],
  [257, 260, 1, 1],
  [261, 268, 3, 1],
  [275, 275, 3, 1],
];

const atomic: readonly Row[] = [
  [0x00, 0x00, 2, 1],
  [0x01, 0x02, 3, 1],
  [0x10, 0x16, 1, 1],
  [0x17, 0x1d, 2, 0],
  [0x1e, 0x47, 2, 1],
  [0x48, 0x4e, 3, 1],
];

/** By opcode: operands taken, times 4, and operands given. */
function table(rows: readonly Row[]): Uint8Array {
  const effects = new Uint8Array(288);
  for (const [first, last, taken, given] of rows) effects.fill(taken * 4 + given, first, last + 1);
  return effects;
}

const plainTable = table(plain);
const prefixedTables = new Map([
  [opcodes.bulkPrefix as number, table(bulk)],
  [opcodes.vectorPrefix, table(vector)],
  [opcodes.atomicPrefix, table(atomic)],
]);

/** How many operands an instruction takes whose effect does not hang on a type; 0 for any other. */
export function operandsTaken({ opcode, suffix }: Instruction): number {
  return effectOf(opcode, suffix) >> 2;
}

/** How many it gives. */
export function operandsGiven({ opcode, suffix }: Instruction): number {
  return effectOf(opcode, suffix) & 3;
}

function effectOf(opcode: number, suffix: number): number {
  return (opcode < opcodes.bulkPrefix ? plainTable[opcode] : prefixedTables.get(opcode)?.[suffix]) ?? 0;
}
