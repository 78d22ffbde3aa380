import { expect } from "chai";
import type { AdmissionRequest } from "../../../../backends/wasm/admission/admit.ts";
import { WasmWorkers } from "../../../../backends/wasm/calls/workers.ts";
import { ModuleNetwork } from "../../../../backends/wasm/network/network.ts";
import { systemPorts } from "../../../../engine/clock.ts";
import { directModule, end } from "../assembler.ts";

const never = new AbortController().signal;

/** `i32.const 0; drop`, so often that it takes a thread some time to meter and to compile it. */
function slowModule(): Uint8Array {
  const idle = Array.from({ length: 100_000 }, () => [0x41, 0, 0x1a]).flat();
  return directModule({ more: [[...idle, end]] });
}

describe("The threads that admit WASM modules", function () {
  this.timeout(60_000);
  let network: ModuleNetwork;
  let workers: WasmWorkers;
  beforeEach(() => {
    network = new ModuleNetwork();
    workers = new WasmWorkers({ ports: systemPorts, network });
  });
  afterEach(async () => {
    await workers[Symbol.asyncDispose]();
    await network[Symbol.asyncDispose]();
  });

  const request = (bytes: Uint8Array): AdmissionRequest => ({
    bytes,
    abi: "Auto",
    entrypoint: "process",
    maxMemoryBytes: 65_536,
  });

  it("are taken by turns of the namespaces: what one has queued holds up no neighbour", async () => {
    const slow = slowModule();
    const admitted: string[] = [];
    const admit = async (namespace: string, processor: string, bytes: Uint8Array) => {
      await workers.admit(request(bytes), { namespace, processor }, never);
      admitted.push(namespace);
    };
    const many = Array.from({ length: 40 }, (_, index) => admit("many", `words-${index}`, slow));
    await admit("one", "words", directModule());
    expect(admitted.filter((namespace) => namespace === "many").length).to.be.below(20);
    await Promise.all(many);
  });
});
