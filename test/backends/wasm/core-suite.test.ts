import { expect } from "chai";
import { Fuel, maxFuel } from "../../../backends/wasm/abis/fuel.ts";
import { startExport } from "../../../backends/wasm/abis/host-exports.ts";
import { contained } from "../../../backends/wasm/admission/admit.ts";
import { parseModule } from "../../../backends/wasm/binary/shape.ts";
import { readCoreSuite, runScript, type Treatment } from "./core-suite.ts";

/** As they are: what the runner itself gets wrong would show here. */
const untouched: Treatment = { rewrite: (bytes) => bytes, started: () => undefined, refuelled: () => undefined };

/** With their limits inside, and all the fuel that can be. What they import of each other no ABI gives, but it changes nothing here. */
function metered(): Treatment {
  const fuels = new WeakMap<WebAssembly.Instance, Fuel>();
  return {
    rewrite: (bytes) => {
      if (!WebAssembly.validate(bytes)) throw new Error("it is not valid");
      return contained(bytes, parseModule(bytes), 2 ** 32);
    },
    started: (instance) => {
      const fuel = new Fuel(instance.exports);
      fuels.set(instance, fuel);
      fuel.fill(maxFuel);
      (instance.exports[startExport] as (() => void) | undefined)?.();
    },
    refuelled: (instance) => fuels.get(instance)?.fill(maxFuel),
  };
}

/** Functions of an instance that could not be made, left in the table of another: nobody has given them fuel. No ABI lets modules share a table. */
const withoutFuel: Readonly<Record<string, readonly string[]>> = {
  "core/linking": [
    "line 275, assert_return: RuntimeError: unreachable",
    "line 288, assert_return: RuntimeError: unreachable",
  ],
};

/** What is refused, and why the module is. */
const refusedFiles: Readonly<Record<string, string>> = {
  "simd/simd_memory-multi": "2 memories",
};

describe("The WebAssembly core test suite", function () {
  this.timeout(60_000);
  let assertions = 0;

  for (const [name, script] of readCoreSuite()) {
    it(`holds for metered modules as for others: ${name}`, () => {
      const before = runScript(script, untouched);
      const after = runScript(script, metered());
      expect(before.failures, "the runner").to.deep.equal([]);
      expect(after.failures).to.deep.equal(withoutFuel[name] ?? []);
      const reason = refusedFiles[name];
      if (reason === undefined) expect(after.refused).to.deep.equal([]);
      else expect(after.refused.join()).to.include(reason);
      assertions += after.passed;
    });
  }

  it("was run, and not left out", () => {
    expect(assertions).to.be.greaterThan(52_000);
  });
});
