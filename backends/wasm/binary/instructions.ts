import { MillraceError } from "../../../engine/errors.ts";
import { type BinaryReader, malformed } from "./reader.ts";

/** Opcodes that admission looks for, or writes. */
export const opcodes = {
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  brTable: 0x0e,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  callRef: 0x14,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  globalGet: 0x23,
  globalSet: 0x24,
  memoryGrow: 0x40,
  i32Const: 0x41,
  i64Const: 0x42,
  brOnNull: 0xd5,
  brOnNonNull: 0xd6,
  bulkPrefix: 0xfc,
  vectorPrefix: 0xfd,
  atomicPrefix: 0xfe,
} as const;

/** Whether an instruction calls a function, named or not. */
export function isCall(opcode: number): boolean {
  return opcode === opcodes.call || opcode === opcodes.callIndirect || opcode === opcodes.callRef;
}

/** Whether an instruction may go to the one label that it names. */
export function isBranch(opcode: number): boolean {
  return (
    opcode === opcodes.br || opcode === opcodes.brIf || opcode === opcodes.brOnNull || opcode === opcodes.brOnNonNull
  );
}

/** What {@link Instruction.immediate} is for a block's type that is no index. */
export const blockTypes = { empty: -1, oneResult: -2 } as const;

/** One instruction as {@link readInstruction} found it. An object is used again for each: modules have millions. */
export class Instruction {
  /** Where it begins, and where the next one does. */
  offset = 0;
  end = 0;
  /** The prefix, for a prefixed one. */
  opcode = 0;
  /** The number after the prefix; 0 where there is none. */
  suffix = 0;
  /** The first index that follows, or a block's type: an index, or one of {@link blockTypes}. */
  immediate = 0;
}

/** The immediates that follow an opcode. Strictness in numbers is left to `WebAssembly.validate`; here only their length counts. */
type Immediates =
  | "none"
  | "index"
  | "twoIndices"
  | "blockType"
  | "labels"
  | "types"
  | "memory"
  | "leb32"
  | "leb64"
  | "bytes4"
  | "bytes8"
  | "bytes16"
  | "byte"
  | "memoryAndByte";

/** `[first opcode, last opcode, what follows it]`; exceptions, tail calls and the GC prefix are left out on purpose. */
type Row = readonly [number, number, Immediates];

const plain: readonly Row[] = [
  [0x00, 0x01, "none"],
  [0x02, 0x04, "blockType"],
  [0x05, 0x05, "none"],
  [0x0b, 0x0b, "none"],
  [0x0c, 0x0d, "index"],
  [0x0e, 0x0e, "labels"],
  [0x0f, 0x0f, "none"],
  [0x10, 0x10, "index"],
  [0x11, 0x11, "twoIndices"],
  [0x14, 0x14, "index"],
  [0x1a, 0x1b, "none"],
  [0x1c, 0x1c, "types"],
  [0x20, 0x26, "index"],
  [0x28, 0x3e, "memory"],
  [0x3f, 0x40, "index"],
  [0x41, 0x41, "leb32"],
  [0x42, 0x42, "leb64"],
  [0x43, 0x43, "bytes4"],
  [0x44, 0x44, "bytes8"],
  [0x45, 0xc4, "none"],
  [0xd0, 0xd0, "leb32"],
  [0xd1, 0xd1, "none"],
  [0xd2, 0xd2, "index"],
  [0xd4, 0xd4, "none"],
  [0xd5, 0xd6, "index"],
];

/** Bulk memory, tables and saturating conversions: prefix 0xfc. */
const bulk: readonly Row[] = [
  [0, 7, "none"],
  [8, 8, "twoIndices"],
  [9, 9, "index"],
  [10, 10, "twoIndices"],
  [11, 11, "index"],
  [12, 12, "twoIndices"],
  [13, 13, "index"],
  [14, 14, "twoIndices"],
  [15, 17, "index"],
];

/** SIMD and relaxed SIMD: prefix 0xfd. */
const vector: readonly Row[] = [
  [0, 11, "memory"],
  [12, 13, "bytes16"],
  [14, 20, "none"],
  [21, 34, "byte"],
  [35, 83, "none"],
  [84, 91, "memoryAndByte"],
  [92, 93, "memory"],
  [94, 275, "none"],
];

/** Atomics, which work on unshared memory too: prefix 0xfe. */
const atomic: readonly Row[] = [
  [0, 2, "memory"],
  [3, 3, "byte"],
  [0x10, 0x4e, "memory"],
];

function table(rows: readonly Row[]): readonly (Immediates | undefined)[] {
  const result: (Immediates | undefined)[] = [];
  for (const [first, last, immediates] of rows) {
    for (let opcode = first; opcode <= last; opcode++) result[opcode] = immediates;
  }
  return result;
}

const plainTable = table(plain);
const prefixedTables = new Map([
  [opcodes.bulkPrefix as number, table(bulk)],
  [opcodes.vectorPrefix, table(vector)],
  [opcodes.atomicPrefix, table(atomic)],
]);
const exceptionOpcodes = new Set([0x06, 0x07, 0x08, 0x09, 0x0a, 0x18, 0x19, 0x1f]);
const tailCalls = new Set([0x12, 0x13, 0x15]);
const gcPrefix = 0xfb;

/**
 * Reads the next instruction into `instruction`.
 * @throws InvalidInput for an instruction that there is not; SandboxViolation for exceptions, tail calls and GC.
 */
export function readInstruction(code: BinaryReader, instruction: Instruction): void {
  const offset = code.offset;
  const opcode = code.byte("an instruction");
  const prefixed = prefixedTables.get(opcode);
  const suffix = prefixed === undefined ? 0 : code.u32("an instruction");
  const immediates = prefixed === undefined ? plainTable[opcode] : prefixed[suffix];
  if (immediates === undefined) throw refusedInstruction(opcode, offset);
  instruction.offset = offset;
  instruction.opcode = opcode;
  instruction.suffix = suffix;
  instruction.immediate = immediates === "none" ? 0 : readers[immediates](code);
  instruction.end = code.offset;
}

function refusedInstruction(opcode: number, offset: number): MillraceError {
  if (exceptionOpcodes.has(opcode)) {
    return refused("exceptions", offset, "it could catch what stops it", "without them (Emscripten: -fno-exceptions)");
  }
  if (tailCalls.has(opcode)) {
    // Functions that tail-call each other never reach one of V8's checks: the thread cannot even be terminated.
    return refused(
      "tail calls",
      offset,
      "a module that spins in them cannot be stopped",
      "without them (clang: -mno-tail-call)",
    );
  }
  if (opcode === gcPrefix) {
    return refused(
      "the GC proposal",
      offset,
      "its objects lie outside the memory that the limit counts",
      "for linear memory",
    );
  }
  return malformed(offset, `there is no instruction 0x${opcode.toString(16)} that a module may use`);
}

function refused(what: string, offset: number, why: string, mend: string): MillraceError {
  return new MillraceError(
    "SandboxViolation",
    `The WASM module uses ${what} (at offset 0x${offset.toString(16)}), which is refused: ${why}. Build it ${mend}.`,
  );
}

/** Each steps over its immediates, and gives the index or block type that is among them, if there is one. */
const readers: Readonly<Record<Exclude<Immediates, "none">, (code: BinaryReader) => number>> = {
  index: (code) => code.u32("an index"),
  twoIndices: (code) => {
    const first = code.u32("an index");
    code.skipNumber(5);
    return first;
  },
  blockType: readBlockType,
  labels: (code) => {
    for (let left = code.count("branch targets"); left >= 0; left--) code.skipNumber(5);
    return 0;
  },
  types: (code) => {
    for (let left = code.count("types"); left > 0; left--) skipType(code);
    return 0;
  },
  memory: skipMemoryArgument,
  leb32: (code) => skipNumber(code, 5),
  leb64: (code) => skipNumber(code, 10),
  bytes4: (code) => skipBytes(code, 4),
  bytes8: (code) => skipBytes(code, 8),
  bytes16: (code) => skipBytes(code, 16),
  byte: (code) => skipBytes(code, 1),
  memoryAndByte: (code) => {
    skipMemoryArgument(code);
    return skipBytes(code, 1);
  },
};

function skipNumber(code: BinaryReader, maxBytes: number): number {
  code.skipNumber(maxBytes);
  return 0;
}

function skipBytes(code: BinaryReader, length: number): number {
  code.skipBytes(length);
  return 0;
}

/** A signed number of 33 bits: a type's index, or below zero a value's type; `ref` has a heap type after it. */
function readBlockType(code: BinaryReader): number {
  const first = code.peek();
  const value = code.s33("a block's type");
  if (value >= 0) return value;
  if (first === 0x63 || first === 0x64) code.skipNumber(5);
  return value === -64 ? blockTypes.empty : blockTypes.oneResult;
}

/** A value's type: one number, or `ref` with a heap type after it. */
function skipType(code: BinaryReader): void {
  const first = code.peek();
  code.skipNumber(5);
  if (first === 0x63 || first === 0x64) code.skipNumber(5);
}

/** Alignment, the memory's index where bit 6 says so, and the offset. */
function skipMemoryArgument(code: BinaryReader): number {
  const alignment = code.u32("an alignment");
  if (alignment & 0x40) code.skipNumber(5);
  code.skipNumber(10);
  return 0;
}
