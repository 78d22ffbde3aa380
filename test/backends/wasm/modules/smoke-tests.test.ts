import { expect } from "chai";
import type { WasmBackend } from "../../../../backends/wasm/backend.ts";
import { type Ports, systemPorts } from "../../../../engine/clock.ts";
import { directModule, end } from "../assembler.ts";
import { backendOf, fuel, mebibyte, rejection, wasmSpec } from "../processors.ts";

const never = new AbortController().signal;
/** Its start function, the first after the two of the ABI, loops for ever. */
const spinning = directModule({ more: [[0x03, 0x40, 0x0c, 0, end, end]], start: 2 });
const limits = { maxMemoryBytes: mebibyte, fuel };

/** Real time, which the test can make later than it is. */
class ShiftedTime {
  laterMs = 0;
  readonly ports: Ports = {
    ...systemPorts,
    clock: { ...systemPorts.clock, monotonic: () => systemPorts.clock.monotonic() + this.laterMs },
  };
}

describe("A WASM module that never gets ready for a call", function () {
  this.timeout(60_000);
  let time: ShiftedTime;
  let backend: WasmBackend;
  beforeEach(() => {
    time = new ShiftedTime();
    backend = backendOf({ spinning }, { ports: time.ports, maxWorkers: 4 });
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  /** Whether it was tried: that takes 5 s, or as long as the fuel lasts. */
  async function isTried(changes: Parameters<typeof wasmSpec>[1] = {}, namespace = "test"): Promise<boolean> {
    const startMs = performance.now();
    const spec = { ...wasmSpec("spinning", { limits, ...changes }), namespace };
    const error = await rejection(backend.load(spec, never));
    expect(error.code).to.equal("SandboxViolation");
    expect(error.message).to.include("no instance of it gets ready for a call");
    return performance.now() - startMs > 4000;
  }

  it("is tried once, and refused then for five minutes without another try", async () => {
    expect(await isTried()).to.equal(true);
    expect(await isTried()).to.equal(false);
    time.laterMs = 290_000;
    expect(await isTried()).to.equal(false);
    time.laterMs = 301_000;
    expect(await isTried()).to.equal(true);
  });

  it("is tried again where it is given other fuel, or in another namespace", async () => {
    const others = [isTried(), isTried({ limits: { ...limits, fuel: fuel + 1 } }), isTried({}, "another")];
    expect(await Promise.all(others)).to.deep.equal([true, true, true]);
  });
});
