import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { Fuel } from "../../../backends/wasm/abis/fuel.ts";
import { type AdmittedModule, admit } from "../../../backends/wasm/admission/admit.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { constant, directModule, dropped, end, giveInput, i32 } from "./assembler.ts";

const page = 65_536;
const fixtures = join(import.meta.dirname, "../../fixtures/wasm");
const reference = new Uint8Array(readFileSync(join(fixtures, "reference.wasm")));

function admitted(bytes: Uint8Array, maxMemoryBytes: number = 16 * page, entrypoint = "process"): AdmittedModule {
  return admit({ bytes, maxMemoryBytes, abi: "Auto", entrypoint });
}

function refusal(bytes: Uint8Array, maxMemoryBytes?: number, entrypoint?: string): MillraceError {
  try {
    admitted(bytes, maxMemoryBytes, entrypoint);
  } catch (thrown) {
    if (thrown instanceof MillraceError) return thrown;
    throw thrown;
  }
  throw new Error("it was admitted");
}

function instance(bytes: Uint8Array, maxMemoryBytes?: number): Readonly<Record<string, WebAssembly.ExportValue>> {
  return fuelled(new WebAssembly.Instance(admitted(bytes, maxMemoryBytes).module));
}

function fuelled(made: WebAssembly.Instance): Readonly<Record<string, WebAssembly.ExportValue>> {
  new Fuel(made.exports).fill(1_000_000_000);
  return made.exports;
}

type Exported = Readonly<Record<string, unknown>> & {
  readonly millrace_alloc: (pages: number) => number;
  readonly "millrace:memory-refused": WebAssembly.Global;
};

/** `millrace_alloc(n)` grows the memory by n pages and gives what memory.grow gave. */
const growing = (memory: number[]) => directModule({ memories: [memory], alloc: [0x20, 0, 0x40, 0, end] });

describe("Admission of WASM modules", () => {
  for (const [what, memory] of [
    ["without a maximum", [0, 1]],
    ["with a maximum over the limit", [1, 1, 0x80, 0x80, 0x04]],
  ] as const) {
    it(`caps a memory ${what}`, () => {
      const exports = instance(growing([...memory]), 4 * page) as unknown as Exported;
      expect(exports.millrace_alloc(3)).to.equal(1);
      expect(exports.millrace_alloc(1)).to.equal(-1);
    });
  }

  it("leaves a maximum under the limit as it is", () => {
    const exports = instance(growing([1, 1, 2]), 4 * page) as unknown as Exported;
    expect(exports.millrace_alloc(2)).to.equal(-1);
    expect(exports.millrace_alloc(1)).to.equal(1);
  });

  it("notes the last refusal of growth, and forgets it when growth succeeds", () => {
    const exports = instance(growing([0, 1]), 4 * page) as unknown as Exported;
    const flag = exports["millrace:memory-refused"];
    expect(flag.value).to.equal(0);
    exports.millrace_alloc(9);
    expect(flag.value).to.equal(1);
    exports.millrace_alloc(1);
    expect(flag.value).to.equal(0);
  });

  it("finds memory.grow behind imports, other functions, long instructions and globals", () => {
    const bytes = directModule({
      imports: [["millrace", "options", [0x00, 3]]],
      globals: [[i32, 1, ...constant(7), end]],
      alloc: [
        0x42,
        0x80,
        0x80,
        0xc0,
        0x00,
        dropped, // i64.const with 0x40 0x00 inside
        0x43,
        0x40,
        0x00,
        0x40,
        0x00,
        dropped, // f32.const of such bytes
        0xfd,
        12,
        ...Array(8).fill([0x40, 0x00]).flat(),
        dropped, // v128.const
        0x02,
        0x40,
        0x0c,
        0x00,
        end, // block, br 0
        0x20,
        0,
        0x40,
        0x80,
        0x00,
        end, // local.get, memory.grow with an overlong index
      ],
    });
    const module = admitted(bytes, 2 * page).module;
    const made = new WebAssembly.Instance(module, { millrace: { options: () => 0 } });
    const exports = fuelled(made) as unknown as Exported;
    expect(exports.millrace_alloc(5)).to.equal(-1);
    expect(exports["millrace:memory-refused"].value).to.equal(1);
  });

  it("watches any number of growths in one function", () => {
    const growths = Array.from({ length: 50_000 }, () => [...constant(0), 0x40, 0, dropped]).flat();
    const bytes = directModule({ alloc: [...growths, ...constant(99), 0x40, 0, end] });
    const exports = instance(bytes) as unknown as Exported;
    expect(exports.millrace_alloc(0)).to.equal(-1);
    expect(exports["millrace:memory-refused"].value).to.equal(1);
  });

  it("refuses a memory that is over the limit from the start, with both numbers", () => {
    const error = refusal(directModule({ memories: [[0, 17]] }));
    expect(error.code).to.equal("SandboxViolation");
    expect(error.message)
      .to.include(String(17 * page))
      .and.include(String(16 * page));
  });

  it("caps tables, and refuses huge ones", () => {
    const growTable = [0xd0, 0x70, 0x20, 0, 0xfc, 15, 0, end];
    const exports = instance(directModule({ tables: [[0x70, 0, 1]], alloc: growTable })) as unknown as Exported;
    expect(exports.millrace_alloc(200_000)).to.equal(-1);
    expect(exports.millrace_alloc(1000)).to.equal(1);
    expect(refusal(directModule({ tables: [[0x70, 0, 0xff, 0xff, 0xff, 0x0f]] })).code).to.equal("SandboxViolation");
    expect(refusal(directModule({ tables: Array(9).fill([0x70, 0, 1]) })).code).to.equal("SandboxViolation");
  });

  it("keeps the start function from running while the instance is made", () => {
    const exports = instance(directModule({ more: [[0x00, end]], start: 2 }));
    expect(exports).to.have.property("millrace:start");
    expect(exports["millrace:start"] as () => void).to.throw(WebAssembly.RuntimeError);
  });

  it("refuses exports by the names that the host adds", () => {
    const bytes = directModule({
      exports: [
        ["memory", 2, 0],
        ["millrace_alloc", 0, 0],
        ["process", 0, 1],
        ["millrace:memory-refused", 2, 0],
      ],
    });
    expect(refusal(bytes).code).to.equal("SandboxViolation");
  });

  for (const [what, code] of [
    ["a local", [0x42, 0, 0x21, 2]],
    ["a global", [0x42, 0, 0x24, 0]],
    ["a function", [...constant(0), 0x10, 2, dropped]],
    ["a type", [0x02, 7, end]],
  ] as const) {
    it(`refuses code that names ${what} which only metering adds`, () => {
      expect(refusal(directModule({ process: [...code, ...giveInput] })).code).to.equal("InvalidInput");
    });
  }

  it("refuses a forged meter", () => {
    const exports = [
      ["memory", 2, 0],
      ["millrace_alloc", 0, 0],
      ["process", 0, 1],
      ["millrace:fuel", 2, 0],
    ] as const;
    expect(refusal(directModule({ exports })).code).to.equal("SandboxViolation");
  });

  it("refuses a forbidden import, naming it and what is allowed", () => {
    const error = refusal(directModule({ imports: [["env", "abort", [0x00, 0]]] }));
    expect(error.code).to.equal("SandboxViolation");
    expect(error.message).to.include("env.abort").and.include("millrace.set_error");
  });

  it("gives WASI preview 1 to every ABI, each function with its type alone, and says of a module that it uses it", () => {
    const importing = (name: string, type: number) =>
      directModule({
        imports: [["wasi_snapshot_preview1", name, [0x00, type]]],
        exports: [
          ["memory", 2, 0],
          ["millrace_alloc", 0, 1],
          ["process", 0, 2],
        ],
      });
    expect(admitted(importing("random_get", 3)).wasi).to.equal(true);
    expect(admitted(directModule()).wasi).to.equal(false);
    const mistyped = refusal(importing("random_get", 4));
    expect(mistyped.code).to.equal("InvalidInput");
    expect(mistyped.message).to.include("(i32, i32) → i32");
    expect(refusal(importing("fd_peek", 3)).code).to.equal("SandboxViolation");
  });

  it("refuses what WASI was before preview 1, and says what to build for", () => {
    const error = refusal(directModule({ imports: [["wasi_unstable", "fd_write", [0x00, 3]]] }));
    expect(error.code).to.equal("SandboxViolation");
    expect(error.message).to.include("Rebuild").and.include("preview 1");
  });

  for (const [what, description] of [
    ["memory", [0x02, 0, 1]],
    ["table", [0x01, 0x70, 0, 1]],
    ["global", [0x03, i32, 0]],
  ] as const) {
    it(`refuses an imported ${what}`, () => {
      const error = refusal(
        directModule({ memories: [], imports: [["millrace", "options", description]], exports: [] }),
      );
      // Without its exports it fits no ABI, which is said first.
      expect(error.code).to.equal("InvalidInput");
      const whole = refusal(
        directModule({
          ...(what === "memory" ? { memories: [] } : {}),
          imports: [["millrace", "options", description]],
          exports: [
            ["memory", 2, 0],
            ["millrace_alloc", 0, 0],
            ["process", 0, 1],
          ],
        }),
      );
      expect(whole.code).to.equal("SandboxViolation");
      expect(whole.message).to.include(what);
    });
  }

  it("does not take the names of Object.prototype for allowed imports", () => {
    for (const [module, field] of [
      ["constructor", "name"],
      ["millrace", "toString"],
      ["__proto__", "valueOf"],
    ] as const) {
      expect(refusal(directModule({ imports: [[module, field, [0x00, 0]]] })).code).to.equal("SandboxViolation");
    }
  });

  it("refuses an allowed import of another signature, with both", () => {
    const error = refusal(directModule({ imports: [["millrace", "options", [0x00, 1]]] }));
    expect(error.code).to.equal("InvalidInput");
    expect(error.message).to.include("(i32) → i32").and.include("(i32, i32) → i32");
  });

  it("says what it looked for, what is missing and what is exported when no ABI fits", () => {
    const error = refusal(
      directModule({
        exports: [
          ["memory", 2, 0],
          ["run", 0, 1],
        ],
      }),
    );
    expect(error.code).to.equal("InvalidInput");
    expect(error.message).to.include("missing: millrace_alloc").and.include("exports: memory, run");
  });

  it("calls a missing entrypoint not found, and names the functions that are there", () => {
    const error = refusal(directModule(), undefined, "analyse");
    expect(error.code).to.equal("NotFound");
    expect(error.message).to.include("analyse").and.include("process");
  });

  it("refuses an entrypoint of another signature", () => {
    const error = refusal(directModule(), undefined, "millrace_alloc");
    expect(error.code).to.equal("InvalidInput");
    expect(error.message).to.include("(i32, i32) → i64");
  });

  it("refuses exceptions and GC in code", () => {
    const rethrow = [0x06, 0x40, 0x19, end, ...giveInput];
    expect(refusal(directModule({ process: rethrow })).code).to.equal("SandboxViolation");
    expect(refusal(directModule({ process: [0xfb, 0x1c, ...giveInput] })).code).to.equal("SandboxViolation");
  });

  it("refuses code that V8 finds invalid, as invalid input", () => {
    expect(refusal(directModule({ process: [end] })).code).to.equal("InvalidInput");
    expect(refusal(directModule({ process: [0x27, ...giveInput] })).code).to.equal("InvalidInput");
  });

  it("never makes a valid module invalid, whatever is changed in a real one", () => {
    const changes = fc.array(fc.tuple(fc.nat(reference.byteLength - 1), fc.nat(255)), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(changes, (edits) => {
        const bytes = reference.slice();
        for (const [offset, value] of edits) bytes[offset] = value;
        try {
          admitted(bytes);
        } catch (thrown) {
          if (!(thrown instanceof MillraceError)) throw thrown;
          expect(thrown.code).not.to.equal("Internal");
          if (WebAssembly.validate(bytes)) expect(thrown.message).not.to.include("malformed");
        }
      }),
      { numRuns: 1500 },
    );
  });

  it("lists a module's names shortened, bounded and without control characters", () => {
    const exports = Array.from({ length: 400 }, (_, index) => [`a\u0007${"x".repeat(200)}${index}`, 0, 0] as const);
    const bytes = directModule({
      exports: [["memory", 2, 0], ["millrace_alloc", 0, 0], ["process", 0, 1], ...exports],
    });
    const names = admitted(bytes).exports;
    expect(names).to.have.length(256);
    expect(names[3]).to.have.length(128).and.not.include("\u0007");
  });
});
