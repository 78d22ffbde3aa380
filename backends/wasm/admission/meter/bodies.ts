import { BinaryReader, malformed } from "../../binary/reader.ts";
import { spanOf } from "../../binary/sections.ts";
import { type FunctionType, type ModuleShape, sectionIds } from "../../binary/shape.ts";

const nothing: FunctionType = { params: [], results: [] };

/** Visits the body of each function that the module defines; `index` counts those alone. */
export function eachBody(
  bytes: Uint8Array,
  shape: ModuleShape,
  visit: (code: BinaryReader, type: FunctionType, index: number) => void,
): void {
  const span = spanOf(shape, sectionIds.code);
  const reader = new BinaryReader(bytes, span?.bodyStart ?? 0, span?.end ?? 0);
  const count = span === undefined ? 0 : reader.count("function bodies");
  if (count !== shape.functions.length) {
    throw malformed(reader.offset, `it has ${shape.functions.length} functions, but ${count} bodies`);
  }
  for (const [index, type] of shape.functions.entries()) {
    const code = reader.sub(reader.u32("a function body's length"), "a function body");
    visit(code, shape.types[type] ?? nothing, index);
  }
  reader.finish("the code section");
}
