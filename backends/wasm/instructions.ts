import { MillraceError } from "../../engine/errors.ts";
import { type BinaryReader, malformed } from "./binary-reader.ts";

/** `memory.grow`, and `call`. */
export const memoryGrow = 0x40;
export const call = 0x10;

const end = 0x0b;

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
  [end, end, "none"],
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
  [0x3f, memoryGrow, "index"],
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
  [0xfc, table(bulk)],
  [0xfd, table(vector)],
  [0xfe, table(atomic)],
]);
const exceptionOpcodes = new Set([0x06, 0x07, 0x08, 0x09, 0x0a, 0x18, 0x19, 0x1f]);
const tailCalls = new Set([0x12, 0x13, 0x15]);
const gcPrefix = 0xfb;

/**
 * Steps over one instruction and returns its opcode (the prefix, for a prefixed one).
 * @throws InvalidInput for an instruction that there is not; SandboxViolation for exceptions, tail calls and GC.
 */
export function readInstruction(code: BinaryReader): number {
  const offset = code.offset;
  const opcode = code.byte("an instruction");
  const prefixed = prefixedTables.get(opcode);
  const immediates = prefixed === undefined ? plainTable[opcode] : prefixed[code.u32("an instruction")];
  if (immediates === undefined) throw refusedInstruction(opcode, offset);
  skip(code, immediates);
  return opcode;
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

function skip(code: BinaryReader, immediates: Immediates): void {
  if (immediates === "none") return;
  skippers[immediates](code);
}

const skippers: Readonly<Record<Exclude<Immediates, "none">, (code: BinaryReader) => void>> = {
  index: (code) => code.skipNumber(5),
  twoIndices: (code) => {
    code.skipNumber(5);
    code.skipNumber(5);
  },
  blockType: skipType,
  labels: (code) => {
    for (let left = code.count("branch targets"); left >= 0; left--) code.skipNumber(5);
  },
  types: (code) => {
    for (let left = code.count("types"); left > 0; left--) skipType(code);
  },
  memory: skipMemoryArgument,
  leb32: (code) => code.skipNumber(5),
  leb64: (code) => code.skipNumber(10),
  bytes4: (code) => code.skipBytes(4),
  bytes8: (code) => code.skipBytes(8),
  bytes16: (code) => code.skipBytes(16),
  byte: (code) => code.skipBytes(1),
  memoryAndByte: (code) => {
    skipMemoryArgument(code);
    code.skipBytes(1);
  },
};

/** A block's or a value's type: one number, or `ref` with a heap type after it. */
function skipType(code: BinaryReader): void {
  const first = code.peek();
  code.skipNumber(5);
  if (first === 0x63 || first === 0x64) code.skipNumber(5);
}

/** Alignment, the memory's index where bit 6 says so, and the offset. */
function skipMemoryArgument(code: BinaryReader): void {
  const alignment = code.u32("an alignment");
  if (alignment & 0x40) code.skipNumber(5);
  code.skipNumber(10);
}
