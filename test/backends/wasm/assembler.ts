// A tiny assembler: WASM modules for tests, byte by byte, well formed or not.
import { leb128 } from "../../../backends/wasm/binary/reader.ts";

export const i32 = 0x7f;
export const i64 = 0x7e;
export const end = 0x0b;
export const unreachable = 0x00;
export const dropped = 0x1a;

type Bytes = readonly number[];

/** A section's parts, raw where it says so. */
export interface ModuleParts {
  /** `[params, results]`. */
  readonly types?: readonly (readonly [Bytes, Bytes])[];
  /** Module, name, and the raw description: kind, then type index or limits. */
  readonly imports?: readonly (readonly [string, string, Bytes])[];
  /** A type index and the instructions of each function, `end` included. */
  readonly functions?: readonly (readonly [number, Bytes])[];
  /** Raw. */
  readonly tables?: readonly Bytes[];
  /** Raw limits. */
  readonly memories?: readonly Bytes[];
  /** Raw. */
  readonly globals?: readonly Bytes[];
  /** Name, kind (0 function, 1 table, 2 memory, 3 global), index. */
  readonly exports?: readonly (readonly [string, number, number])[];
  readonly start?: number;
  /** Raw element segments. */
  readonly elements?: readonly Bytes[];
  /** Raw data segments. */
  readonly data?: readonly Bytes[];
}

export const header = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

export function section(id: number, body: Bytes): number[] {
  return [id, ...leb128(body.length), ...body];
}

export function vector(items: readonly Bytes[]): number[] {
  return [...leb128(items.length), ...items.flat()];
}

export function name(text: string): number[] {
  const bytes = [...new TextEncoder().encode(text)];
  return [...leb128(bytes.length), ...bytes];
}

/** `i32.const value`, for any 32-bit value. */
export function constant(value: number): number[] {
  return [0x41, ...signed(BigInt(value | 0))];
}

export function constant64(value: bigint): number[] {
  return [0x42, ...signed(BigInt.asIntN(64, value))];
}

function signed(value: bigint): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7n) {
    const low = Number(rest & 0x7fn);
    const next = rest >> 7n;
    if ((next === 0n && low < 0x40) || (next === -1n && low >= 0x40)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

export function assemble(parts: ModuleParts): Uint8Array<ArrayBuffer> {
  const sections: [number, readonly Bytes[] | undefined][] = [
    [
      1,
      parts.types?.map(([params, results]) => [
        0x60,
        ...vector(params.map((p) => [p])),
        ...vector(results.map((r) => [r])),
      ]),
    ],
    [2, parts.imports?.map(([module, field, description]) => [...name(module), ...name(field), ...description])],
    [3, parts.functions?.map(([type]) => leb128(type))],
    [4, parts.tables],
    [5, parts.memories],
    [6, parts.globals],
    [7, parts.exports?.map(([field, kind, index]) => [...name(field), kind, ...leb128(index)])],
    [9, parts.elements],
    [10, parts.functions?.map(([, code]) => [...leb128(code.length + 1), 0x00, ...code])],
    [11, parts.data],
  ];
  const bytes = [...header];
  for (const [id, items] of sections) {
    if (id === 9 && parts.start !== undefined) bytes.push(...section(8, leb128(parts.start)));
    if (items !== undefined) for (const byte of section(id, vector(items))) bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

/** What differs from a Direct-ABI module that gives its input back. */
export interface DirectParts extends Omit<ModuleParts, "types" | "functions" | "exports"> {
  /** `(ptr, len) → i64`, `end` included; default: what came in. */
  readonly process?: Bytes;
  /** `(len) → ptr`, `end` included; default: 1024. */
  readonly alloc?: Bytes;
  /** `() → ()` functions, after alloc (index 0 of those that are defined) and process (1). */
  readonly more?: readonly Bytes[];
  readonly exports?: ModuleParts["exports"];
}

/** Types of {@link directModule}, by index: `() → ()`, `(i32) → i32`, `(i32, i32) → i64`, `(i32, i32) → i32`, `(i32, i32) → ()`, four, five. */
const directTypes: NonNullable<ModuleParts["types"]> = [
  [[], []],
  [[i32], [i32]],
  [[i32, i32], [i64]],
  [[i32, i32], [i32]],
  [[i32, i32], []],
  [[i32, i32, i32, i32], []],
  [[i32, i32, i32, i32, i32], []],
];

/** `(ptr << 32) | len` of the parameters. */
export const giveInput = [0x20, 0, 0xad, 0x42, 32, 0x86, 0x20, 1, 0xad, 0x84, end];

/** A module of the Direct ABI with one page of memory, unless `parts` says otherwise. */
export function directModule(parts: DirectParts = {}): Uint8Array<ArrayBuffer> {
  const imported = parts.imports?.length ?? 0;
  const { process, alloc, more, exports, ...rest } = parts;
  return assemble({
    types: directTypes,
    memories: [[0, 1]],
    ...rest,
    functions: [
      [1, alloc ?? [...constant(1024), end]],
      [2, process ?? giveInput],
      ...(more ?? []).map((code) => [0, code] as const),
    ],
    exports: exports ?? [
      ["memory", 2, 0],
      ["millrace_alloc", 0, imported],
      ["process", 0, imported + 1],
    ],
  });
}

/** A result: pointer and length as the entrypoint gives them. */
export function result(pointer: number, length: number): number[] {
  return [...constant64((BigInt(pointer >>> 0) << 32n) | BigInt(length >>> 0)), end];
}
