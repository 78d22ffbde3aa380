import type { ModuleShape } from "./binary.ts";
import { sectionIds } from "./binary.ts";
import { BinaryReader, leb128, malformed } from "./binary-reader.ts";
import { BinaryWriter } from "./binary-writer.ts";
import { call, memoryGrow, readInstruction } from "./instructions.ts";
import { appended, type SectionBodies, spanOf, vectorLength } from "./sections.ts";

/** What the host adds to a module's exports begins so; a module may not. */
export const reservedPrefix = "millrace:";

/** The start function, as an export. */
export const startExport = "millrace:start";

/** The exported i32 global that is 1 while the last `memory.grow` was refused. */
export const refusedGlobal = "millrace:memory-refused";

const i32 = 0x7f;
const mutable = 0x01;
const globalExport = 0x03;

/**
 * Sends each `memory.grow` through one added function that notes a refusal in an exported global, so that a trap for
 * want of memory can be told from any other by state. Adds what is needed to `sections`: a type, the function, the
 * global; returns the export for it, or undefined when the module never grows its memory.
 */
export function watchGrowth(bytes: Uint8Array, shape: ModuleShape, sections: SectionBodies): number[] | undefined {
  const guard = shape.imports.filter((entry) => entry.kind === "function").length + shape.functions.length;
  const global =
    shape.imports.filter((entry) => entry.kind === "global").length + vectorLength(bytes, shape, sectionIds.global);
  const code = watchedCode(bytes, shape, guard, guardBody(global));
  if (code === undefined) return undefined;
  sections.set(sectionIds.code, code);
  sections.set(sectionIds.type, appended(bytes, shape, sectionIds.type, [[0x60, 1, i32, 1, i32]]));
  sections.set(sectionIds.function, appended(bytes, shape, sectionIds.function, [leb128(shape.types.length)]));
  sections.set(sectionIds.global, appended(bytes, shape, sectionIds.global, [[i32, mutable, 0x41, 0, 0x0b]]));
  return exportEntry(refusedGlobal, globalExport, global);
}

/** One entry of an export section. */
export function exportEntry(name: string, kind: number, index: number): number[] {
  const bytes = new TextEncoder().encode(name);
  return [...leb128(bytes.byteLength), ...bytes, kind, ...leb128(index)];
}

/** `(i32) → i32`: grows the memory, and notes in the global whether that gave -1. */
function guardBody(global: number): Uint8Array {
  const code = [
    [0x00], // no locals besides the parameter
    [0x20, 0x00, memoryGrow, 0x00, 0x22, 0x00], // local.get 0, memory.grow, local.tee 0
    [0x41, 0x7f, 0x46, 0x24, ...leb128(global)], // i32.const -1, i32.eq, global.set
    [0x20, 0x00, 0x0b], // local.get 0, end
  ].flat();
  return Uint8Array.from([...leb128(code.length), ...code]);
}

/** The code section with each `memory.grow` a call of the guard, and the guard at its end; undefined when there is none. */
function watchedCode(bytes: Uint8Array, shape: ModuleShape, guard: number, body: Uint8Array): Uint8Array | undefined {
  const span = spanOf(shape, sectionIds.code);
  if (span === undefined) return undefined;
  const reader = new BinaryReader(bytes, span.bodyStart, span.end);
  const count = reader.count("function bodies");
  if (count !== shape.functions.length) {
    throw malformed(span.bodyStart, `it has ${shape.functions.length} functions, but ${count} bodies`);
  }
  const watched = new BinaryWriter(span.end - span.bodyStart);
  watched.number(count + 1);
  let copied = reader.offset;
  for (let left = count; left > 0; left--) {
    const start = reader.offset;
    const code = reader.sub(reader.u32("a function body's length"), "a function body");
    const growths = findGrowths(code);
    if (growths.length === 0) continue;
    watched.copy(bytes, copied, start);
    copied = code.end;
    writeBody(watched, bytes, code, growths, guard);
  }
  reader.finish("the code section");
  if (watched.length <= leb128(count + 1).length) return undefined;
  watched.copy(bytes, copied, reader.end);
  watched.copy(body, 0, body.byteLength);
  return watched.bytes;
}

/** Where each `memory.grow` of a body begins and where it ends, one after the other: it may hold millions. */
function findGrowths(body: BinaryReader): readonly number[] {
  const offsets: number[] = [];
  const code = body.clone();
  skipLocals(code);
  while (!code.done) {
    const offset = code.offset;
    if (readInstruction(code) === memoryGrow) offsets.push(offset, code.offset);
  }
  return offsets;
}

/** The body with each growth a call of the guard. */
function writeBody(
  writer: BinaryWriter,
  bytes: Uint8Array,
  body: BinaryReader,
  growths: readonly number[],
  guard: number,
): void {
  const replacement = Uint8Array.from([call, ...leb128(guard)]);
  let length = body.end - body.offset;
  for (let at = 0; at < growths.length; at += 2) {
    length += replacement.byteLength - ((growths[at + 1] ?? 0) - (growths[at] ?? 0));
  }
  writer.number(length);
  let copied = body.offset;
  for (let at = 0; at < growths.length; at += 2) {
    writer.copy(bytes, copied, growths[at] ?? 0);
    writer.copy(replacement, 0, replacement.byteLength);
    copied = growths[at + 1] ?? 0;
  }
  writer.copy(bytes, copied, body.end);
}

function skipLocals(body: BinaryReader): void {
  for (let left = body.count("groups of locals"); left > 0; left--) {
    body.skipNumber(5);
    const type = body.byte("a local's type");
    if (type === 0x63 || type === 0x64) body.skipNumber(5);
  }
}
