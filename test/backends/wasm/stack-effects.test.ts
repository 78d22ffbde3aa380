import { expect } from "chai";
import { Instruction, readInstruction } from "../../../backends/wasm/binary/instructions.ts";
import { BinaryReader, leb128 } from "../../../backends/wasm/binary/reader.ts";
import { operandsGiven, operandsTaken } from "../../../backends/wasm/binary/stack-effects.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { assemble, constant, dropped, end, i32, unreachable } from "./assembler.ts";

type Code = readonly number[];

/** What may follow an opcode, shorter ones first: a zero too many would be an instruction of its own. */
const immediates: readonly Code[] = [
  [],
  [0],
  [0x70],
  ...Array.from({ length: 5 }, (_, alignment) => [alignment, 0]),
  [1, i32],
  [0, 0, 0],
  ...[4, 8, 16].map((bytes) => Array<number>(bytes).fill(0)),
];

const operands: readonly Code[] = [
  constant(0),
  [0x42, 0],
  [0x43, 0, 0, 0, 0],
  [0x44, 0, 0, 0, 0, 0, 0, 0, 0],
  [0xfd, 12, ...Array<number>(16).fill(0)],
  [0xd0, 0x70],
];

/** Blocks, branches and calls hang on types, and are followed apart; V8 wants a section that the assembler lacks for memory.init and data.drop. */
const apart = new Set([
  "0",
  "2",
  "3",
  "4",
  "5",
  "11",
  "12",
  "13",
  "14",
  "15",
  "16",
  "17",
  "20",
  "213",
  "214",
  "252 8",
  "252 9",
]);

function isValid(code: Code): boolean {
  return WebAssembly.validate(
    assemble({
      types: [[[i32], []]],
      functions: [[0, [...code, end]]],
      tables: [[0x70, 0, 1]],
      memories: [[0, 1]],
      globals: [[i32, 1, ...constant(0), end]],
      exports: [["run", 0, 0]],
      elements: [[1, 0, 1, 0]],
    }),
  );
}

/** The instruction with what may follow it, so that V8 takes it and finds `given` values after it; undefined: there is none. */
function accepted(opcode: Code, given: number): Code | undefined {
  const drops = Array<number>(given).fill(dropped);
  return immediates.map((more) => [...opcode, ...more]).find((code) => isValid([unreachable, ...code, ...drops]));
}

function effect(code: Code): { readonly taken: number; readonly given: number } | undefined {
  const instruction = new Instruction();
  try {
    readInstruction(new BinaryReader(Uint8Array.from([...code, ...Array<number>(20).fill(0)])), instruction);
  } catch (thrown) {
    if (thrown instanceof MillraceError) return undefined;
    throw thrown;
  }
  return { taken: operandsTaken(instruction), given: operandsGiven(instruction) };
}

/** All sequences of so many operands. */
function sequences(length: number): Code[] {
  if (length === 0) return [[]];
  return sequences(length - 1).flatMap((rest) => operands.map((operand) => [...rest, ...operand]));
}

describe("The operands of instructions", function () {
  this.timeout(30_000);
  const opcodes = [
    ...Array.from({ length: 0xfb }, (_, opcode) => [opcode]),
    ...Array.from({ length: 18 }, (_, suffix) => [0xfc, suffix]),
    ...Array.from({ length: 276 }, (_, suffix) => [0xfd, ...leb128(suffix)]),
    ...Array.from({ length: 0x4f }, (_, suffix) => [0xfe, suffix]),
  ];

  it("are as many as V8 says", () => {
    let checked = 0;
    for (const opcode of opcodes) {
      const expected = effect(opcode);
      if (expected === undefined || apart.has(opcode.join(" "))) continue;
      const { taken, given } = expected;
      // A gap between the vector instructions.
      if ([0, 1].every((some) => accepted(opcode, some) === undefined)) continue;
      const code = accepted(opcode, given);
      expect(code, `what ${opcode.join(" ")} gives`).not.to.equal(undefined);
      if (code === undefined) continue;
      if (given > 0) expect(isValid([unreachable, ...code]), `what ${opcode.join(" ")} gives`).to.equal(false);
      const drops = Array<number>(given).fill(dropped);
      const fits = sequences(taken).some((before) => isValid([...before, ...code, ...drops]));
      expect(fits, `what ${opcode.join(" ")} takes`).to.equal(true);
      checked += 1;
    }
    expect(checked).to.be.above(450);
  });
});
