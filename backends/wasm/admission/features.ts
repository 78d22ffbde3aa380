import { Instruction, opcodes, readInstruction } from "../binary/instructions.ts";
import { BinaryReader } from "../binary/reader.ts";
import { spanOf } from "../binary/sections.ts";
import { type ModuleShape, sectionIds } from "../binary/shape.ts";
import { eachBody } from "./meter/bodies.ts";

/** The name by which compilers know a proposal (LLVM's target features), by instruction. */
function featureOf({ opcode, suffix }: Instruction): string | undefined {
  if (opcode >= 0xc0 && opcode <= 0xc4) return "sign-ext";
  if (opcode >= 0xd0 && opcode <= 0xd2) return "reference-types";
  if (opcode === 0x25 || opcode === 0x26 || opcode === 0x1c) return "reference-types";
  if (opcode === opcodes.callRef || (opcode >= 0xd4 && opcode <= 0xd6)) return "typed-function-references";
  if (opcode === opcodes.bulkPrefix) {
    if (suffix <= 7) return "nontrapping-fptoint";
    return suffix <= 14 ? "bulk-memory" : "reference-types";
  }
  if (opcode === opcodes.vectorPrefix) return suffix >= 256 ? "relaxed-simd" : "simd128";
  return opcode === opcodes.atomicPrefix ? "atomics" : undefined;
}

/** i32 and i64, each `add`, `sub` and `mul`: in what a global begins with. */
const arithmetic: readonly number[] = [0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e];

/** Of globals: that one can be changed from outside, and that one begins with more than a constant. */
function globalFeatures(bytes: Uint8Array, shape: ModuleShape): readonly string[] {
  const span = spanOf(shape, sectionIds.global);
  if (span === undefined) return [];
  const found: string[] = [];
  const exported = new Set(shape.exports.filter(({ kind }) => kind === "global").map(({ index }) => index));
  let index = shape.imports.filter(({ kind }) => kind === "global").length;
  const globals = new BinaryReader(bytes, span.bodyStart, span.end);
  const instruction = new Instruction();
  for (let left = globals.count("globals"); left > 0; left--, index++) {
    globals.byte("a global's type");
    const mutable = globals.byte("a global's mutability") === 1;
    if (mutable && exported.has(index)) found.push("mutable-globals");
    do {
      readInstruction(globals, instruction);
      if (arithmetic.includes(instruction.opcode)) found.push("extended-const");
    } while (instruction.opcode !== opcodes.end);
  }
  return found;
}

/** What a module uses beyond the first version of WebAssembly, in order; of what is not refused. Throws as metering does. */
export function featuresOf(bytes: Uint8Array, shape: ModuleShape): readonly string[] {
  const found = new Set(globalFeatures(bytes, shape));
  if (shape.types.some(({ results }) => results.length > 1)) found.add("multivalue");
  if (shape.tables.length > 1) found.add("reference-types");
  const instruction = new Instruction();
  eachBody(bytes, shape, (code) => {
    for (let groups = code.count("groups of locals"); groups > 0; groups--) {
      code.skipNumber(5);
      code.skipNumber(5);
    }
    while (!code.done) {
      readInstruction(code, instruction);
      const feature = featureOf(instruction);
      if (feature !== undefined) found.add(feature);
    }
  });
  return [...found].sort();
}
