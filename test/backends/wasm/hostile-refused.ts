// Modules that must not be admitted.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { leb128 } from "../../../backends/wasm/binary/reader.ts";
import type { ErrorCode } from "../../../engine/errors.ts";
import {
  constant,
  constant64,
  directModule,
  dropped,
  end,
  giveInput,
  header,
  i32,
  i64,
  name,
  section,
  unreachable,
  vector,
} from "./assembler.ts";

const reference = new Uint8Array(readFileSync(join(import.meta.dirname, "../../fixtures/wasm/reference.wasm")));

/** What it does, the module, and the code of the refusal. */
export const refused: readonly (readonly [string, Uint8Array, ErrorCode])[] = [
  ["is a text", new TextEncoder().encode("int main() {}"), "InvalidInput"],
  ["is empty", new Uint8Array(), "InvalidInput"],
  ["is cut off", reference.subarray(0, reference.byteLength - 100), "InvalidInput"],
  [
    "has an overlong number",
    Uint8Array.from([...reference.subarray(0, 9), 0x80, 0x80, 0x80, 0x80, 0x80, 0x80]),
    "InvalidInput",
  ],
  [
    "spins by tail calls, which V8 cannot interrupt,",
    directModule({
      process: [0x10, 2, unreachable, end],
      more: [
        [0x12, 3, end],
        [0x12, 2, end],
      ],
    }),
    "SandboxViolation",
  ],
  ["has invalid code", directModule({ process: [0x20, 9, end] }), "InvalidInput"],
  ["declares a huge memory", directModule({ memories: [[0, 0x80, 0x80, 0x04]] }), "SandboxViolation"],
  ["declares a huge table", directModule({ tables: [[0x70, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]] }), "SandboxViolation"],
  ["imports the forbidden", directModule({ imports: [["env", "system", [0x00, 0]]] }), "SandboxViolation"],
  ["lacks an export", directModule({ exports: [["memory", 2, 0]] }), "InvalidInput"],
  [
    "exports another type",
    directModule({
      exports: [
        ["memory", 2, 0],
        ["millrace_alloc", 0, 1],
        ["process", 0, 1],
      ],
    }),
    "InvalidInput",
  ],
  [
    "exports a global as memory",
    directModule({
      globals: [[i32, 0, ...constant(0), end]],
      exports: [
        ["memory", 3, 0],
        ["millrace_alloc", 0, 0],
        ["process", 0, 1],
      ],
    }),
    "InvalidInput",
  ],
  ["is a component", Uint8Array.from([0x00, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]), "InvalidInput"],
  ["is of a version to come", Uint8Array.from([0x00, 0x61, 0x73, 0x6d, 2, 0, 0, 0]), "InvalidInput"],
  ["has a section of its own invention", Uint8Array.from([...header, ...section(77, [])]), "InvalidInput"],
  [
    "has its sections out of order",
    Uint8Array.from([...header, ...section(3, [0]), ...section(1, [0])]),
    "InvalidInput",
  ],
  ["has a section twice", Uint8Array.from([...header, ...section(1, [0]), ...section(1, [0])]), "InvalidInput"],
  [
    "has a section that is longer than the file",
    Uint8Array.from([...header, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    "InvalidInput",
  ],
  [
    "claims four billion types",
    Uint8Array.from([...header, ...section(1, [0xff, 0xff, 0xff, 0xff, 0x0f])]),
    "InvalidInput",
  ],
  ["has a name that is no text", Uint8Array.from([...header, ...section(0, [2, 0xc3, 0x28])]), "InvalidInput"],
  ["has more bodies than functions", Uint8Array.from([...header, ...section(10, [1, 2, 0, end])]), "InvalidInput"],
  [
    "branches to four billion targets",
    directModule({ process: [0x0e, 0xff, 0xff, 0xff, 0xff, 0x0f, end] }),
    "InvalidInput",
  ],
  [
    "has an overlong number in its code",
    directModule({ process: [0x41, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, end] }),
    "InvalidInput",
  ],
  ["has an instruction that there is not", directModule({ process: [0xf0, end] }), "InvalidInput"],
  ["has a body without an end", directModule({ process: [0x02, 0x40] }), "InvalidInput"],
  ["has ends beyond its body's", directModule({ process: [end, end, end, end] }), "InvalidInput"],
  ["names a type that there is not", directModule({ process: [0x02, 99, end, ...giveInput] }), "InvalidInput"],
  ["calls a function that there is not", directModule({ process: [0x10, 99, ...giveInput] }), "InvalidInput"],
  [
    "names a global that there is not, the host's meter",
    directModule({ process: [0x42, 0, 0x24, 0, ...giveInput] }),
    "InvalidInput",
  ],
  [
    "names a function that there is not, one of the host's",
    directModule({ process: [...constant(1), 0x10, 2, dropped, ...giveInput] }),
    "InvalidInput",
  ],
  ["forges the host's meter", forging("millrace:fuel", 3), "SandboxViolation"],
  ["forges the host's start function", forging("millrace:start", 0), "SandboxViolation"],
  ["has memory that is shared", directModule({ memories: [[3, 1, 2]] }), "SandboxViolation"],
  ["has memory of 64 bits", directModule({ memories: [[4, 1]] }), "SandboxViolation"],
  [
    "has two memories",
    directModule({
      memories: [
        [0, 1],
        [0, 1],
      ],
    }),
    "SandboxViolation",
  ],
  ["has ten tables", directModule({ tables: Array.from({ length: 10 }, () => [0x70, 0, 1]) }), "SandboxViolation"],
  [
    "has a table with an initial value",
    directModule({ tables: [[0x40, 0x00, 0x70, 0, 1, 0xd0, 0x70, end]] }),
    "SandboxViolation",
  ],
  ["has types of garbage collection", Uint8Array.from([...header, ...section(1, [1, 0x5f, 0])]), "SandboxViolation"],
  [
    "has exceptions",
    Uint8Array.from([...header, ...section(1, [1, 0x60, 0, 0]), ...section(13, [1, 0, 0])]),
    "SandboxViolation",
  ],
  ["catches what stops it", directModule({ process: [0x1f, 0x40, 0, end, ...giveInput] }), "SandboxViolation"],
  [
    "imports its memory",
    directModule({ memories: [], imports: [["env", "memory", [0x02, 0, 1]]] }),
    "SandboxViolation",
  ],
  ["imports a table", directModule({ imports: [["env", "table", [0x01, 0x70, 0, 1]]] }), "SandboxViolation"],
  [
    "imports what it may as another type",
    directModule({ imports: [["millrace", "options", [0x00, 0]]] }),
    "InvalidInput",
  ],
  ["has a million functions more than may be", functions(1_000_001), "InvalidInput"],
  ["takes a frame of 400,000 locals", locals(400_000), "SandboxViolation"],
];

/** Exports a name of the host's. */
function forging(field: string, kind: number): Uint8Array {
  return directModule({
    globals: [[0x7e, 1, ...constant64(0n), end]],
    exports: [
      ["memory", 2, 0],
      ["millrace_alloc", 0, 0],
      ["process", 0, 1],
      [field, kind, 0],
    ],
  });
}

/** A module of nothing but empty functions. */
function functions(count: number): Uint8Array {
  const body = new Uint8Array(count * 3);
  for (let at = 0; at < body.byteLength; at += 3) body.set([2, 0, end], at);
  const bytes = (length: number) => leb128(length + leb128(count).length);
  return Buffer.concat([
    Uint8Array.from([...header, ...section(1, [1, 0x60, 0, 0]), 3, ...bytes(count), ...leb128(count)]),
    new Uint8Array(count),
    Uint8Array.from([10, ...bytes(body.byteLength), ...leb128(count)]),
    body,
  ]);
}

/** A module of the Direct ABI whose entrypoint has so many locals. */
function locals(count: number): Uint8Array {
  const alloc = [0, ...constant(1024), end];
  const process = [1, ...leb128(count), 0x7e, ...giveInput];
  const bodies = [alloc, process].map((body) => [...leb128(body.length), ...body]);
  const exported = [
    [...name("memory"), 2, 0],
    [...name("millrace_alloc"), 0, 0],
    [...name("process"), 0, 1],
  ];
  return Uint8Array.from([
    ...header,
    ...section(
      1,
      vector([
        [0x60, 1, i32, 1, i32],
        [0x60, 2, i32, i32, 1, i64],
      ]),
    ),
    ...section(3, [2, 0, 1]),
    ...section(5, [1, 0, 1]),
    ...section(7, vector(exported)),
    ...section(10, vector(bodies)),
  ]);
}
