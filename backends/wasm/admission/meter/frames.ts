/** What V8 keeps in each frame, of either tier, besides locals and operands. */
const fixedBytes = 64;
const bytesPerInstruction = 1;
/** Of the longest code, whose values are not all alive at once. */
const maxInstructionBytes = 64 * 1024;
/** Of a parameter, a local or an operand: in a function that knows vectors, any may be one. */
export const slotBytes = { number: 8, vector: 16 } as const;

/** A function whose frame alone takes more is refused. */
export const maxFrameBytes = 128 * 1024;

/** What calls nothing but the host, and takes no more, is not counted: there is one such frame at a time, the last. */
export const maxUncountedBytes = 8 * 1024;

/**
 * An upper bound of one frame, in either tier. TurboFan keeps what it would compute again later, so that long code may take more slots than
 * it has locals and operands: some bytes for each instruction.
 * @param slots parameters, locals, the most operands at a time and what a call passes
 * @param bytesPerSlot one of {@link slotBytes}
 */
export function frameBytes(slots: number, instructions: number, bytesPerSlot: number): number {
  return fixedBytes + Math.min(instructions * bytesPerInstruction, maxInstructionBytes) + slots * bytesPerSlot;
}
