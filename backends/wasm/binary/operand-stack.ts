import { blockTypes, type Instruction, opcodes } from "./instructions.ts";
import type { FunctionType } from "./shape.ts";
import { operandsGiven, operandsTaken } from "./stack-effects.ts";

/** What calls and blocks of a body take and give. */
export interface TypeLookup {
  readonly types: readonly FunctionType[];
  /** Of the function at an index, imported ones counted first. */
  readonly functionType: (index: number) => FunctionType | undefined;
}

const nothing: FunctionType = { params: [], results: [] };

/** Of a block: its opcode, how high the stack is beneath it, what it takes and gives. */
const frameFields = 4;

/**
 * Follows a function's body by the height of its operand stack and the nesting of its blocks, without types: those are V8's to check. Code
 * that is not valid is followed as well as may be, with heights that mean nothing.
 */
export class OperandStack {
  /** The most operands that there were at a time. */
  maxHeight = 0;
  height = 0;
  readonly #lookup: TypeLookup;
  /** {@link frameFields} numbers for each open block, the function's own first. */
  readonly #frames: number[];

  constructor(lookup: TypeLookup, results: number) {
    this.#lookup = lookup;
    this.#frames = [opcodes.block, 0, 0, results];
  }

  /** How many blocks are open; 0 once the function has ended. */
  get depth(): number {
    return this.#frames.length / frameFields;
  }

  /** The opcode that opened the innermost block. */
  get opener(): number {
    return this.#top(0);
  }

  /** What one instruction does to the stack. */
  follow(instruction: Instruction): void {
    const { opcode, immediate } = instruction;
    switch (opcode) {
      case opcodes.block:
      case opcodes.loop:
      case opcodes.if:
        this.#open(opcode, immediate);
        break;
      case opcodes.else:
        this.#reopen();
        break;
      case opcodes.end:
        this.#close();
        break;
      case opcodes.call:
        this.#call(this.#lookup.functionType(immediate), 0);
        break;
      case opcodes.callIndirect:
      case opcodes.callRef:
        this.#call(this.#lookup.types[immediate], 1);
        break;
      case opcodes.brIf:
        this.#pop(1);
        break;
      case opcodes.br:
      case opcodes.brTable:
      case opcodes.return:
      case opcodes.unreachable:
        this.#cut();
        break;
      default:
        this.#pop(operandsTaken(instruction));
        this.#push(operandsGiven(instruction));
    }
  }

  #open(opcode: number, blockType: number): void {
    if (opcode === opcodes.if) this.#pop(1);
    const type = this.#lookup.types[blockType] ?? nothing;
    const results = blockType === blockTypes.oneResult ? 1 : type.results.length;
    this.#pop(type.params.length);
    this.#frames.push(opcode, this.height, type.params.length, results);
    this.#push(type.params.length);
  }

  #reopen(): void {
    this.height = this.#top(1) + this.#top(2);
  }

  #close(): void {
    const height = this.#top(1) + this.#top(3);
    if (this.#frames.length > 0) this.#frames.length -= frameFields;
    this.height = 0;
    this.#push(height);
  }

  #call(type: FunctionType | undefined, more: number): void {
    this.#pop((type?.params.length ?? 0) + more);
    this.#push(type?.results.length ?? 0);
  }

  /** Nothing that follows in this block is reached: V8 keeps no operands there. */
  #cut(): void {
    this.height = this.#top(1);
  }

  #top(field: number): number {
    return this.#frames[this.#frames.length - frameFields + field] ?? 0;
  }

  /** Code that is not reached may take more than there is. */
  #pop(operands: number): void {
    this.height = Math.max(this.#top(1), this.height - operands);
  }

  #push(operands: number): void {
    this.height += operands;
    if (this.height > this.maxHeight) this.maxHeight = this.height;
  }
}
