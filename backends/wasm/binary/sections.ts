import { BinaryReader, leb128 } from "./reader.ts";
import type { ModuleShape, SectionSpan } from "./shape.ts";
import { customSection, sectionIds, sectionOrder } from "./shape.ts";

/** New bodies for sections, by id; an empty one drops the section. */
export type SectionBodies = Map<number, Uint8Array>;

/** What a section that the module may lack must stand before: its id's successors. */
const insertable = [
  sectionIds.type,
  sectionIds.import,
  sectionIds.function,
  sectionIds.table,
  sectionIds.memory,
  sectionIds.global,
  sectionIds.export,
  sectionIds.code,
];

/**
 * The module with some sections' bodies replaced. A section that the module does not have is put in where the order
 * demands it; everything else is copied as it is.
 */
export function replaceSections(bytes: Uint8Array, shape: ModuleShape, bodies: SectionBodies): Uint8Array {
  const parts: Uint8Array[] = [bytes.subarray(0, 8)];
  const missing = insertable.filter((id) => bodies.has(id) && spanOf(shape, id) === undefined);
  for (const section of shape.sections) {
    while (missing[0] !== undefined && standsBefore(missing[0], section.id)) put(parts, missing.shift() ?? 0, bodies);
    if (bodies.has(section.id)) put(parts, section.id, bodies);
    else parts.push(bytes.subarray(section.start, section.end));
  }
  for (const id of missing) put(parts, id, bodies);
  return joined(parts);
}

/** Custom sections stand anywhere. */
function standsBefore(id: number, other: number): boolean {
  return other !== customSection && sectionOrder.indexOf(id) < sectionOrder.indexOf(other);
}

function put(parts: Uint8Array[], id: number, bodies: SectionBodies): void {
  const body = bodies.get(id);
  if (body === undefined || body.byteLength === 0) return;
  parts.push(Uint8Array.from([id, ...leb128(body.byteLength)]), body);
}

export function spanOf(shape: ModuleShape, id: number): SectionSpan | undefined {
  return shape.sections.find((section) => section.id === id);
}

/** How many entries the section's vector has; 0 where there is no such section. */
export function vectorLength(bytes: Uint8Array, shape: ModuleShape, id: number): number {
  const span = spanOf(shape, id);
  return span === undefined ? 0 : new BinaryReader(bytes, span.bodyStart, span.end).count("entries");
}

/** The section's vector with entries added at its end. */
export function appended(
  bytes: Uint8Array,
  shape: ModuleShape,
  id: number,
  entries: readonly (readonly number[])[],
): Uint8Array {
  const span = spanOf(shape, id);
  const reader = new BinaryReader(bytes, span?.bodyStart ?? 0, span?.end ?? 0);
  const length = span === undefined ? 0 : reader.count("entries");
  const rest = bytes.subarray(reader.offset, reader.end);
  return joined([Uint8Array.from(leb128(length + entries.length)), rest, Uint8Array.from(entries.flat())]);
}

/** One array of all the parts. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((bytes, part) => bytes + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    result.set(part, offset);
    offset += part.byteLength;
  }
  return result;
}
