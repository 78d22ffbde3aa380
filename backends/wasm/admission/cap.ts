import { MillraceError } from "../../../engine/errors.ts";
import { leb128 } from "../binary/reader.ts";
import type { Limits, ModuleShape } from "../binary/shape.ts";
import { sectionIds } from "../binary/shape.ts";

/** A page of WASM memory, in bytes. */
export const pageBytes = 65_536;

/** Tables lie outside the memory that the limit counts: at most this many entries each, in at most {@link maxTables}. */
export const maxTableEntries = 131_072;
export const maxTables = 8;

/** 4 GiB: what 32 bits can address. */
const maxPages = 65_536;

/** Whole pages that fit into `maxMemoryBytes`. */
export function memoryPages(maxMemoryBytes: number): number {
  return Math.min(Math.floor(maxMemoryBytes / pageBytes), maxPages);
}

/**
 * The memory and table sections with each maximum lowered to the limit, by section id; V8 has no other limit that holds.
 * @throws SandboxViolation when the module declares more than the limit from the start, with both numbers.
 */
export function cappedSections(shape: ModuleShape, maxMemoryBytes: number): Map<number, Uint8Array> {
  const sections = new Map<number, Uint8Array>();
  const pages = memoryPages(maxMemoryBytes);
  for (const memory of shape.memories) {
    if (memory.initial > pages) throw memoryTooLarge(memory, maxMemoryBytes);
    sections.set(sectionIds.memory, Uint8Array.from([1, ...limits(memory, pages)]));
  }
  if (shape.tables.length > 0) sections.set(sectionIds.table, cappedTables(shape));
  return sections;
}

function memoryTooLarge(memory: Limits, maxMemoryBytes: number): MillraceError {
  const bytes = memory.initial * pageBytes;
  return new MillraceError(
    "SandboxViolation",
    `The WASM module declares a memory of ${bytes} bytes (${memory.initial} pages) from the start, over the limit of ${maxMemoryBytes} bytes (spec.wasm.limits.memory). Raise the limit, or link the module with a smaller memory.`,
  );
}

function cappedTables(shape: ModuleShape): Uint8Array {
  if (shape.tables.length > maxTables) {
    throw new MillraceError(
      "SandboxViolation",
      `The WASM module has ${shape.tables.length} tables, over the limit of ${maxTables}.`,
    );
  }
  const body = [shape.tables.length];
  for (const table of shape.tables) {
    if (table.initial > maxTableEntries) {
      throw new MillraceError(
        "SandboxViolation",
        `The WASM module declares a table of ${table.initial} entries from the start, over the limit of ${maxTableEntries} entries.`,
      );
    }
    body.push(table.element === "externref" ? 0x6f : 0x70, ...limits(table, maxTableEntries));
  }
  return Uint8Array.from(body);
}

function limits(declared: Limits, cap: number): number[] {
  const maximum = Math.min(declared.maximum ?? cap, cap);
  return [0x01, ...leb128(declared.initial), ...leb128(maximum)];
}
