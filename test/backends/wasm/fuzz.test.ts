import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { admit } from "../../../backends/wasm/admission/admit.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { directModule } from "./assembler.ts";
import { hostile } from "./hostile-calls.ts";

const fixtures = join(import.meta.dirname, "../../fixtures/wasm");
const read = (file: string) => new Uint8Array(readFileSync(join(fixtures, file)));

/** What is mutated: real modules, and the smallest of each trick. */
const corpus: readonly Uint8Array[] = [
  read("reference.wasm"),
  read("lines.wasm"),
  directModule(),
  ...Object.values(hostile).map(({ module }) => module),
];

type Mutation = (bytes: Uint8Array) => Uint8Array;

const interesting = [0x00, 0x01, 0x0b, 0x40, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xfe, 0xff];
const position = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });

/** One change: a byte, a bit, a piece taken away, doubled, or put in from elsewhere. */
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(position, fc.oneof(fc.constantFrom(...interesting), fc.nat(255))).map(([at, byte]) => set(at, () => byte)),
  fc.tuple(position, fc.nat(7)).map(([at, bit]) => set(at, (byte) => byte ^ (1 << bit))),
  fc.tuple(position, fc.nat(12)).map(
    ([at, length]) =>
      (bytes: Uint8Array) =>
        splice(bytes, at, length, []),
  ),
  fc.tuple(position, fc.uint8Array({ minLength: 1, maxLength: 8 })).map(
    ([at, piece]) =>
      (bytes: Uint8Array) =>
        splice(bytes, at, 0, piece),
  ),
  position.map((at) => (bytes: Uint8Array) => bytes.slice(0, Math.floor(at * bytes.byteLength))),
);

function set(at: number, change: (byte: number) => number): Mutation {
  return (bytes) => {
    const changed = bytes.slice();
    const index = Math.floor(at * bytes.byteLength);
    changed[index] = change(changed[index] ?? 0);
    return changed;
  };
}

function splice(bytes: Uint8Array, at: number, length: number, piece: ArrayLike<number>): Uint8Array {
  const index = Math.floor(at * bytes.byteLength);
  return Uint8Array.from([...bytes.subarray(0, index), ...Array.from(piece), ...bytes.subarray(index + length)]);
}

/** Refused as whose fault it is: never Internal, never another kind of error. */
const refusals = ["InvalidInput", "SandboxViolation", "NotFound"];

function outcomeOf(bytes: Uint8Array): string {
  try {
    admit({ bytes, abi: "Auto", entrypoint: "process", maxMemoryBytes: 4 * 1024 * 1024 });
    return "admitted";
  } catch (error) {
    if (error instanceof MillraceError && refusals.includes(error.code)) return error.code;
    throw error;
  }
}

describe("The admitter", function () {
  this.timeout(120_000);

  it("admits or refuses whatever it is given, and admits nothing that V8 would not", () => {
    const outcomes = new Map<string, number>();
    const property = fc.property(
      fc.constantFrom(...corpus),
      fc.array(mutation, { minLength: 1, maxLength: 3 }),
      (seed, mutations) => {
        const bytes = mutations.reduce((changed, mutate) => mutate(changed), seed);
        const outcome = outcomeOf(bytes);
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        return outcome !== "admitted" || WebAssembly.validate(bytes);
      },
    );
    fc.assert(property, { numRuns: 20_000 });
    // The mutations reach what is behind the header: some modules are still good, and each refusal occurs.
    expect([...outcomes.keys()]).to.include.members(["admitted", "InvalidInput", "SandboxViolation"]);
    expect(outcomes.get("admitted")).to.be.greaterThan(150);
  });

  it("refuses noise", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4096 }), (noise) => outcomeOf(noise) === "InvalidInput"),
      { numRuns: 2000 },
    );
  });

  it("refuses noise behind a header", () => {
    const header = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
    const property = fc.property(fc.uint8Array({ maxLength: 1024 }), (noise) => {
      expect(refusals).to.include(outcomeOf(Uint8Array.from([...header, ...noise])));
    });
    fc.assert(property, { numRuns: 5000 });
  });
});
