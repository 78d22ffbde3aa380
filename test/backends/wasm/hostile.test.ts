import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import type { Caller } from "../../../backends/call.ts";
import type { WasmBackend } from "../../../backends/wasm/backend.ts";
import { hostile } from "./hostile-calls.ts";
import { refused } from "./hostile-refused.ts";
import {
  backendOf,
  callerOf,
  callWith,
  fuel,
  mebibyte,
  openWorkers,
  outputOf,
  rejection,
  wasmSpec,
} from "./processors.ts";

const reference = new Uint8Array(readFileSync(join(import.meta.dirname, "../../fixtures/wasm/reference.wasm")));

async function callOnce(caller: Caller): Promise<void> {
  await using called = caller;
  await callWith(called, "hello");
}

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

  for (const [what, { code, message, when, fuel: units = fuel }] of Object.entries(hostile)) {
    it(`that ${what} is ${when === "Load" ? "refused" : "ended"} with ${code}, and its neighbour goes on`, async () => {
      const maxMemoryBytes = (what.includes("60 MiB") ? 64 : 4) * mebibyte;
      const timeoutMs = code === "DeadlineExceeded" ? 150 : 10_000;
      const spec = wasmSpec(what, { limits: { maxMemoryBytes, fuel: units } }, { timeoutMs });
      const loaded = callerOf(backend, spec);
      const [error, text] = await Promise.all([
        rejection(when === "Load" ? loaded : loaded.then((caller) => callOnce(caller))),
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
