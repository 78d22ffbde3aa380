// Modules that are admitted, and misbehave when they are called; one row each: what it does, and how its call must end.
import { leb128 } from "../../../backends/wasm/binary/reader.ts";
import type { ErrorCode } from "../../../engine/errors.ts";
import { constant, type DirectParts, directModule, dropped, end, giveInput, result, unreachable } from "./assembler.ts";
import { mebibyte } from "./processors.ts";

/** `loop br 0 end`, and what the validator wants after it. */
const spin = [0x03, 0x40, 0x0c, 0, end];
const page = 65_536;

/** Grows page by page until growth fails, then traps. */
const growWithoutEnd = [0x03, 0x40, ...constant(1), 0x40, 0, ...constant(-1), 0x47, 0x0d, 0, end, unreachable];

/** Adds one to the number at 0. */
const countUp = [...constant(0), ...constant(0), 0x28, 2, 0, ...constant(1), 0x6a, 0x36, 2, 0];
/** Calls `set_metadata` with the three bytes at 0 as key and 8,000 bytes as value. */
const setEntry = [...constant(0), ...constant(3), ...constant(16), ...constant(8000), 0x10, 0];

/** A module, and how a call of it must end. */
export interface Hostile {
  readonly module: Uint8Array;
  readonly code: ErrorCode;
  /** What the message must hold. */
  readonly message?: string;
  /** "Load": it does not get as far as its entrypoint. */
  readonly when?: "Load";
  /** Units for the call; absent: more than it can use in its time. */
  readonly fuel?: number;
}

/** Told by its fuel alone. */
function outOfFuel(parts: DirectParts, fuel = 1_000_000): Hostile {
  return { module: directModule(parts), code: "SandboxViolation", message: `fuel limit of ${fuel}`, fuel };
}

/** Told by the counted depth of its calls. */
function tooDeep(parts: DirectParts): Hostile {
  return { module: directModule(parts), code: "SandboxViolation", message: "stack" };
}

function crashed(parts: DirectParts): Hostile {
  return { module: directModule(parts), code: "ProcessorCrashed" };
}

/** `loop … br 0 end`, and what the validator wants after it. */
function forever(...code: readonly number[]): number[] {
  return [0x03, 0x40, ...code, 0x0c, 0, end, unreachable, end];
}

const fourMebibytes = { memories: [[0, 64]] };
/** `(len) → ptr` and `(ptr, len) → i64`, as the module exports them, and an initializer. */
const withInitializer: NonNullable<DirectParts["exports"]> = [
  ["memory", 2, 0],
  ["millrace_alloc", 0, 0],
  ["process", 0, 1],
  ["_initialize", 0, 2],
];

export const hostile: Readonly<Record<string, Hostile>> = {
  "spins in its entrypoint": {
    module: directModule({ process: [...spin, unreachable, end] }),
    code: "DeadlineExceeded",
  },
  "spins in its start function": {
    module: directModule({ more: [[...spin, end]], start: 2 }),
    code: "SandboxViolation",
    message: "5000 ms",
    when: "Load",
  },
  "spins in its allocator": {
    module: directModule({ alloc: [...spin, unreachable, end] }),
    code: "SandboxViolation",
    message: "5000 ms",
    when: "Load",
  },
  "spins through imports": {
    module: directModule({
      imports: [["millrace", "options", [0x00, 3]]],
      process: [0x03, 0x40, ...constant(0), ...constant(0), 0x10, 0, dropped, 0x0c, 0, end, unreachable, end],
    }),
    code: "DeadlineExceeded",
  },
  "allocates without end": {
    module: directModule({ process: [...growWithoutEnd, end] }),
    code: "SandboxViolation",
    message: String(4 * mebibyte),
  },
  "allocates without end in its start function": {
    module: directModule({ more: [[...growWithoutEnd, end]], start: 2 }),
    code: "SandboxViolation",
    message: "memory",
    when: "Load",
  },
  "asks for far more memory than there is and traps, its memory still small": {
    module: directModule({ process: [...constant(60_000), 0x40, 0, dropped, unreachable, end] }),
    code: "SandboxViolation",
    message: "memory",
  },
  "gives no memory for its input because it cannot grow": {
    module: directModule({ alloc: [...constant(60_000), 0x40, 0, dropped, ...constant(0), end] }),
    code: "SandboxViolation",
    message: "memory",
    when: "Load",
  },
  "gives no memory for its input of its own accord": {
    module: directModule({ alloc: [...constant(0), end] }),
    code: "InvalidInput",
    when: "Load",
  },
  "gives memory for its input beyond its end": {
    module: directModule({ alloc: [...constant(page - 1), end] }),
    code: "ProcessorCrashed",
  },
  "gives memory for its input at the end of the address space": {
    module: directModule({ alloc: [...constant(-1), end] }),
    code: "ProcessorCrashed",
  },
  "recurses without end": {
    module: directModule({ process: [0x20, 0, 0x20, 1, 0x10, 1, end] }),
    code: "SandboxViolation",
    message: "stack",
  },
  "recurses without end in its start function": {
    module: directModule({ more: [[0x10, 2, end]], start: 2 }),
    code: "SandboxViolation",
    message: "stack",
    when: "Load",
  },
  "recurses without end through call_indirect": {
    module: directModule({
      tables: [[0x70, 0, 1]],
      elements: [[0, ...constant(0), end, 1, 1]],
      process: [0x20, 0, 0x20, 1, ...constant(0), 0x11, 2, 0, end],
    }),
    code: "SandboxViolation",
    message: "stack",
  },
  "traps by unreachable": { module: directModule({ process: [unreachable, end] }), code: "ProcessorCrashed" },
  "traps in its start function": {
    module: directModule({ more: [[unreachable, end]], start: 2 }),
    code: "InvalidInput",
    when: "Load",
  },
  "divides by zero": {
    module: directModule({ process: [...constant(1), ...constant(0), 0x6d, dropped, ...giveInput] }),
    code: "ProcessorCrashed",
  },
  "reads beyond its memory": {
    module: directModule({ process: [...constant(-4), 0x28, 2, 0, dropped, ...giveInput] }),
    code: "ProcessorCrashed",
  },
  "calls a function that its table does not have": {
    module: directModule({ tables: [[0x70, 0, 1]], process: [...constant(7), 0x11, 0, 0, ...giveInput] }),
    code: "ProcessorCrashed",
  },
  "has data beyond its memory": {
    module: directModule({ data: [[0, ...constant(page), end, 1, 0x78]] }),
    code: "InvalidInput",
    when: "Load",
  },
  "gives a result beyond its memory": { module: directModule({ process: result(page, 1) }), code: "ProcessorCrashed" },
  "gives a result at the end of the address space": {
    module: directModule({ process: result(-1, -1) }),
    code: "ProcessorCrashed",
  },
  "gives a result of 60 MiB": {
    module: directModule({ memories: [[0, ...leb128(961)]], process: result(0, 60 * mebibyte) }),
    code: "PayloadTooLarge",
    message: String(60 * mebibyte),
  },
  "fills the host with metadata": {
    module: directModule({
      imports: [["millrace", "set_metadata", [0x00, 5]]],
      process: [0x03, 0x40, ...countUp, ...setEntry, 0x0c, 0, end, unreachable, end],
    }),
    code: "PayloadTooLarge",
    message: "metadata",
  },
  "spins until its fuel is used up": outOfFuel({ process: forever() }),
  "spins in its start function until its fuel is used up": {
    ...outOfFuel({ more: [[...spin, end]], start: 2 }),
    when: "Load",
  },
  "spins in its constructor": {
    module: directModule({ more: [[...spin, end]], exports: withInitializer }),
    code: "SandboxViolation",
    message: "5000 ms",
    when: "Load",
  },
  "spins in its constructor until its fuel is used up": {
    ...outOfFuel({ more: [[...spin, end]], exports: withInitializer }),
    when: "Load",
  },
  "spins in its allocator until its fuel is used up": { ...outOfFuel({ alloc: forever() }), when: "Load" },
  "spins by br_table": outOfFuel({ process: [0x03, 0x40, ...constant(3), 0x0e, 1, 0, 0, end, unreachable, end] }),
  "spins by br_if out of nested blocks": outOfFuel({
    process: [0x03, 0x40, 0x02, 0x40, 0x02, 0x40, ...constant(1), 0x0d, 2, end, end, end, unreachable, end],
  }),
  "spins through call_indirect": outOfFuel({
    tables: [[0x70, 0, 1]],
    elements: [[0, ...constant(0), end, 1, 2]],
    more: [[end]],
    process: forever(...constant(0), 0x11, 0, 0),
  }),
  "spins through imports until its fuel is used up": outOfFuel({
    imports: [["millrace", "options", [0x00, 3]]],
    process: forever(...constant(0), ...constant(0), 0x10, 0, dropped),
  }),
  "logs without end": outOfFuel({
    ...fourMebibytes,
    imports: [["millrace", "log", [0x00, 4]]],
    process: forever(...constant(0), ...constant(mebibyte), 0x10, 0),
  }),
  "calls a tree of functions that has 2^30 leaves": outOfFuel({
    more: Array.from({ length: 30 }, (_, at) => (at === 29 ? [end] : [0x10, at + 3, 0x10, at + 3, end])),
    process: [0x10, 2, ...giveInput],
  }),
  "fills its memory again and again": outOfFuel({
    ...fourMebibytes,
    process: forever(...constant(0), ...constant(7), ...constant(4 * mebibyte), 0xfc, 11, 0),
  }),
  "copies its memory again and again": outOfFuel({
    ...fourMebibytes,
    process: forever(...constant(0), ...constant(1), ...constant(4 * mebibyte - 1), 0xfc, 10, 0, 0),
  }),
  "fills its table again and again": outOfFuel({
    tables: [[0x70, 0, ...leb128(100_000)]],
    process: forever(...constant(0), 0xd0, 0x70, ...constant(100_000), 0xfc, 17, 0),
  }),
  "copies its table again and again": outOfFuel({
    tables: [[0x70, 0, ...leb128(100_000)]],
    process: forever(...constant(0), ...constant(1), ...constant(99_999), 0xfc, 14, 0, 0),
  }),
  "grows its table until it may not, and traps": crashed({
    tables: [[0x70, 0, 1]],
    process: [
      0x03,
      0x40,
      0xd0,
      0x70,
      ...constant(1000),
      0xfc,
      15,
      0,
      ...constant(-1),
      0x47,
      0x0d,
      0,
      end,
      unreachable,
      end,
    ],
  }),
  "recurses until its fuel is used up": outOfFuel({ process: [0x20, 0, 0x20, 1, 0x10, 1, end] }, 1000),
  "recurses without end in its constructor": {
    module: directModule({ more: [[0x10, 2, end]], exports: withInitializer }),
    code: "SandboxViolation",
    message: "stack",
    when: "Load",
  },
  "recurses without end by two functions": tooDeep({
    more: [
      [0x10, 3, end],
      [0x10, 2, end],
    ],
    process: [0x10, 2, ...giveInput],
  }),
  "recurses a million deep": tooDeep({
    more: [
      [0x23, 0, ...constant(1), 0x6a, 0x24, 0, 0x23, 0, ...constant(1_000_000), 0x48, 0x04, 0x40, 0x10, 2, end, end],
    ],
    globals: [[0x7f, 1, ...constant(0), end]],
    process: [0x10, 2, ...giveInput],
  }),
  "calls a function of another type by its table": crashed({
    tables: [[0x70, 0, 1]],
    elements: [[0, ...constant(0), end, 1, 0]],
    process: [...constant(0), 0x11, 0, 0, ...giveInput],
  }),
  "waits on memory that is its own alone": crashed({
    process: [...constant(0), ...constant(0), 0x42, 0x7f, 0xfe, 1, 2, 0, dropped, ...giveInput],
  }),
  "converts what is no number": crashed({
    process: [0x43, 0, 0, 0xc0, 0x7f, 0xa8, dropped, ...giveInput],
  }),
  "says that its content type lies beyond its memory": crashed({
    imports: [["millrace", "set_content_type", [0x00, 4]]],
    process: [...constant(-8), ...constant(8), 0x10, 0, ...giveInput],
  }),
  "says a content type of 4 MiB": {
    module: directModule({
      ...fourMebibytes,
      imports: [["millrace", "set_content_type", [0x00, 4]]],
      process: [...constant(0), ...constant(4 * mebibyte), 0x10, 0, ...giveInput],
    }),
    code: "PayloadTooLarge",
  },
  "fails with a message that is longer than the address space": {
    module: directModule({
      imports: [["millrace", "set_error", [0x00, 6]]],
      process: [...constant(0), ...constant(0), ...constant(0), ...constant(-1), ...constant(0), 0x10, 0, ...giveInput],
    }),
    code: "PayloadTooLarge",
  },
};
