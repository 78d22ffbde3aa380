import { Instruction, isBranch, isCall, opcodes, readInstruction } from "../../binary/instructions.ts";
import { OperandStack, type TypeLookup } from "../../binary/operand-stack.ts";
import type { BinaryReader } from "../../binary/reader.ts";
import type { FunctionType } from "../../binary/shape.ts";
import { type Charge, Charges } from "./charges.ts";
import { frameBytes, slotBytes } from "./frames.ts";
import { type Payments, payments } from "./payments.ts";
import { functionEntry, lengthOf, localsPerUnit, priceOf } from "./prices.ts";

/** The module around a body. */
export interface ModuleContext extends TypeLookup {
  readonly importedFunctions: number;
  /** The types that have vectors in them: found once, as a module may have a million functions of one long type. */
  readonly vectorTypes: ReadonlySet<FunctionType>;
  /** Absent while it is being found out. */
  readonly prepaid?: Payments;
}

/** What metering must know of one function before it writes it anew. */
export interface Survey {
  readonly type: FunctionType;
  /** Where the groups of locals begin, how many groups there are, and where the first instruction stands. */
  readonly groupsStart: number;
  readonly groups: number;
  readonly codeStart: number;
  /** Parameters and locals. */
  readonly locals: number;
  /** In the order of the code; the first is the function's entry. */
  readonly charges: readonly Charge[];
  /** An upper bound of the stack that one call takes. */
  readonly frameBytes: number;
  /** Whether it calls what may call it again. */
  readonly callsOn: boolean;
  /** Where the one loop begins that lies in no other; undefined where there are several, or none. */
  readonly soleLoop: number | undefined;
  /** Whether that loop is left otherwise than at its end. */
  readonly leapsOut: boolean;
  /** Whether anything is to be paid outside of that loop, besides the function's entry. */
  readonly paysOutside: boolean;
}

const v128 = 0x7b;

/** Reads a body, which `code` is all of. */
export function survey(code: BinaryReader, type: FunctionType, context: ModuleContext): Survey {
  const groups = code.count("groups of locals");
  const groupsStart = code.offset;
  const locals = readLocals(code, groups);
  const walk = new BodyWalk(type, context, code.offset, locals.count);
  const instruction = new Instruction();
  const codeStart = code.offset;
  let instructions = 0;
  while (!code.done) {
    readInstruction(code, instruction);
    instructions += 1;
    walk.visit(instruction);
  }
  const charges = walk.charges.finish();
  const counted = type.params.length + locals.count;
  const hasVectors = walk.hasVectors || locals.hasVectors || context.vectorTypes.has(type);
  const bytesPerSlot = hasVectors ? slotBytes.vector : slotBytes.number;
  return {
    type,
    groupsStart,
    groups,
    codeStart,
    locals: counted,
    charges,
    frameBytes: frameBytes(counted + walk.stack.maxHeight + walk.maxArity, instructions, bytesPerSlot),
    callsOn: walk.callsOn,
    soleLoop: walk.outerLoops === 1 ? walk.loopStart : undefined,
    leapsOut: walk.leapsOut,
    paysOutside: walk.paysOutside || charges.some(({ offset }, at) => at > 0 && !walk.isInLoop(offset)),
  };
}

function readLocals(code: BinaryReader, groups: number): { readonly count: number; readonly hasVectors: boolean } {
  let count = 0;
  let hasVectors = false;
  for (let left = groups; left > 0; left--) {
    count += code.u32("the number of locals of a type");
    const type = code.byte("a local's type");
    if (type === v128) hasVectors = true;
    if (type === 0x63 || type === 0x64) code.skipNumber(5);
  }
  return { count, hasVectors };
}

/** One pass over a body's instructions. */
class BodyWalk {
  readonly charges: Charges;
  readonly stack: OperandStack;
  hasVectors = false;
  callsOn = false;
  paysOutside = false;
  leapsOut = false;
  /** Loops that lie in no other, and where the last of them begins and ends. */
  outerLoops = 0;
  loopStart = 0;
  #loopEnd = 0;
  /** How many blocks were open before it. */
  #loopDepth = 0;
  #openLoops = 0;
  /** The most parameters and results that a call passes: V8 may push them once more. */
  maxArity = 0;
  readonly #context: ModuleContext;

  constructor(type: FunctionType, context: ModuleContext, offset: number, locals: number) {
    this.#context = context;
    this.stack = new OperandStack(context, type.results.length);
    this.charges = new Charges(offset, functionEntry + Math.floor(locals / localsPerUnit));
  }

  isInLoop(offset: number): boolean {
    return this.outerLoops === 1 && offset > this.loopStart && offset < this.#loopEnd;
  }

  visit(instruction: Instruction): void {
    const { opcode, suffix, end } = instruction;
    const closing = this.stack.opener;
    if (this.#openLoops > 0 && this.#leaps(instruction)) this.leapsOut = true;
    this.charges.add(priceOf(instruction, this.#context.importedFunctions));
    this.stack.follow(instruction);
    if (opcode === opcodes.loop) this.#enterLoop(instruction);
    else if (opcode === opcodes.end && closing === opcodes.loop) this.#leaveLoop(end);
    else if (opcode === opcodes.if || opcode === opcodes.else || opcode === opcodes.end || opcode === opcodes.brIf)
      this.charges.startStretch(end, this.stack.depth);
    else if (opcode === opcodes.vectorPrefix) this.hasVectors = true;
    else if (isCall(opcode)) this.#visitCall(instruction);
    else if (opcode === opcodes.memoryGrow || lengthOf(opcode, suffix) !== undefined) this.#pay();
  }

  /** Whether it may go to where the outermost open loop does not reach. */
  #leaps({ opcode, immediate }: Instruction): boolean {
    if (opcode === opcodes.return || opcode === opcodes.brTable) return true;
    return isBranch(opcode) && this.stack.depth - immediate <= this.#loopDepth;
  }

  #enterLoop({ offset, end }: Instruction): void {
    if (this.#openLoops === 0) {
      this.outerLoops += 1;
      this.loopStart = offset;
      this.#loopDepth = this.stack.depth - 1;
    }
    this.#openLoops += 1;
    this.charges.enterLoop(end, this.stack.depth);
  }

  #leaveLoop(end: number): void {
    this.#openLoops -= 1;
    this.#loopEnd = end;
    this.charges.leaveLoop(end, this.stack.depth);
  }

  #visitCall({ opcode, immediate }: Instruction): void {
    const direct = opcode === opcodes.call;
    const type = direct ? this.#context.functionType(immediate) : this.#context.types[immediate];
    this.maxArity = Math.max(this.maxArity, (type?.params.length ?? 0) + (type?.results.length ?? 0));
    if (direct) this.charges.add(this.#context.prepaid?.units(immediate) ?? 0);
    if (direct && this.#context.prepaid?.payment(immediate) === payments.whole) return;
    this.#pay();
    if (!direct || immediate >= this.#context.importedFunctions) this.callsOn = true;
  }

  #pay(): void {
    if (this.#openLoops === 0) this.paysOutside = true;
  }
}
