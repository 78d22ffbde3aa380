import { MillraceError } from "../../../engine/errors.ts";
import { BinaryReader, malformed } from "./reader.ts";

export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128" | "funcref" | "externref";

export interface FunctionType {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** In pages for a memory, in entries for a table. */
export interface Limits {
  readonly initial: number;
  readonly maximum?: number;
}

export interface TableShape extends Limits {
  readonly element: ValueType;
}

export type ExternKind = "function" | "table" | "memory" | "global";

export interface ImportShape {
  readonly module: string;
  readonly name: string;
  readonly kind: ExternKind;
  /** Of a function. */
  readonly type?: FunctionType;
}

export interface ExportShape {
  readonly name: string;
  readonly kind: ExternKind;
  readonly index: number;
}

/** Where a section lies in the file: from its id byte to its end. */
export interface SectionSpan {
  readonly id: number;
  readonly start: number;
  readonly bodyStart: number;
  readonly end: number;
}

/** What the sections of a module say about its outside: enough to choose an ABI, check imports and cap its limits. */
export interface ModuleShape {
  readonly types: readonly FunctionType[];
  readonly imports: readonly ImportShape[];
  /** The type indices of the functions that the module defines, without the imported ones. */
  readonly functions: readonly number[];
  readonly tables: readonly TableShape[];
  readonly memories: readonly Limits[];
  readonly exports: readonly ExportShape[];
  /** The index of the start function, if there is one. */
  readonly start: number | undefined;
  readonly sections: readonly SectionSpan[];
}

/** Section ids, by name. */
export const sectionIds = {
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
} as const;

/** The id of sections that anybody may add. */
export const customSection = 0;
const tagSection = 13;
/** Parameters of a function type, or results; V8 takes no more either. */
const maxValues = 1000;
/** Of types, imports, exports and sections, each: they are kept as objects while a module is admitted. */
const maxDescriptions = 100_000;
/** The order in which sections must stand, by id: element 9, data count 12, code 10, data 11. */
export const sectionOrder: readonly number[] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11];
const magic = [0x00, 0x61, 0x73, 0x6d];

/** Uses a proposal that would let the module past one of its limits. */
function refusedFeature(what: string, why: string, mend: string): MillraceError {
  return new MillraceError("SandboxViolation", `The WASM module uses ${what}, which is refused: ${why}. ${mend}.`);
}

/** While parsing: the same as {@link ModuleShape}, still growing. */
interface Draft {
  readonly types: FunctionType[];
  readonly imports: ImportShape[];
  readonly functions: number[];
  readonly tables: TableShape[];
  readonly memories: Limits[];
  readonly exports: ExportShape[];
  start: number | undefined;
  readonly sections: SectionSpan[];
}

/**
 * Reads the sections that describe a module's outside; code, data and elements are left to `WebAssembly.validate`.
 * Strict: wrong order, forged counts, overlong numbers and bytes left over throw InvalidInput with the offset;
 * shared or 64-bit memories, several memories, GC types and exceptions throw SandboxViolation.
 */
export function parseModule(bytes: Uint8Array): ModuleShape {
  const reader = new BinaryReader(bytes);
  readHeader(reader, bytes);
  const draft: Draft = {
    types: [],
    imports: [],
    functions: [],
    tables: [],
    memories: [],
    exports: [],
    start: undefined,
    sections: [],
  };
  let lastOrder = -1;
  while (!reader.done) {
    const start = reader.offset;
    if (draft.sections.length === maxDescriptions) {
      throw malformed(start, `it has more than the ${maxDescriptions} sections that are accepted`);
    }
    const id = reader.byte("a section id");
    const body = reader.sub(reader.u32("a section's length"), `section ${id}`);
    draft.sections.push({ id, start, bodyStart: body.offset, end: body.end });
    if (id === customSection) {
      body.name("a custom section's name");
      continue;
    }
    lastOrder = checkOrder(id, lastOrder, start);
    readSection(draft, id, body);
  }
  return draft;
}

function readHeader(reader: BinaryReader, bytes: Uint8Array): void {
  if (bytes.byteLength < 8 || magic.some((byte, index) => bytes[index] !== byte)) {
    const first = Array.from(bytes.subarray(0, 4), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    throw new MillraceError(
      "InvalidInput",
      `This is not a WASM module: it has ${bytes.byteLength} bytes and begins with "${first}", a module with "00 61 73 6d" (\\0asm). Name the compiled .wasm file, not its source or text form.`,
    );
  }
  reader.take(4, "the magic number");
  const version = Array.from(reader.take(4, "the version"));
  if (version[0] === 1 && version[1] === 0 && version[2] === 0 && version[3] === 0) return;
  if (version[2] === 1) {
    throw new MillraceError(
      "InvalidInput",
      "This is a WebAssembly component, not a core module. Build a core module (for Rust: target wasm32-unknown-unknown, crate-type cdylib).",
    );
  }
  throw malformed(4, `the version is ${version.join(".")}, not 1.0.0.0`);
}

function checkOrder(id: number, lastOrder: number, offset: number): number {
  if (id === tagSection) {
    throw refusedFeature(
      "exceptions",
      "exception objects lie outside the memory that the limit counts",
      "Build without them (Emscripten: -fno-exceptions)",
    );
  }
  const order = sectionOrder.indexOf(id);
  if (order < 0) throw malformed(offset, `there is no section with id ${id}`);
  if (order <= lastOrder) throw malformed(offset, `section ${id} is out of order or stands twice`);
  return order;
}

function readSection(draft: Draft, id: number, body: BinaryReader): void {
  const read = sectionReaders[id];
  if (read === undefined) return;
  read(draft, body);
  body.finish(`section ${id}`);
}

const sectionReaders: Readonly<Record<number, (draft: Draft, body: BinaryReader) => void>> = {
  [sectionIds.type]: (draft, body) => repeat(body, "types", () => draft.types.push(readFunctionType(body))),
  [sectionIds.import]: (draft, body) => repeat(body, "imports", () => draft.imports.push(readImport(draft, body))),
  [sectionIds.function]: (draft, body) =>
    repeat(body, "functions", () => {
      draft.functions.push(typeIndex(draft, body));
    }),
  [sectionIds.table]: (draft, body) => repeat(body, "tables", () => draft.tables.push(readTable(body))),
  [sectionIds.memory]: (draft, body) => {
    repeat(body, "memories", () => draft.memories.push(readLimits(body, "memory")));
    if (draft.memories.length > 1) throw severalMemories(draft.memories.length);
  },
  [sectionIds.export]: (draft, body) => {
    const names = new Set<string>();
    repeat(body, "exports", () => draft.exports.push(readExport(names, body)));
  },
  [sectionIds.start]: (draft, body) => {
    const offset = body.offset;
    draft.start = body.u32("the start function's index");
    const type = functionTypeAt(draft, draft.start);
    if (type === undefined) throw malformed(offset, `there is no function ${draft.start} to start`);
    if (type.params.length > 0 || type.results.length > 0) {
      throw malformed(offset, `the start function is ${signatureText(type)}, but takes and gives nothing`);
    }
  },
};

function repeat(body: BinaryReader, what: string, read: () => void): void {
  const max = what === "functions" ? undefined : maxDescriptions;
  for (let left = body.count(what, max); left > 0; left--) read();
}

function severalMemories(count: number): MillraceError {
  return refusedFeature(`${count} memories`, "the memory limit holds for one", "Build it with a single memory");
}

function readFunctionType(body: BinaryReader): FunctionType {
  const offset = body.offset;
  const form = body.byte("a type");
  if (form === 0x60) return { params: valueTypes(body), results: valueTypes(body) };
  if ([0x5f, 0x5e, 0x50, 0x4f, 0x4e].includes(form)) throw gcTypes();
  throw malformed(offset, `there is no type form 0x${form.toString(16)}`);
}

function gcTypes(): MillraceError {
  return refusedFeature(
    "types of the GC proposal",
    "its objects lie outside the memory that the limit counts",
    "Build for linear memory",
  );
}

function valueTypes(body: BinaryReader): ValueType[] {
  return Array.from({ length: body.count("values in a type", maxValues) }, () => valueType(body));
}

const valueTypeCodes: Readonly<Record<number, ValueType>> = {
  127: "i32",
  126: "i64",
  125: "f32",
  124: "f64",
  123: "v128",
  112: "funcref",
  111: "externref",
};

function valueType(body: BinaryReader): ValueType {
  const offset = body.offset;
  const code = body.byte("a value type");
  const type = valueTypeCodes[code];
  if (type !== undefined) return type;
  if (code >= 0x63 && code <= 0x74) throw gcTypes();
  throw malformed(offset, `there is no value type 0x${code.toString(16)}`);
}

function typeIndex(draft: Draft, body: BinaryReader): number {
  const offset = body.offset;
  const index = body.u32("a type's index");
  if (index < draft.types.length) return index;
  throw malformed(offset, `it names type ${index} of ${draft.types.length}`);
}

const externKinds: readonly ExternKind[] = ["function", "table", "memory", "global"];

function externKind(body: BinaryReader, what: string): ExternKind {
  const offset = body.offset;
  const code = body.byte(`the kind of ${what}`);
  const kind = externKinds[code];
  if (kind === undefined) throw malformed(offset, `there is no kind ${code} of ${what}`);
  return kind;
}

function readImport(draft: Draft, body: BinaryReader): ImportShape {
  const module = body.name("an import's module");
  const name = body.name("an import's name");
  const kind = externKind(body, "import");
  if (kind === "function") {
    const type = draft.types[typeIndex(draft, body)];
    return type === undefined ? { module, name, kind } : { module, name, kind, type };
  }
  if (kind === "table") readTable(body);
  if (kind === "memory") readLimits(body, "memory");
  if (kind === "global") {
    valueType(body);
    body.byte("a global's mutability");
  }
  return { module, name, kind };
}

function readTable(body: BinaryReader): TableShape {
  const offset = body.offset;
  if (body.peek() === 0x40) {
    throw refusedFeature(
      "a table with an initial value",
      "only tables of plain references are limited",
      "Build without it",
    );
  }
  const element = valueType(body);
  if (element !== "funcref" && element !== "externref") throw malformed(offset, `a table cannot hold ${element}`);
  return { element, ...readLimits(body, "table") };
}

function readLimits(body: BinaryReader, what: "memory" | "table"): Limits {
  const offset = body.offset;
  const flags = body.byte(`the limits of a ${what}`);
  if (flags > 0x0f) throw malformed(offset, `there are no limits of kind 0x${flags.toString(16)}`);
  if (flags & 0x08) throw refusedFeature("custom page sizes", "limits count pages of 64 KiB", "Build without them");
  if (flags & 0x04) throw refusedFeature(`a 64-bit ${what}`, "limits are held for 32-bit ones", "Build for wasm32");
  if (flags & 0x02) throw refusedFeature("shared memory", "a call is one thread", "Build without threads");
  const initial = body.u32(`the initial size of a ${what}`);
  return flags === 0 ? { initial } : { initial, maximum: body.u32(`the maximum of a ${what}`) };
}

function readExport(names: Set<string>, body: BinaryReader): ExportShape {
  const offset = body.offset;
  const name = body.name("an export's name");
  if (names.has(name)) throw malformed(offset, `it exports ${JSON.stringify(name)} twice`);
  names.add(name);
  return { name, kind: externKind(body, "export"), index: body.u32("an export's index") };
}

/** The type of the function at `index`, imported ones counted first; undefined where there is none. */
export function functionTypeAt(shape: ModuleShape, index: number): FunctionType | undefined {
  const imported = shape.imports.filter((entry) => entry.kind === "function");
  if (index < imported.length) return imported[index]?.type;
  const type = shape.functions[index - imported.length];
  return type === undefined ? undefined : shape.types[type];
}

/** For messages: `(i32, i32) → i64`. */
export function signatureText(type: FunctionType): string {
  const results = type.results.length === 0 ? "nothing" : type.results.join(", ");
  return `(${type.params.join(", ")}) → ${results}`;
}
