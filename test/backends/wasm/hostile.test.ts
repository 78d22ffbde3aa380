import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import type { Caller } from "../../../backends/call.ts";
import type { WasmBackend } from "../../../backends/wasm/backend.ts";
import { leb128 } from "../../../backends/wasm/binary-reader.ts";
import type { ErrorCode } from "../../../engine/errors.ts";
import { constant, directModule, dropped, end, giveInput, i32, result, unreachable } from "./assembler.ts";
import { backendOf, callerOf, callWith, mebibyte, openWorkers, outputOf, rejection, wasmSpec } from "./processors.ts";

/** `loop br 0 end`, and what the validator wants after it. */
const spin = [0x03, 0x40, 0x0c, 0, end];
const page = 65_536;
const reference = new Uint8Array(readFileSync(join(import.meta.dirname, "../../fixtures/wasm/reference.wasm")));

/** Grows page by page until growth fails, then traps. */
const growWithoutEnd = [0x03, 0x40, ...constant(1), 0x40, 0, ...constant(-1), 0x47, 0x0d, 0, end, unreachable];

/** Adds one to the number at 0. */
const countUp = [...constant(0), ...constant(0), 0x28, 2, 0, ...constant(1), 0x6a, 0x36, 2, 0];
/** Calls `set_metadata` with the three bytes at 0 as key and 8,000 bytes as value. */
const setEntry = [...constant(0), ...constant(3), ...constant(16), ...constant(8000), 0x10, 0];

/** A module, and how a call of it must end. */
interface Hostile {
  readonly module: Uint8Array;
  readonly code: ErrorCode;
  /** What the message must hold. */
  readonly message?: string;
}

const hostile: Readonly<Record<string, Hostile>> = {
  "spins in its entrypoint": {
    module: directModule({ process: [...spin, unreachable, end] }),
    code: "DeadlineExceeded",
  },
  "spins in its start function": {
    module: directModule({ more: [[...spin, end]], start: 2 }),
    code: "DeadlineExceeded",
  },
  "spins in its allocator": { module: directModule({ alloc: [...spin, unreachable, end] }), code: "DeadlineExceeded" },
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
  },
  "gives no memory for its input of its own accord": {
    module: directModule({ alloc: [...constant(0), end] }),
    code: "ProcessorCrashed",
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
    code: "ProcessorCrashed",
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
    code: "ProcessorCrashed",
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
};

describe("A hostile WASM module", function () {
  this.timeout(20_000);
  let backend: WasmBackend;
  let neighbour: Caller;
  let workersBefore: number;

  before(async () => {
    workersBefore = openWorkers();
    const modules = Object.fromEntries(Object.entries(hostile).map(([name, { module }]) => [name, module]));
    backend = backendOf({ ...modules, reference });
    neighbour = await callerOf(backend, wasmSpec("reference"));
  });

  after(async () => {
    await neighbour?.[Symbol.asyncDispose]();
    await backend?.[Symbol.asyncDispose]();
    expect(openWorkers()).to.be.at.most(workersBefore);
  });

  for (const [what, { code, message }] of Object.entries(hostile)) {
    it(`that ${what} is ended with ${code}, and its neighbour goes on`, async () => {
      const memory = what.includes("60 MiB") ? { maxMemoryBytes: 64 * mebibyte } : {};
      await using caller = await callerOf(
        backend,
        wasmSpec(what, memory, { timeoutMs: code === "DeadlineExceeded" ? 150 : 10_000 }),
      );
      const [error, text] = await Promise.all([
        rejection(callWith(caller, "hello")),
        callWith(neighbour, "still here", { behaviour: "uppercase" }).then(outputOf),
      ]);
      expect(error.code, error.message).to.equal(code);
      if (message !== undefined) expect(error.message).to.include(message);
      expect(text).to.equal("STILL HERE");
    });
  }

  it("that spins in as many calls as it may leaves its neighbours a worker", async () => {
    const spec = wasmSpec("spins in its entrypoint", {}, { timeoutMs: 1000, maxConcurrency: 1000 });
    await using caller = await callerOf(backend, spec);
    const abort = new AbortController();
    const spinning = Array.from({ length: 40 }, () => rejection(callWith(caller, "hello", {}, abort.signal)));
    for (let call = 0; call < 50; call++) {
      expect(await outputOf(await callWith(neighbour, `call ${call}`, { behaviour: "echo" }))).to.equal(`call ${call}`);
    }
    abort.abort();
    for (const error of await Promise.all(spinning)) expect(error.code).to.be.oneOf(["DeadlineExceeded", "Cancelled"]);
  });
});

describe("A hostile WASM module that is refused when it is loaded", () => {
  const refused: readonly (readonly [string, Uint8Array, ErrorCode])[] = [
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
  ];
  let backend: WasmBackend;
  let workersBefore: number;

  before(() => {
    workersBefore = openWorkers();
    backend = backendOf(Object.fromEntries(refused.map(([what, module]) => [what, module])));
  });
  after(async () => {
    await backend[Symbol.asyncDispose]();
    expect(openWorkers()).to.be.at.most(workersBefore);
  });

  for (const [what, , code] of refused) {
    it(`because it ${what} is refused with ${code}`, async () => {
      const error = await rejection(backend.load(wasmSpec(what), new AbortController().signal));
      expect(error.code, error.message).to.equal(code);
    });
  }
});
