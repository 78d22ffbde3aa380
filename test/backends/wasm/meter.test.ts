import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { directAbi } from "../../../backends/wasm/abis/direct.ts";
import { emptyMeter, Fuel, maxFuel } from "../../../backends/wasm/abis/fuel.ts";
import { type GuestAnswer, type GuestRequest, noCapabilities } from "../../../backends/wasm/abis/guest.ts";
import { GuestModule } from "../../../backends/wasm/abis/guest-module.ts";
import { admit } from "../../../backends/wasm/admission/admit.ts";
import { leb128 } from "../../../backends/wasm/binary/reader.ts";
import { leaveOut } from "../../support/left-out.ts";
import { assemble, constant, constant64, directModule, dropped, end, giveInput, i32, i64 } from "./assembler.ts";
import { metered, runMetered } from "./metered.ts";
import { program, programParameters } from "./programs.ts";

const block = 0x02;
const loop = 0x03;
const ifThen = 0x04;
const empty = 0x40;
const br = 0x0c;
const brIf = 0x0d;
const call = 0x10;
const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const lessOne = [...get(0), ...constant(1), 0x6b];
const stopAtZero = [...get(0), 0x45, ifThen, empty, ...get(0), 0x0f, end];
const spin = [loop, empty, br, 0, end];
const table = { tables: [[0x70, 0, 4]], elements: [[0, ...constant(0), end, 1, 0]] };

/** A module whose function 0 is exported as `run`. */
function running(...functions: readonly (readonly number[])[]): Uint8Array<ArrayBuffer> {
  return runningIn({}, ...functions);
}

function runningIn(
  parts: Partial<Parameters<typeof assemble>[0]>,
  ...functions: readonly (readonly number[])[]
): Uint8Array<ArrayBuffer> {
  return assemble({
    types: [
      [[], []],
      [[i32], [i32]],
    ],
    functions: functions.map((code) => [0, code] as const),
    exports: [["run", 0, 0]],
    ...parts,
  });
}

/** `run(n)`, of `(i32) → i32`. */
function counting(...functions: readonly (readonly number[])[]): Uint8Array<ArrayBuffer> {
  return runningIn({ functions: functions.map((code) => [1, code] as const) });
}

const withConstructor = [
  ["memory", 2, 0],
  ["millrace_alloc", 0, 0],
  ["process", 0, 1],
  ["_initialize", 0, 2],
] as const;

const guestRequest: GuestRequest = {
  payload: new TextEncoder().encode("hello"),
  contentType: "text/plain",
  metadata: {},
  options: {},
  context: {
    execution: { namespace: "test", name: "run", uid: "00000000-0000-0000-0000-000000000001" },
    step: "step",
    attempt: 1,
    idempotencyKey: "00000000-0000-0000-0000-000000000001/step",
    timeoutMs: 1000,
  },
  secrets: {},
  capabilities: noCapabilities,
  maxOutputBytes: 1024,
};

/** Counts its parameter down to 0 in a loop, with `body` in it. */
const countDown = (...body: readonly number[]) => [
  loop,
  empty,
  ...body,
  ...lessOne,
  0x22,
  0,
  brIf,
  0,
  end,
  ...get(0),
  end,
];

describe("Fuel", () => {
  const fixed: readonly (readonly [string, Uint8Array, readonly unknown[], number])[] = [
    ["an empty function", running([end]), [], 2],
    ["three instructions", running([0x01, 0x01, 0x01, end]), [], 5],
    ["both arms of an if", counting([...get(0), ifThen, empty, 0x01, 0x05, 0x01, 0x01, end, ...get(0), end]), [1], 8],
    ["a loop by its turns", counting(countDown()), [10], 3 + 10 * 6],
    ["a loop in a loop", counting(countDown(loop, empty, 0x01, end)), [10], 3 + 10 * (6 + 2)],
    ["a function that only it calls, with the call", running([call, 1, end], [0x01, end]), [], 2 + 1 + 3],
    [
      "a function that is exported, by itself",
      counting([...get(0), ifThen, empty, ...get(0), ...constant(1), 0x6b, call, 0, ...set(0), end, ...get(0), end]),
      [2],
      3 * 10,
    ],
    ["code that an early return leaves out, which nothing tells apart", running([0x0f, 0x01, end]), [], 4],
  ];
  for (const [what, module, parameters, units] of fixed) {
    it(`counts ${what}`, () => {
      const outcome = runMetered(module, parameters);
      expect(outcome).to.include({ ended: "returned", fuel: units });
      expect(runMetered(module, parameters, units).ended).to.equal("returned");
      expect(runMetered(module, parameters, units - 1)).to.include({ ended: "out of fuel", fuel: units - 1 });
    });
  }

  it("counts 50 for a call of the host's", () => {
    const bytes = runningIn({ imports: [["host", "note", [0x00, 0]]], exports: [["run", 0, 1]] }, [
      call,
      0,
      call,
      0,
      end,
    ]);
    expect(runMetered(bytes, [], 1000, { host: { note: () => undefined } }).fuel).to.equal(2 + 2 * 50);
  });

  it("counts a long stretch of a large loop only where it is reached", () => {
    const long = Array<number>(400).fill(0x01);
    const bytes = counting(countDown(...get(0), ...constant(1), 0x46, ifThen, empty, ...long, end));
    expect(runMetered(bytes, [10]).fuel).to.equal(3 + 10 * 10 + 400);
  });

  it("counts any number of such stretches", () => {
    const stretch = [...constant(0), brIf, 0, ...Array<number>(16).fill(0x01)];
    const bytes = running([...Array.from({ length: 200_000 }, () => stretch).flat(), end]);
    expect(runMetered(bytes, [], 100_000_000)).to.include({ ended: "returned", fuel: 4 + 200_000 * 18 - 2 });
  });

  const memory = { memories: [[0, 2]] };
  const lengths: readonly (readonly [string, Partial<Parameters<typeof assemble>[0]>, readonly number[], number])[] = [
    ["memory.fill", memory, [...constant(0), ...constant(7), ...get(0), 0xfc, 11, 0], 1 / 16],
    ["memory.copy", memory, [...constant(0), ...constant(0), ...get(0), 0xfc, 10, 0, 0], 1 / 16],
    ["memory.grow", memory, [...get(0), 0x40, 0, dropped], 4096],
    ["table.fill", table, [...constant(0), 0xd0, 0x70, ...get(0), 0xfc, 17, 0], 4],
    ["table.copy", table, [...constant(0), ...constant(0), ...get(0), 0xfc, 14, 0, 0], 4],
    ["table.grow", table, [0xd0, 0x70, ...get(0), 0xfc, 15, 0, dropped], 4],
  ];
  for (const [what, parts, code, units] of lengths) {
    it(`counts ${what} by its length`, () => {
      const length = units < 1 ? 65_536 : 4;
      const bytes = runningIn({ functions: [[1, [...code, ...get(0), end]]], ...parts });
      const none = runMetered(bytes, [0]);
      const some = runMetered(bytes, [length]);
      expect([none.ended, some.ended]).to.deep.equal(["returned", "returned"]);
      expect(some.fuel - none.fuel).to.equal(length * units);
      expect(runMetered(bytes, [length], some.fuel - 1).ended).to.equal("out of fuel");
    });
  }

  it("does not count growth that is refused", () => {
    const grow = [...get(0), 0x40, 0, end];
    const bytes = runningIn({ functions: [[1, grow]], memories: [[1, 1, 2]] });
    expect(runMetered(bytes, [60_000])).to.deep.equal({ ended: "returned", value: -1, fuel: 2 + 2 + 10 - 1 });
  });

  it("counts what making an instance costs, once", () => {
    const data = (bytes: number) => [0, ...constant(0), end, ...leb128(bytes), ...Array<number>(bytes).fill(1)];
    const usedBy = (bytes: number) => {
      const module = metered(runningIn({ memories: [[0, 1]], data: [data(bytes)] }, [end]));
      const fuel = new Fuel(new WebAssembly.Instance(new WebAssembly.Module(module)).exports);
      fuel.fill(10_000);
      return fuel.used;
    };
    expect(usedBy(16_016) - usedBy(16)).to.be.within(1000, 1001);
  });

  it("counts memory that is declared as memory that is grown by", () => {
    const usedBy = (pages: number) => {
      const module = metered(runningIn({ memories: [[0, ...leb128(pages)]] }, [end]));
      const fuel = new Fuel(new WebAssembly.Instance(new WebAssembly.Module(module)).exports);
      fuel.fill(maxFuel);
      return fuel.used;
    };
    expect(usedBy(9) - usedBy(1)).to.equal(8 * 4096);
  });

  it("stops a module that nobody gave fuel", () => {
    const instance = new WebAssembly.Instance(new WebAssembly.Module(metered(running([end]))));
    expect(instance.exports.run as () => void).to.throw(WebAssembly.RuntimeError);
  });

  it("is given up to its limit, charged by the host, and given anew", () => {
    const instance = new WebAssembly.Instance(new WebAssembly.Module(metered(running([end]))));
    const fuel = new Fuel(instance.exports);
    fuel.fill(maxFuel);
    fuel.charge(5000);
    expect(fuel.left).to.be.below(maxFuel - 5000);
    fuel.fill(100);
    expect(fuel.used).to.equal(0);
    expect(() => fuel.charge(101)).to.throw(/limit of 100 units/);
    expect([fuel.used, fuel.left, fuel.isExhausted, fuel.isTooDeep]).to.deep.equal([100, 0, true, false]);
  });

  const endless: Readonly<Record<string, Uint8Array>> = {
    "a loop": running([...spin, end]),
    "a loop in a block in an if": running([...constant(1), ifThen, empty, block, empty, ...spin, end, end, end]),
    "a br_table to a loop": running([loop, empty, ...constant(5), 0x0e, 2, 0, 0, 0, end, end]),
    "an if in a loop": running([loop, empty, ...constant(1), ifThen, empty, br, 1, end, end, end]),
    "a loop that calls an empty function": running([loop, empty, call, 1, br, 0, end, end], [end]),
    "a loop in a function that only it calls": running([call, 1, end], [...spin, end]),
    "a loop with call_indirect": runningIn(
      { ...table, elements: [[0, ...constant(0), end, 1, 1]] },
      [loop, empty, ...constant(0), 0x11, 0, 0, br, 0, end, end],
      [end],
    ),
    "calls that branch without going deep": counting([
      ...stopAtZero,
      ...lessOne,
      call,
      0,
      dropped,
      ...lessOne,
      call,
      0,
      end,
    ]),
  };
  for (const [what, module] of Object.entries(endless)) {
    it(`ends ${what}`, () => {
      expect(runMetered(module, [40], 100_000)).to.include({ ended: "out of fuel", fuel: 100_000 });
    });
  }
});

describe("A call of a metered module", () => {
  const maxMemoryBytes = 1024 * 1024;

  function answer(bytes: Uint8Array, fuel: number): GuestAnswer {
    const admitted = admit({ bytes, maxMemoryBytes, abi: "Direct", entrypoint: "process" });
    const target = { ...admitted, entrypoint: "process", limits: { maxMemoryBytes, fuel }, reuse: 1 };
    return new GuestModule(directAbi, target).call(guestRequest, { log: () => undefined });
  }

  it("says what it used, and does with just that", () => {
    const { result, fuel } = answer(directModule(), 1_000_000);
    expect(result.kind).to.equal("Output");
    expect(answer(directModule(), fuel).result.kind).to.equal("Output");
    expect(answer(directModule(), fuel - 1))
      .to.deep.include({ fuel: fuel - 1 })
      .and.to.have.nested.property("result.code", "SandboxViolation");
  });

  for (const [what, module, words] of [
    ["its entrypoint", directModule({ process: [...spin, 0x00, end] }), "limit of 50000 units"],
    ["its start function", directModule({ more: [[...spin, end]], start: 2 }), "limit of 50000 units"],
    ["a constructor", directModule({ more: [[...spin, end]], exports: withConstructor }), "limit of 50000 units"],
    [
      "the host, on its behalf",
      directModule({
        alloc: [...constant(0), 0x40, 0, dropped, ...constant(1024), end],
        imports: [["millrace", "log", [0x00, 4]]],
        process: [loop, empty, ...constant(0), ...constant(65_536), call, 0, br, 0, end, 0x00, end],
      }),
      "limit of 50000 units",
    ],
  ] as const) {
    it(`is ended when ${what} uses up its fuel, and says so`, () => {
      const { result, fuel } = answer(module, 50_000);
      expect(result).to.include({ kind: "Error", code: "SandboxViolation" });
      expect(result).to.have.property("message").that.includes(words).and.includes("spec.wasm.limits.fuel");
      expect(fuel).to.equal(50_000);
    });
  }

  it("is told apart from one that goes too deep, and from one that traps", () => {
    const deep = answer(directModule({ process: [0x20, 0, 0x20, 1, call, 1, end] }), 1_000_000_000);
    expect(deep.result).to.have.property("message").that.includes("deeper than its stack");
    const trapped = answer(directModule({ process: [0x00, end] }), 1_000_000);
    expect(trapped.result).to.include({ code: "ProcessorCrashed" });
    expect(trapped.fuel).to.be.above(0);
  });

  it("costs fuel for each name of its instance, of which there may be many thousand", () => {
    const exporting = (names: number) =>
      directModule({
        exports: [
          ["memory", 2, 0],
          ["millrace_alloc", 0, 0],
          ["process", 0, 1],
          ...Array.from({ length: names }, (_, index) => [`more${index}`, 0, 1] as const),
        ],
      });
    expect(answer(exporting(1000), 1_000_000).fuel - answer(exporting(0), 1_000_000).fuel).to.equal(200_000);
  });

  it("costs fuel for what the host copies, and more for what it reads as text", () => {
    const writing = (length: number) =>
      directModule({
        imports: [["millrace", "log", [0x00, 4]]],
        process: [...constant(0), ...constant(length), call, 0, ...giveInput],
      });
    expect(answer(writing(64_000), 1_000_000).fuel - answer(writing(0), 1_000_000).fuel).to.equal(1000 + 64_000);
  });
});

describe("The stack that a module may take", () => {
  const endless: Readonly<Record<string, Uint8Array>> = {
    "a function that calls itself": running([call, 0, end]),
    "functions that call each other": running([call, 1, end], [call, 0, end]),
    "a function that calls itself in a loop": running([call, 1, end], [loop, empty, call, 1, br, 0, end, end]),
    "a function that calls itself through a table": runningIn(
      { ...table, elements: [[0, ...constant(0), end, 1, 0]] },
      [...constant(0), 0x11, 0, 0, end],
    ),
  };
  for (const [what, module] of Object.entries(endless)) {
    it(`ends ${what}`, () => expect(runMetered(module, []).ended).to.equal("too deep"));
  }

  const nested = counting([...stopAtZero, ...lessOne, call, 0, end]);

  it("suffices for thousands of small frames", () => {
    expect(runMetered(nested, [4000]).ended).to.equal("returned");
    expect(runMetered(nested, [1_000_000]).ended).to.equal("too deep");
  });

  it("leaves room for the host's own calls, whatever calls them", () => {
    const bytes = runningIn({ imports: [["host", "note", [0x00, 0]]], exports: [["run", 0, 1]] }, [
      call,
      0,
      call,
      1,
      end,
    ]);
    const descend = (levels: number): number => (levels === 0 ? 0 : 1 + descend(levels - 1));
    expect(runMetered(bytes, [], 100_000_000, { host: { note: () => void descend(500) } }).ended).to.equal("too deep");
  });

  for (const [what, exit] of [
    ["at its end", []],
    ["by return", [0x0f]],
    ["by a branch out of all blocks", [block, empty, br, 1, end]],
    ["by a branch in a loop", [loop, empty, br, 1, end]],
    ["by a branch that is not always taken", [...constant(1), brIf, 0]],
    ["by br_table", [block, empty, ...constant(0), 0x0e, 1, 1, 0, end]],
  ] as const) {
    it(`is given back by a function that is left ${what}`, () => {
      const bytes = runningIn({
        functions: [
          [1, countDown(call, 1)],
          [0, [call, 2, ...exit, end]],
          [0, [end]],
        ],
        exports: [
          ["run", 0, 0],
          ["middle", 0, 1],
          ["leaf", 0, 2],
        ],
      });
      expect(runMetered(bytes, [100_000], 100_000_000)).to.include({ ended: "returned", value: 0 });
    });
  }

  it("refuses a function that would take too much of it at once", () => {
    const wide = assemble({
      types: [
        [Array<number>(900).fill(i64), []],
        [[], []],
      ],
      functions: [
        [
          1,
          [...Array.from({ length: 20_000 }, () => constant64(1n)).flat(), ...Array<number>(20_000).fill(dropped), end],
        ],
      ],
    });
    expect(() => metered(wide)).to.throw(/bytes of stack/);
  });
});

describe("A metered program", function () {
  this.timeout(60_000);

  it("gives what it gave before, and needs just the fuel that it used", () => {
    fc.assert(
      fc.property(program, programParameters, (bytes, parameters) => {
        const plain = plainly(bytes, parameters);
        const outcome = runMetered(bytes, parameters, 10_000_000);
        expect(outcome.ended === "returned" ? outcome.value : outcome.ended).to.equal(plain);
        if (outcome.ended !== "returned") return;
        expect(runMetered(bytes, parameters, outcome.fuel)).to.deep.equal(outcome);
        expect(runMetered(bytes, parameters, outcome.fuel - 1).ended).to.equal("out of fuel");
      }),
      { numRuns: 500 },
    );
  });

  const programs = fc.sample(fc.tuple(program, programParameters), { numRuns: 60, seed: 5 });
  const recursions: readonly Uint8Array[] = [
    counting([...get(0), ...constant(1), 0x6b, call, 0, end]),
    deepFrames(300),
    repeated(150),
  ];
  const cases = [
    ...programs.flatMap(([bytes, parameters]) => [
      caseOf(bytes, parameters, 10_000_000),
      caseOf(bytes, parameters, 60),
    ]),
    ...recursions.map((bytes) => caseOf(bytes, [1_000_000], 1_000_000_000)),
  ];
  let folder: string;
  let file: string;
  let expected: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), "millrace-meter-"));
    file = join(folder, "cases.json");
    writeFileSync(file, JSON.stringify(cases));
    expected = drive(process.execPath, []);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  function drive(node: string, flags: readonly string[]): string {
    return execFileSync(node, [...flags, join(import.meta.dirname, "meter-driver.mjs"), file], { encoding: "utf8" });
  }

  it("is stopped by its count of the stack, never by V8's own", () => {
    const outcomes = JSON.parse(expected) as readonly (readonly [unknown, string])[];
    for (const [ended] of outcomes) expect(ended).not.to.equal("RangeError");
    for (const [ended] of outcomes.slice(-recursions.length)) expect(ended).to.equal("RuntimeError");
  });

  for (const flags of [["--liftoff-only"], ["--no-liftoff"], ["--no-wasm-inlining", "--no-liftoff"]]) {
    it(`ends alike, and counts alike, with ${flags.join(" ")}`, () =>
      expect(drive(process.execPath, flags)).to.equal(expected));
  }

  it("ends alike, and counts alike, on another Node", function () {
    const paths = (process.env.PATH ?? "").split(delimiter).map((path) => join(path, "node"));
    const other = paths.find((path) => existsSync(path) && majorOf(path) !== majorOf(process.execPath));
    if (other === undefined)
      return leaveOut(this, "node", "needs another major of Node on the PATH than the tests' own");
    expect(drive(other, [])).to.equal(expected);
  });
});

function majorOf(node: string): string | undefined {
  return execFileSync(node, ["--version"], { encoding: "utf8" }).split(".")[0];
}

/** What the export `run` gives without metering, or that it traps. */
function plainly(bytes: Uint8Array, parameters: readonly number[]): unknown {
  const { run } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
  try {
    return (run as (...values: readonly number[]) => number)(...parameters);
  } catch (thrown) {
    if (thrown instanceof WebAssembly.RuntimeError) return "trapped";
    throw thrown;
  }
}

function caseOf(bytes: Uint8Array, parameters: readonly number[], units: number): object {
  const module = Buffer.from(metered(bytes)).toString("base64");
  return { module, parameters, meter: String(emptyMeter - (BigInt(units) << 16n)), rounds: 200 };
}

/** Recursion with so many operands on the stack. */
function deepFrames(operands: number): Uint8Array {
  const pushed = Array.from({ length: operands }, (_, index) => [...get(0), ...constant(index + 3), 0x6c]).flat();
  const folded = Array<number>(operands).fill(0x73);
  return counting([...pushed, ...get(0), ...constant(1), 0x6b, call, 0, ...folded, end]);
}

/** Recursion between two equal computations, whose values TurboFan keeps meanwhile. */
function repeated(values: number): Uint8Array {
  const sum = Array.from({ length: values }, (_, index) => [
    ...get(0),
    ...constant(7919 * index + 3),
    0x6c,
    0x73,
  ]).flat();
  return counting([...constant(1), ...sum, ...get(0), ...constant(1), 0x6b, call, 0, 0x6a, ...sum, end]);
}
