import { emptyMeter, meterLayout } from "../../abis/fuel.ts";
import { fuelGlobal, heldGlobal, refusedGlobal } from "../../abis/host-exports.ts";
import { opcodes } from "../../binary/instructions.ts";
import { leb128, signedLeb128 } from "../../binary/reader.ts";
import { appended, type SectionBodies, vectorLength } from "../../binary/sections.ts";
import { type ModuleShape, sectionIds } from "../../binary/shape.ts";
import { addedFunctions } from "./added-functions.ts";
import { BlockTypes } from "./block-types.ts";
import type { Additions } from "./body-writer.ts";
import { meteredCode } from "./code-section.ts";
import { instantiationUnits } from "./instantiation.ts";

const i32 = 0x7f;
const i64 = 0x7e;
const mutable = 0x01;
const globalExport = 0x03;

/**
 * Makes a module count the fuel and the stack that it uses, and notes each growth of its memory that is refused, in globals that the
 * host sees; puts its new sections into `sections`, and gives the entries for that of its exports. The module need not be valid: whoever calls must see to that apart, for what is
 * added has indices that the module itself might name.
 * @param maxPages of its memory
 * @throws SandboxViolation for a feature that is refused, or a function whose frame is too large; InvalidInput for malformed code
 */
export function meter(bytes: Uint8Array, shape: ModuleShape, sections: SectionBodies, maxPages: number): number[][] {
  const functions = shape.imports.filter((entry) => entry.kind === "function").length + shape.functions.length;
  const meterIndex =
    shape.imports.filter((entry) => entry.kind === "global").length + vectorLength(bytes, shape, sectionIds.global);
  const hasMemory = shape.memories.length > 0 || shape.imports.some((entry) => entry.kind === "memory");
  const memory = hasMemory ? { refused: meterIndex + 1, held: meterIndex + 2, maxPages } : undefined;
  const lengthType = shape.types.length;
  const blockTypes = new BlockTypes(shape.types, [0x60, 1, i32, 1, i32]);
  const additions: Additions = {
    meter: meterIndex,
    chargeBytes: functions,
    chargeElements: functions + 1,
    grow: functions + 2,
    blockType: ({ type }) => blockTypes.of(type),
  };
  const added = addedFunctions(additions, memory);
  sections.set(sectionIds.code, meteredCode(bytes, shape, additions, added));
  sections.set(sectionIds.type, appended(bytes, shape, sectionIds.type, blockTypes.added));
  sections.set(
    sectionIds.function,
    appended(
      bytes,
      shape,
      sectionIds.function,
      added.map(() => leb128(lengthType)),
    ),
  );
  const start = BigInt.asIntN(64, emptyMeter + (BigInt(instantiationUnits(shape)) << meterLayout.stackBits));
  const globals = [[i64, mutable, opcodes.i64Const, ...signedLeb128(start), opcodes.end]];
  const exports = [exportEntry(fuelGlobal, globalExport, meterIndex)];
  if (memory !== undefined) {
    const zero = [i32, mutable, opcodes.i32Const, 0, opcodes.end];
    globals.push(zero, zero);
    exports.push(exportEntry(refusedGlobal, globalExport, memory.refused));
    exports.push(exportEntry(heldGlobal, globalExport, memory.held));
  }
  sections.set(sectionIds.global, appended(bytes, shape, sectionIds.global, globals));
  return exports;
}

/** One entry of an export section. */
export function exportEntry(name: string, kind: number, index: number): number[] {
  const bytes = new TextEncoder().encode(name);
  return [...leb128(bytes.byteLength), ...bytes, kind, ...leb128(index)];
}
