import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { directAbi } from "../../../backends/wasm/abis/direct.ts";
import type { GuestRequest, GuestResult } from "../../../backends/wasm/abis/guest.ts";
import { GuestModule } from "../../../backends/wasm/abis/guest-module.ts";
import { admit } from "../../../backends/wasm/admission/admit.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { constant, type DirectParts, directModule, dropped, end, giveInput, result } from "./assembler.ts";
import { openCall, requestOf as request } from "./guests.ts";

const page = 65_536;
const unheard = () => undefined;

/** One module's calls, what is thrown for errors again. */
interface Loaded {
  call(request: GuestRequest, log: (line: string, cutBytes?: number) => void): GuestResult;
}

function load(bytes: Uint8Array, entrypoint = "process"): Loaded {
  const limits = { maxMemoryBytes: 16 * page, fuel: 1_000_000_000 };
  const admitted = admit({ bytes, maxMemoryBytes: limits.maxMemoryBytes, abi: "Direct", entrypoint });
  const module = new GuestModule(directAbi, { ...admitted, entrypoint, limits, reuse: 1 });
  return {
    call(request, log) {
      const { result } = module.call(request, { log });
      if (result.kind === "Error") throw new MillraceError(result.code, result.message);
      return result;
    },
  };
}

function textOf(answer: GuestResult): string {
  if (answer.kind !== "Output") throw new Error(`it gave ${answer.kind}`);
  return new TextDecoder().decode(answer.payload);
}

function refusal(call: () => unknown): MillraceError {
  try {
    call();
  } catch (thrown) {
    if (thrown instanceof MillraceError) return thrown;
    throw thrown;
  }
  throw new Error("it was not refused");
}

const importTypes = {
  content_type: 3,
  options: 3,
  metadata: 3,
  context: 3,
  set_content_type: 4,
  set_metadata: 5,
  set_error: 6,
  log: 4,
};

/** A module that imports one function as function 0. */
function importing(name: keyof typeof importTypes, process: readonly number[], rest: DirectParts = {}): Uint8Array {
  return directModule({ imports: [["millrace", name, [0x00, importTypes[name]]]], process, ...rest });
}

/** `call 0`, then `(2048 << 32) | its result`. */
const readAndPack = [0x10, 0, 0xad, 0x42, 0x80, 0x10, 0x42, 32, 0x86, 0x84, end];

/** Reads by the import into the buffer at 2048, and gives what it wrote: `(2048 << 32) | length`. */
const readInto = (capacity: number) => [...constant(2048), ...constant(capacity), ...readAndPack];

describe("The Direct ABI", () => {
  it("hands the input over and takes the result", () => {
    expect(textOf(load(directModule()).call(request("Grüße"), unheard))).to.equal("Grüße");
  });

  it("calls with null and 0 for an empty input, without allocating", () => {
    const module = load(directModule({ alloc: [0x00, end] }));
    expect(textOf(module.call(request(""), unheard))).to.equal("");
  });

  it("gives each call an instance of its own", () => {
    // Gives the byte at 0, after adding one to it.
    const counter = [...constant(0), ...constant(0), 0x2d, 0, 0, ...constant(1), 0x6a, 0x3a, 0, 0, ...result(0, 1)];
    const module = load(directModule({ process: counter }));
    expect(textOf(module.call(request(""), unheard))).to.equal("\u0001");
    expect(textOf(module.call(request(""), unheard))).to.equal("\u0001");
  });

  it("gives a content type that nobody set as bytes", () => {
    const answer = load(directModule()).call(request("a"), unheard);
    expect(answer).to.include({ kind: "Output", contentType: "application/octet-stream" });
  });

  const readings = {
    content_type: "text/plain",
    options: '{"depth":2}',
    metadata: '{"up.note":"ripe"}',
    context:
      '{"execution":{"namespace":"test","name":"run","uid":"u"},"step":"step","attempt":3,"idempotencyKey":"u/step","timeoutMs":500}',
  } as const;
  for (const [name, text] of Object.entries(readings)) {
    it(`gives ${name} whole, and its whole length when the buffer is too small`, () => {
      const key = name as keyof typeof readings;
      expect(textOf(load(importing(key, readInto(1000))).call(request(""), unheard))).to.equal(text);
      const short = textOf(load(importing(key, readInto(4))).call(request(""), unheard));
      expect(short).to.equal(text.slice(0, 4) + "\0".repeat(text.length - 4));
    });
  }

  it("tells the time that is left in whole milliseconds, so that reading it costs the same in every call", () => {
    const { context } = request("");
    const told = [29_999.25, 29_998.123456789].map((timeoutMs) =>
      textOf(
        load(importing("context", readInto(1000))).call(request("", { context: { ...context, timeoutMs } }), unheard),
      ),
    );
    expect(told.map((text) => JSON.parse(text).timeoutMs)).to.deep.equal([29_999, 29_998]);
  });

  it("refuses a buffer to read into that lies outside of the memory, also when it would wrap around", () => {
    for (const [pointer, capacity] of [
      [page - 1, 2],
      [-1, 1],
      [16, -1],
      [page, 1],
    ] as const) {
      const process = [...constant(pointer), ...constant(capacity), 0x10, 0, dropped, ...giveInput];
      expect(refusal(() => load(importing("options", process)).call(request(""), unheard)).code).to.equal(
        "ProcessorCrashed",
      );
    }
  });

  it("lets the guest pay for all that the host makes of a text, however little of it fits", () => {
    const token = "é".repeat(100_000);
    const guest = openCall(directAbi, request("", { secrets: { token }, options: { text: token } }));
    const { call } = guest;
    const host = directAbi.imports(() => call).millrace as Record<string, (...parameters: number[]) => unknown>;
    guest.put(0, "token");
    for (const [name, ...parameters] of [
      ["secret", 0, 5, 0, 0],
      ["options", 0, 0],
      ["options", 16, 4],
    ] as const) {
      const before = call.fuel.used;
      host[name]?.(...parameters);
      expect(call.fuel.used - before, name).to.be.above(200_000);
    }
  });

  it("takes an empty buffer at the very end of the memory", () => {
    const process = [...constant(page), ...constant(0), 0x10, 0, dropped, ...giveInput];
    expect(textOf(load(importing("options", process)).call(request(""), unheard))).to.equal("");
  });

  it("refuses text outside of the memory, that is not UTF-8, or that is too long", () => {
    const setType = (pointer: number, length: number) =>
      importing("set_content_type", [...constant(pointer), ...constant(length), 0x10, 0, ...giveInput], {
        data: [[0, ...constant(8), end, 2, 0xff, 0xfe]],
      });
    const codeOf = (bytes: Uint8Array) => refusal(() => load(bytes).call(request(""), unheard)).code;
    expect(codeOf(setType(page, 1))).to.equal("ProcessorCrashed");
    expect(codeOf(setType(8, 2))).to.equal("ProcessorCrashed");
    expect(codeOf(setType(0, -1))).to.equal("PayloadTooLarge");
    expect(codeOf(setType(0, 257))).to.equal("PayloadTooLarge");
  });

  it("takes a declared failure, and no result with it", () => {
    const data = [[0, ...constant(8), end, 8, ...new TextEncoder().encode("Busywait")]];
    const parameters = [8, 4, 12, 4, 1].flatMap((value) => constant(value));
    const answer = load(importing("set_error", [...parameters, 0x10, 0, ...result(-1, -1)], { data })).call(
      request(""),
      unheard,
    );
    expect(answer).to.deep.equal({
      kind: "Failure",
      error: { code: "Busy", message: "wait", retryable: true },
      metadata: {},
    });
  });

  it("does not copy a result over the limit, but says its size", () => {
    const module = load(directModule({ process: result(0, 1001) }));
    expect(module.call(request(""), unheard)).to.deep.equal({ kind: "TooLarge", bytes: 1001 });
    expect(module.call(request("", { maxOutputBytes: 1001 }), unheard).kind).to.equal("Output");
  });

  it("runs the start function, then _initialize, before it hands anything over", () => {
    // Start adds 1 to the byte at 0, _initialize doubles it: 2, not 1.
    const byte = [...constant(0), ...constant(0), 0x2d, 0, 0];
    const module = load(
      directModule({
        process: result(0, 1),
        more: [
          [...byte, ...constant(1), 0x6a, 0x3a, 0, 0, end],
          [...byte, ...constant(2), 0x6c, 0x3a, 0, 0, end],
        ],
        start: 2,
        exports: [
          ["memory", 2, 0],
          ["millrace_alloc", 0, 0],
          ["process", 0, 1],
          ["_initialize", 0, 3],
        ],
      }),
    );
    expect(textOf(module.call(request(""), unheard))).to.equal("\u0002");
  });

  it("runs a module that AssemblyScript made", () => {
    const bytes = new Uint8Array(readFileSync(join(import.meta.dirname, "../../fixtures/wasm/lines.wasm")));
    const module = load(bytes, "count");
    const answer = module.call(request("one two\nthree\n"), unheard);
    expect(textOf(answer)).to.equal('{"lines":2,"words":3}');
    expect(answer).to.deep.include({ contentType: "application/json", metadata: { lines: "2", words: "3" } });
    expect(module.call(request("a\0b"), unheard)).to.deep.include({
      kind: "Failure",
      error: { code: "InvalidInput", message: "a text was expected, but byte 1 is zero", retryable: false },
    });
  });

  /** Logs `length` bytes from `pointer` on, and gives an empty result. */
  const logging = (pointer: number, length: number, text: Uint8Array, pages = 1) =>
    importing("log", [...constant(pointer), ...constant(length), 0x10, 0, ...result(0, 0)], {
      memories: [[0, pages]],
      data: [[0, ...constant(8), end, text.length, ...text]],
    });

  it("takes what is logged, what is no UTF-8 as well as may be", () => {
    const heard: [string, number | undefined][] = [];
    const text = new Uint8Array([0x61, 0xff, 0x62]);
    load(logging(8, 3, text)).call(request("a"), (line, cutBytes) => heard.push([line, cutBytes]));
    expect(heard).to.deep.equal([["a\ufffdb", 0]]);
  });

  it("cuts a text that is too long to be a log, and says by how much", () => {
    const heard: [number, number | undefined][] = [];
    const log = (line: string, cutBytes?: number) => void heard.push([line.length, cutBytes]);
    load(logging(8, 200_000, new Uint8Array(1), 4)).call(request("a"), log);
    expect(heard).to.deep.equal([[131_072, 68_928]]);
  });

  it("calls it crashed when what it logs lies outside of its memory", () => {
    const error = refusal(() => load(logging(page - 1, 100_000_000, new Uint8Array(1))).call(request("a"), unheard));
    expect(error).to.include({ code: "ProcessorCrashed" });
    expect(error.message).to.include("a text to log lies outside of the memory");
  });
});
