import { unitsPerPageLog2 } from "../../abis/fuel.ts";
import { spanOf } from "../../binary/sections.ts";
import { type ModuleShape, sectionIds } from "../../binary/shape.ts";
import { bytesPerUnitLog2, unitsPerElementLog2 } from "./prices.ts";

/** Of any instance: V8's own work. */
const fixedUnits = 1000;

/** Of each import and export: objects for both are made anew for each instance. */
const unitsPerName = 200;

/**
 * What making an instance costs, from above: its data by the byte and its elements by the byte too, of which each takes at least one, as
 * if all were copied then; its imports and exports one by one; its tables by the entry; and its memory by the page, as growing by it would cost: the system gives pages when they
 * are first touched, however they came to be there.
 */
export function instantiationUnits(shape: ModuleShape): number {
  const entries = shape.tables.reduce((sum, table) => sum + table.initial, 0) + bytesOf(shape, sectionIds.element);
  const bytes = bytesOf(shape, sectionIds.data) + bytesOf(shape, sectionIds.global);
  const pages = shape.memories.reduce((sum, memory) => sum + memory.initial, 0);
  const names = shape.imports.length + shape.exports.length;
  return (
    fixedUnits +
    names * unitsPerName +
    (bytes >>> bytesPerUnitLog2) +
    entries * 2 ** unitsPerElementLog2 +
    pages * 2 ** unitsPerPageLog2
  );
}

function bytesOf(shape: ModuleShape, id: number): number {
  const span = spanOf(shape, id);
  return span === undefined ? 0 : span.end - span.bodyStart;
}
