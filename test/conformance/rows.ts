import { expect } from "chai";
import type { Backend, Implementation } from "../../backends/backend.ts";
import { conformanceCases } from "../../backends/conformance/cases.ts";
import { type ConformanceResult, runConformance } from "../../backends/conformance/suite.ts";
import { createLocalBackend } from "../../backends/local/backend.ts";
import { systemPorts } from "../../engine/clock.ts";
import { digestOf } from "../../engine/payload.ts";

/** A backend with the reference processor behind it, and how to take both down. */
export interface ConformanceTarget extends AsyncDisposable {
  readonly backend: Backend;
  readonly implementation: Implementation;
}

/**
 * One test a case: it must give what the case expects, and the very row that the built-in `test.reference` gives.
 *
 * @param start brings the target up; it is disposed when the last case has run
 */
export function describeConformance(title: string, start: () => Promise<ConformanceTarget>): void {
  describe(title, () => {
    let target: ConformanceTarget;
    let local: Backend;
    before(async () => {
      target = await start();
      local = createLocalBackend({ ports: systemPorts });
    });
    after(async () => {
      await target?.[Symbol.asyncDispose]();
      await local?.[Symbol.asyncDispose]();
    });
    for (const one of conformanceCases) {
      it(one.name, async () => {
        const [result] = await runConformance(target.backend, target.implementation, systemPorts, [one]);
        const [reference] = await runConformance(local, { kind: "Builtin", name: "test.reference" }, systemPorts, [
          one,
        ]);
        expect(result?.differences).to.deep.equal([]);
        expect(comparable(result)).to.deep.equal(comparable(reference));
      });
    }
  });
}

/** The row with a digest for its bytes (a megabyte is slow to compare), without the message where it is the backend's own. */
function comparable(result: ConformanceResult | undefined): object | undefined {
  if (result === undefined) return undefined;
  const { output, error, ...row } = result.row;
  const { message, ...others } = error ?? {};
  return {
    ...row,
    output: output === undefined ? undefined : { ...output, bytes: digestOf(output.bytes) },
    error: result.message === "Same" ? { ...others, message } : others,
  };
}
