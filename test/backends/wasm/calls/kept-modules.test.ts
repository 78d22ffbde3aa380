import { expect } from "chai";
import { admit } from "../../../../backends/wasm/admission/admit.ts";
import { KeptModules } from "../../../../backends/wasm/calls/kept-modules.ts";
import { constant, directModule, dropped, end, i32 } from "../assembler.ts";
import { pageBytes, requestOf } from "../guests.ts";

/** Gives one byte: how many calls its instance has served; grows by so many pages in each. */
function counting(pages: number): Uint8Array {
  const grow = [...constant(pages), 0x40, 0, dropped];
  const count = [0x23, 0, ...constant(1), 0x6a, 0x24, 0, ...constant(0), 0x23, 0, 0x3a, 0, 0];
  return directModule({
    globals: [[i32, 1, ...constant(0), end]],
    process: [...grow, ...count, 0x42, 1, end],
  });
}

describe("The modules that a thread keeps", () => {
  it("are counted by what they keep, and not by what they kept before they grew too large", () => {
    const kept = new KeptModules(5 * pageBytes);
    const limits = { maxMemoryBytes: 64 * pageBytes, fuel: 1_000_000 };
    const serve = (id: string, bytes: Uint8Array): number | undefined => {
      const admitted = admit({ bytes, maxMemoryBytes: limits.maxMemoryBytes, abi: "Direct", entrypoint: "process" });
      const target = { ...admitted, entrypoint: "process", limits, reuse: 100 };
      const answer = kept.call({ kind: "Call", id, target, request: requestOf("") }, { log: () => undefined });
      return answer?.result.kind === "Output" ? answer.result.payload[0] : undefined;
    };
    const [small, growing] = [counting(0), counting(3)];
    expect(serve("small", small)).to.equal(1);
    expect([serve("growing", growing), serve("growing", growing)]).to.deep.equal([1, 2]);
    expect(serve("other", counting(2))).to.equal(1);
    expect(serve("small", small)).to.equal(2);
    expect(serve("growing", growing)).to.equal(1);
  });
});
