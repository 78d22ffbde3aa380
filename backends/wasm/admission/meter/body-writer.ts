import { meterLayout, stackStepBytes } from "../../abis/fuel.ts";
import { Instruction, isCall, opcodes, readInstruction } from "../../binary/instructions.ts";
import { BinaryReader, leb128, signedLeb128 } from "../../binary/reader.ts";
import type { BinaryWriter } from "../../binary/writer.ts";
import { maxUncountedBytes } from "./frames.ts";
import { type Payments, payments } from "./payments.ts";
import { lengthOf } from "./prices.ts";
import type { Survey } from "./survey.ts";

/** Where admission puts what it adds to a module. */
export interface Additions {
  /** The global that is the meter. */
  readonly meter: number;
  /** Functions `(length) → length` that charge for a length in bytes, and in elements of a table. */
  readonly chargeBytes: number;
  readonly chargeElements: number;
  /** The function that grows the memory. */
  readonly grow: number;
  /** The type of a block that gives a function's results, as a signed LEB128 number. */
  readonly blockType: (survey: Survey) => readonly number[];
}

const i64 = 0x7e;
const empty = 0x40;
const i64Ne = 0x52;
const i64LessSigned = 0x53;
const i64Add = 0x7c;
const i64Sub = 0x7d;
const i64And = 0x83;

/** Of the meter, which is on the stack: whether it is out of fuel; whether it is, or calls went too deep. */
export const isOutOfFuel: readonly number[] = [opcodes.i64Const, 0, i64LessSigned];
const eitherBit = BigInt.asIntN(64, meterLayout.tooDeep | meterLayout.outOfFuel);
const isEither: readonly number[] = [opcodes.i64Const, ...signedLeb128(eitherBit), i64And, opcodes.i64Const, 0, i64Ne];

/** One function as it is to be written. */
export interface Plan {
  readonly survey: Survey;
  /** One of `payments`: how the function's entry is paid. */
  readonly payment: number;
  readonly prepaid: Payments;
  readonly additions: Additions;
}

/**
 * Writes one function anew, metered. A function without loops adds to the meter where it is entered. Any other keeps the meter in a
 * local of its own, so that a loop costs an addition between registers; it writes it back before each call and when it ends:
 *
 *     block $spent
 *       (local := meter and the charge for the entry, with this frame)
 *       block $body (results)     a branch to the function's end comes here, and `return` is one
 *         …                       each loop's head: (charge)
 *       end
 *       (meter := local, without this frame) return
 *     end
 *     (meter := local) unreachable
 *
 * Where the entry is prepaid, the local is set before the one loop, and is written back behind it. If the loop may be left otherwise, it
 * is written back when the function ends, unless it is zero, which no meter is: then there was no loop.
 */
export class BodyWriter {
  readonly #writer: BinaryWriter;
  readonly #bytes: Uint8Array;
  readonly #plan: Plan;
  readonly #survey: Survey;
  /** Whether the meter is kept in a local; whether that is set only before the loop; whether the frame is counted. */
  readonly #keeps: boolean;
  readonly #late: boolean;
  readonly #counts: boolean;
  readonly #meter: readonly number[];
  readonly #local: readonly number[];
  #depth = 1;
  /** How many blocks are open around the one loop, while that is open; -1 else. */
  #loopDepth = -1;
  #nextCharge = 1;
  #copied: number;

  constructor(writer: BinaryWriter, bytes: Uint8Array, plan: Plan) {
    const { survey, payment, additions } = plan;
    this.#writer = writer;
    this.#bytes = bytes;
    this.#plan = plan;
    this.#survey = survey;
    this.#keeps = survey.charges.length > 1;
    this.#late = payment === payments.entry;
    this.#counts = survey.callsOn || survey.frameBytes > maxUncountedBytes;
    this.#local = leb128(survey.locals);
    this.#meter = leb128(additions.meter);
    this.#copied = survey.codeStart;
  }

  /** @param end where the body ends */
  write(end: number): void {
    const { groups, groupsStart, codeStart } = this.#survey;
    if (this.#plan.payment === payments.whole) {
      this.#writer.number(groups);
      this.#writer.copy(this.#bytes, groupsStart, end);
      return;
    }
    this.#writer.number(groups + 1);
    this.#writer.copy(this.#bytes, groupsStart, codeStart);
    this.#put([1, i64]);
    this.#writeEntry();
    this.#writeCode(end);
    this.#writeExit();
  }

  #writeCode(end: number): void {
    const code = new BinaryReader(this.#bytes, this.#survey.codeStart, end);
    const instruction = new Instruction();
    while (!code.done) {
      readInstruction(code, instruction);
      this.#rewrite(instruction);
      if (this.#survey.charges[this.#nextCharge]?.offset === code.offset) this.#writeCharge(code.offset);
    }
    this.#copyTo(end);
  }

  #writeEntry(): void {
    if (this.#keeps) this.#put([opcodes.block, empty]);
    if (!this.#late) {
      const charged = fuel(this.#survey.charges[0]?.units ?? 0) + this.#frame;
      this.#put([opcodes.globalGet, ...this.#meter]);
      this.#put([opcodes.i64Const, ...signedLeb128(charged), i64Add, opcodes.localTee, ...this.#local]);
      if (!this.#keeps) this.#put([opcodes.globalSet, ...this.#meter, opcodes.localGet, ...this.#local]);
      this.#put(this.#counts ? isEither : isOutOfFuel);
      this.#put(this.#keeps ? [opcodes.brIf, 0] : [opcodes.if, empty, opcodes.unreachable, opcodes.end]);
    }
    if (this.#wraps) this.#put([opcodes.block, ...this.#plan.additions.blockType(this.#survey)]);
  }

  /** Behind the body, whose `end` closed the block around it. */
  #writeExit(): void {
    if (!this.#wraps) return;
    if (this.#keeps) {
      this.#put(this.#save(this.#release));
      this.#put([opcodes.return, opcodes.end, ...this.#toMeter, opcodes.unreachable]);
    } else this.#put([opcodes.globalGet, ...this.#meter, ...this.#release, opcodes.globalSet, ...this.#meter]);
    this.#put([opcodes.end]);
  }

  #writeCharge(offset: number): void {
    const charged = fuel(this.#survey.charges[this.#nextCharge]?.units ?? 0);
    // Where the frame was counted before the loop, its head is where that is looked at too.
    const overdrawn = this.#late && this.#counts && this.#nextCharge === 1 ? isEither : isOutOfFuel;
    this.#nextCharge += 1;
    this.#copyTo(offset);
    this.#put([opcodes.localGet, ...this.#local, opcodes.i64Const, ...signedLeb128(charged), i64Add]);
    this.#put([opcodes.localTee, ...this.#local, ...overdrawn, opcodes.brIf, ...leb128(this.#depth)]);
  }

  #rewrite(instruction: Instruction): void {
    const { opcode, suffix, offset } = instruction;
    if (opcode >= opcodes.block && opcode <= opcodes.if) {
      this.#depth += 1;
      if (this.#late && offset === this.#survey.soleLoop) this.#openLoop(instruction);
    } else if (opcode === opcodes.end) this.#close(instruction);
    else if (opcode === opcodes.return) {
      if (this.#wraps) this.#replace(instruction, [opcodes.br, ...leb128(this.#depth - 1)]);
    } else if (opcode === opcodes.unreachable) {
      if (this.#keeps) this.#insert(instruction, this.#save([]));
    } else if (isCall(opcode)) this.#rewriteCall(instruction);
    else if (opcode === opcodes.memoryGrow) this.#replace(instruction, this.#callOf(this.#plan.additions.grow));
    else this.#chargeLength(instruction, lengthOf(opcode, suffix));
  }

  #openLoop(instruction: Instruction): void {
    this.#loopDepth = this.#depth - 1;
    this.#insert(instruction, this.#acquire());
  }

  #close({ end }: Instruction): void {
    this.#depth -= 1;
    if (this.#depth !== this.#loopDepth) return;
    if (!this.#survey.leapsOut) {
      this.#copyTo(end);
      this.#put(this.#save(this.#release));
    }
    this.#loopDepth = -1;
  }

  #chargeLength(instruction: Instruction, length: "bytes" | "elements" | undefined): void {
    if (length === undefined) return;
    const { chargeBytes, chargeElements } = this.#plan.additions;
    this.#insert(instruction, this.#callOf(length === "bytes" ? chargeBytes : chargeElements));
  }

  #rewriteCall({ opcode, immediate, offset, end }: Instruction): void {
    const untouched = opcode === opcodes.call && this.#plan.prepaid.payment(immediate) === payments.whole;
    if (!this.#keeps || untouched) return;
    this.#copyTo(offset);
    this.#put(this.#toMeter);
    this.#copyTo(end);
    this.#put(this.#fromMeter);
  }

  /** Calls one of the functions that were added. */
  #callOf(index: number): readonly number[] {
    const call = [opcodes.call, ...leb128(index)];
    return this.#keeps ? [...this.#toMeter, ...call, ...this.#fromMeter] : call;
  }

  /** Takes the meter into the local before a loop, this frame counted. */
  #acquire(): readonly number[] {
    const add = this.#counts ? [opcodes.i64Const, ...signedLeb128(this.#frame), i64Add] : [];
    return [opcodes.globalGet, ...this.#meter, ...add, opcodes.localSet, ...this.#local];
  }

  /** Writes the local back, where it may be set. */
  #save(release: readonly number[]): readonly number[] {
    const save = [opcodes.localGet, ...this.#local, ...release, opcodes.globalSet, ...this.#meter];
    if (!this.#late || this.#loopDepth >= 0) return save;
    if (!this.#survey.leapsOut) return [];
    return [opcodes.localGet, ...this.#local, opcodes.i64Const, 0, i64Ne, opcodes.if, empty, ...save, opcodes.end];
  }

  /** Takes this frame off the meter, which is on the stack. */
  get #release(): readonly number[] {
    return this.#counts ? [opcodes.i64Const, ...signedLeb128(this.#frame), i64Sub] : [];
  }

  get #toMeter(): readonly number[] {
    return [opcodes.localGet, ...this.#local, opcodes.globalSet, ...this.#meter];
  }

  get #fromMeter(): readonly number[] {
    return [opcodes.globalGet, ...this.#meter, opcodes.localSet, ...this.#local];
  }

  /** Whether there is a block around the body. */
  get #wraps(): boolean {
    return this.#keeps || this.#counts;
  }

  /** Puts code before an instruction. */
  #insert({ offset }: Instruction, code: readonly number[]): void {
    this.#copyTo(offset);
    this.#put(code);
  }

  #replace({ offset, end }: Instruction, code: readonly number[]): void {
    this.#copyTo(offset);
    this.#put(code);
    this.#copied = end;
  }

  #copyTo(offset: number): void {
    this.#writer.copy(this.#bytes, this.#copied, offset);
    this.#copied = offset;
  }

  #put(code: readonly number[]): void {
    this.#writer.copy(code, 0, code.length);
  }

  /** What the function's frame adds to the meter. */
  get #frame(): bigint {
    if (!this.#counts) return 0n;
    return BigInt(Math.ceil(this.#survey.frameBytes / stackStepBytes));
  }
}

/** What units add to the meter. */
function fuel(units: number): bigint {
  return BigInt(units) << meterLayout.stackBits;
}
