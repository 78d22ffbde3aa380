import { Instruction, opcodes, readInstruction } from "../../binary/instructions.ts";
import { BinaryReader } from "../../binary/reader.ts";
import { spanOf } from "../../binary/sections.ts";
import { type ModuleShape, sectionIds } from "../../binary/shape.ts";

const refFunc = 0xd2;

/**
 * The functions that may be called by others than a `call` that names them: exported, started, or in a table or a global. Code can take a
 * reference only to what stands in one of those places.
 */
export function referencedFunctions(bytes: Uint8Array, shape: ModuleShape): ReadonlySet<number> {
  const referenced = new Set(shape.exports.filter(({ kind }) => kind === "function").map(({ index }) => index));
  if (shape.start !== undefined) referenced.add(shape.start);
  const note = (index: number) => referenced.add(index);
  each(bytes, shape, sectionIds.global, (body) => readGlobal(body, note));
  each(bytes, shape, sectionIds.element, (body) => readElements(body, note));
  return referenced;
}

function each(bytes: Uint8Array, shape: ModuleShape, id: number, read: (body: BinaryReader) => void): void {
  const span = spanOf(shape, id);
  if (span === undefined) return;
  const body = new BinaryReader(bytes, span.bodyStart, span.end);
  for (let left = body.count("entries"); left > 0; left--) read(body);
}

type Note = (index: number) => void;

function readGlobal(body: BinaryReader, note: Note): void {
  skipValueType(body);
  body.byte("a global's mutability");
  readConstant(body, note);
}

/** Bits of what a segment begins with: passive or declarative; with a table's index, or declarative; of expressions. */
const notActive = 1;
const explicit = 2;
const expressions = 4;

function readElements(body: BinaryReader, note: Note): void {
  const flags = body.u32("the kind of an element segment");
  if ((flags & notActive) === 0) {
    if (flags & explicit) body.u32("a table's index");
    readConstant(body, note);
  }
  if (flags & (notActive | explicit)) skipValueType(body);
  for (let left = body.count("elements"); left > 0; left--) {
    if (flags & expressions) readConstant(body, note);
    else note(body.u32("a function's index"));
  }
}

function readConstant(body: BinaryReader, note: Note): void {
  const instruction = new Instruction();
  do {
    readInstruction(body, instruction);
    if (instruction.opcode === refFunc) note(instruction.immediate);
  } while (instruction.opcode !== opcodes.end);
}

function skipValueType(body: BinaryReader): void {
  const type = body.byte("a type");
  if (type === 0x63 || type === 0x64) body.skipNumber(5);
}
