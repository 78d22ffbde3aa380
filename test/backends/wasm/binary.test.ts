import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { BinaryReader, leb128 } from "../../../backends/wasm/binary/reader.ts";
import { parseModule } from "../../../backends/wasm/binary/shape.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { assemble, directModule, end, header, i32, i64, name, section, vector } from "./assembler.ts";

const reference = new Uint8Array(readFileSync(join(import.meta.dirname, "../../fixtures/wasm/reference.wasm")));

function refusal(bytes: Uint8Array | readonly number[]): MillraceError {
  try {
    parseModule(Uint8Array.from(bytes));
  } catch (thrown) {
    if (thrown instanceof MillraceError) return thrown;
    throw thrown;
  }
  throw new Error("it was accepted");
}

describe("The parser of WASM modules", () => {
  it("reads what a module imports, exports and declares", () => {
    const shape = parseModule(
      assemble({
        types: [
          [[i32, i64], [i64]],
          [[], []],
        ],
        imports: [["millrace", "options", [0x00, 0]]],
        functions: [[1, [end]]],
        tables: [[0x70, 1, 2, 5]],
        memories: [[1, 1, 16]],
        exports: [
          ["memory", 2, 0],
          ["go", 0, 1],
        ],
        start: 1,
      }),
    );
    expect(shape.types[0]).to.deep.equal({ params: ["i32", "i64"], results: ["i64"] });
    expect(shape.imports).to.deep.equal([
      { module: "millrace", name: "options", kind: "function", type: shape.types[0] },
    ]);
    expect(shape.memories).to.deep.equal([{ initial: 1, maximum: 16 }]);
    expect(shape.tables).to.deep.equal([{ element: "funcref", initial: 2, maximum: 5 }]);
    expect(shape.exports.map((entry) => entry.name)).to.deep.equal(["memory", "go"]);
    expect(shape.start).to.equal(1);
  });

  it("reads back what it writes as LEB128, and needs no more than five bytes", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), (value) => {
        const bytes = Uint8Array.from(leb128(value));
        expect(bytes.byteLength).to.be.at.most(5);
        expect(new BinaryReader(bytes).u32("a number")).to.equal(value);
      }),
    );
  });

  const malformed: readonly (readonly [string, readonly number[], number | undefined])[] = [
    ["nothing", [], undefined],
    ["a text", [...new TextEncoder().encode("(module)")], undefined],
    ["another version", [...header.slice(0, 4), 2, 0, 0, 0], 4],
    ["a component", [...header.slice(0, 4), 0x0d, 0, 1, 0], undefined],
    ["a section longer than the file", [...header, 1, 5, 0], 10],
    ["a number of six bytes", [...header, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], 9],
    ["a number over 32 bits", [...header, 1, 0xff, 0xff, 0xff, 0xff, 0x1f], 9],
    ["a number that the file cuts off", [...header, 1, 0x80], 10],
    ["a forged count", [...header, ...section(1, [0xff, 0xff, 0xff, 0xff, 0x0f])], 10],
    [
      "more parameters than V8 takes",
      [...header, ...section(1, [1, 0x60, ...leb128(1001), ...new Uint8Array(1002)])],
      13,
    ],
    ["more types than are accepted", [...header, ...section(1, [...leb128(100_001), ...new Uint8Array(100_001)])], 12],
    ["sections out of order", [...header, ...section(5, [0]), ...section(1, [0])], 11],
    ["a section twice", [...header, ...section(1, [0]), ...section(1, [0])], 11],
    ["an unknown section", [...header, ...section(42, [0])], 8],
    ["bytes left over in a section", [...header, ...section(1, [0, 0])], 11],
    ["a name that is not UTF-8", [...header, ...section(0, [1, 0xff])], 10],
    ["an unknown type form", [...header, ...section(1, [1, 0x10])], 11],
    ["a function of a type that there is not", [...header, ...section(3, [1, 7])], 11],
    ["an unknown kind of import", [...header, ...section(2, [1, ...name("a"), ...name("b"), 9])], 15],
    [
      "a name exported twice",
      [
        ...header,
        ...section(
          7,
          vector([
            [1, 0x61, 0, 0],
            [1, 0x61, 0, 0],
          ]),
        ),
      ],
      15,
    ],
    ["unknown limits", [...header, ...section(5, [1, 0x10, 1])], 11],
    ["a start function that there is not", [...header, ...section(8, [3])], 10],
  ];
  for (const [what, bytes, offset] of malformed) {
    it(`refuses ${what}${offset === undefined ? "" : " and says where"}`, () => {
      const error = refusal(bytes);
      expect(error.code).to.equal("InvalidInput");
      if (offset !== undefined) expect(error.message).to.include(`offset 0x${offset.toString(16)} (${offset})`);
    });
  }

  it("refuses a start function that takes something", () => {
    const error = refusal(assemble({ types: [[[i32], []]], functions: [[0, [end]]], start: 0 }));
    expect(error.code).to.equal("InvalidInput");
  });

  const features: readonly (readonly [string, readonly number[]])[] = [
    ["shared memory", section(5, [1, 0x03, 1, 2])],
    ["64-bit memory", section(5, [1, 0x04, 1])],
    ["custom page sizes", section(5, [1, 0x08, 1, 0])],
    ["several memories", section(5, [2, 0, 1, 0, 1])],
    ["a 64-bit table", section(4, [1, 0x70, 0x04, 1])],
    ["a table with an initial value", section(4, [1, 0x40, 0x00, 0x70, 0, 1])],
    ["GC structs", section(1, [1, 0x5f, 0])],
    ["GC references", section(1, [1, 0x60, 1, 0x63, 0x70, 0])],
    ["exception tags", section(13, [1, 0, 0])],
  ];
  for (const [what, bytes] of features) {
    it(`refuses ${what} as a violation of the sandbox`, () => {
      expect(refusal([...header, ...bytes]).code).to.equal("SandboxViolation");
    });
  }

  it("refuses sections without end", () => {
    const sections = new Uint8Array(8 + 3 * 100_001);
    sections.set(header);
    for (let at = 8; at < sections.byteLength; at += 3) sections[at + 1] = 1;
    expect(() => parseModule(sections)).to.throw(MillraceError, "100000 sections");
    expect(parseModule(sections.subarray(0, -3)).sections).to.have.length(100_000);
  });

  it("refuses every truncation of a real module, or reads less of it", () => {
    for (let length = 0; length < reference.byteLength; length++) {
      try {
        const shape = parseModule(reference.subarray(0, length));
        expect(shape.sections.at(-1)?.end ?? 8).to.equal(length);
      } catch (thrown) {
        expect(thrown).to.be.instanceOf(MillraceError).with.property("code", "InvalidInput");
      }
    }
  });

  it("answers any bytes with a shape or a MillraceError", () => {
    const bytes = fc.uint8Array({ maxLength: 200 }).map((tail) => Uint8Array.from([...header, ...tail]));
    fc.assert(
      fc.property(bytes, (module) => {
        try {
          parseModule(module);
        } catch (thrown) {
          expect(thrown).to.be.instanceOf(MillraceError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("reads the module that the other tests are made of as V8 does", () => {
    const bytes = directModule();
    expect(WebAssembly.validate(bytes)).to.equal(true);
    expect(parseModule(bytes).exports).to.have.length(3);
  });
});
