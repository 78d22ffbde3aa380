import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { dagwoodAbi } from "../../../backends/wasm/abis/dagwood.ts";
import type { GuestRequest, GuestResult } from "../../../backends/wasm/abis/guest.ts";
import { NoMemoryGiven } from "../../../backends/wasm/abis/traps.ts";
import { admit } from "../../../backends/wasm/admission/admit.ts";
import { assemble, end, i32 } from "./assembler.ts";
import { loadGuest, type OpenCall, openCall, outputText, pageBytes, requestOf, thrownBy } from "./guests.ts";

const reference = new Uint8Array(readFileSync(join(import.meta.dirname, "../../fixtures/wasm/reference-dagwood.wasm")));

type Guest = OpenCall<ReturnType<typeof dagwoodAbi.begin>>;
type Process = (guest: Guest, input: number, length: number, cell: number) => number;

/** A guest that is JavaScript: allocates from 1024 on, and notes what it is given back. */
function opened(process: Process, rest: Partial<GuestRequest> = {}) {
  const guest = openCall(dagwoodAbi, requestOf("mill", rest));
  const taken: [number, number][] = [];
  const freed: [number, number][] = [];
  let next = 1024;
  const exports = {
    allocate: (length: number) => {
      taken.push([next, length]);
      next += 512;
      return next - 512;
    },
    deallocate: (pointer: number, length: number) => void freed.push([pointer, length]),
    process: (input: number, length: number, cell: number) => process(guest, input, length, cell),
  };
  return { guest, exports, taken, freed, run: () => dagwoodAbi.invoke(guest.call, exports, "process") };
}

function setLength(guest: Guest, cell: number, length: number): void {
  new DataView(guest.memory.buffer).setUint32(cell, length, true);
}

const echo: Process = (guest, input, length, cell) => {
  setLength(guest, cell, length);
  return input;
};

function textOf(result: GuestResult): string {
  return outputText({ result, fuel: 0 });
}

describe("The Dagwood ABI", () => {
  it("is found by allocate and deallocate, and refused without one of them, with what was looked for", () => {
    const module = (deallocate: string) =>
      assemble({
        types: [
          [[i32], [i32]],
          [[i32, i32], []],
          [[i32, i32, i32], [i32]],
        ],
        functions: [
          [0, [0x20, 0, end]],
          [1, [end]],
          [2, [0x20, 0, end]],
        ],
        memories: [[0, 1]],
        exports: [
          ["memory", 2, 0],
          ["allocate", 0, 0],
          [deallocate, 0, 1],
          ["process", 0, 2],
        ],
      });
    const request = { maxMemoryBytes: pageBytes, abi: "Auto", entrypoint: "process" } as const;
    expect(admit({ ...request, bytes: module("deallocate") }).abi).to.equal("Dagwood");
    const refused = thrownBy(() => admit({ ...request, bytes: module("free") }));
    expect(refused.code).to.equal("InvalidInput");
    expect(refused.message)
      .to.include("Dagwood exports memory, allocate(i32) → i32")
      .and.include("(missing: deallocate)");
  });

  it("gives the input, its length and a cell that holds 0, and takes the output with the input's content type", () => {
    const { run, guest } = opened((inside, input, length, cell) => {
      expect(inside.textAt(input, length)).to.equal("mill");
      expect(inside.u32At(cell)).to.equal(0);
      inside.put(5000, "flour");
      setLength(inside, cell, 5);
      return 5000;
    });
    new Uint8Array(guest.memory.buffer).fill(0xff);
    const result = run();
    expect(textOf(result)).to.equal("flour");
    expect(result).to.include({ contentType: "text/plain" });
  });

  it("gives a pointer that is not null for an empty input, and takes an empty output", () => {
    const { run, taken } = opened(echo, { payload: new Uint8Array() });
    expect(textOf(run())).to.equal("");
    expect(taken).to.deep.equal([
      [1024, 1],
      [1536, 4],
    ]);
  });

  it("takes a null pointer for a failure", () => {
    expect(opened(() => 0).run()).to.deep.equal({
      kind: "Failure",
      error: { code: "Failed", message: "process gave a null pointer", retryable: false },
      metadata: {},
    });
    const { result } = loadGuest(reference, "fail")(requestOf("mill"));
    expect(result).to.have.property("error").that.includes({ code: "Failed" });
  });

  it("gives everything back once, and only to an instance that serves another call", () => {
    const { run, guest, exports, freed } = opened((inside, _input, _length, cell) => {
      setLength(inside, cell, 3);
      return 6000;
    });
    run();
    expect(freed).to.deep.equal([]);
    dagwoodAbi.release?.(guest.call, exports);
    expect(freed).to.deep.equal([
      [1024, 4],
      [1536, 4],
      [6000, 3],
    ]);
  });

  it("serves many calls by one instance within the memory of one", () => {
    const call = loadGuest(reference, "echo", { maxMemoryBytes: 16 * pageBytes, reuse: 1000 });
    const text = "x".repeat(20_000);
    for (let turn = 0; turn < 1000; turn += 1) {
      expect(outputText(call(requestOf(text, { maxOutputBytes: 20_000 }))).length).to.equal(20_000);
    }
  });

  it("is probed by what it allocates", () => {
    const { guest, exports, taken } = opened(echo);
    dagwoodAbi.probe?.(guest.call, exports);
    expect(taken).to.deep.equal([[1024, 1]]);
    expect(() => dagwoodAbi.probe?.(guest.call, { ...exports, allocate: () => 0 })).to.throw(NoMemoryGiven);
  });

  it("copies no output that is too large", () => {
    const large = opened((inside, input, _length, cell) => {
      setLength(inside, cell, 1001);
      return input;
    });
    expect(large.run()).to.deep.equal({ kind: "TooLarge", bytes: 1001 });
  });

  it("calls a module crashed that gives what lies outside of the memory, or takes no input", () => {
    const outside = (output: number, length: number) =>
      opened((inside, _input, _length, cell) => {
        setLength(inside, cell, length);
        return output;
      });
    for (const [output, length] of [
      [1, pageBytes],
      [-1, 1],
      [-8, 16],
      [8, 0xffff_ffff],
    ] as const) {
      expect(thrownBy(outside(output, length).run).code).to.equal("ProcessorCrashed");
    }
    for (const pointer of [pageBytes - 2, -4]) {
      const { guest, exports } = opened(echo);
      const run = () => dagwoodAbi.invoke(guest.call, { ...exports, allocate: () => pointer }, "process");
      expect(thrownBy(run).code).to.equal("ProcessorCrashed");
    }
  });

  it("crashes by an allocator that gives nothing, and calls it a violation where memory was refused", () => {
    const module = (allocate: readonly number[]) =>
      assemble({
        types: [
          [[i32], [i32]],
          [[i32, i32], []],
          [[i32, i32, i32], [i32]],
        ],
        functions: [
          [0, [...allocate, end]],
          [1, [end]],
          [2, [0x20, 0, end]],
        ],
        memories: [[0, 1]],
        exports: [
          ["memory", 2, 0],
          ["allocate", 0, 0],
          ["deallocate", 0, 1],
          ["process", 0, 2],
        ],
      });
    const code = (allocate: readonly number[]) => loadGuest(module(allocate))(requestOf("mill")).result;
    expect(code([0x41, 0])).to.include({ kind: "Error", code: "ProcessorCrashed" });
    // memory.grow(65,535), and 0.
    expect(code([0x41, 0xff, 0xff, 0x03, 0x40, 0, 0x1a, 0x41, 0])).to.include({ code: "SandboxViolation" });
  });
});
