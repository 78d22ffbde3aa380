import { expect } from "chai";
import type { Backend, Implementation } from "../../backends/backend.ts";
import {
  type ConformanceCase,
  type ConformanceNeed,
  casesWithout,
  referenceName,
} from "../../backends/conformance/cases.ts";
import { type ConformanceResult, runConformance } from "../../backends/conformance/suite.ts";
import { systemPorts } from "../../engine/clock.ts";
import { digestOf } from "../../engine/payload.ts";
import { referenceBackend } from "./reference.ts";

/** A backend with the reference processor behind it, and how to take both down. */
export interface ConformanceTarget extends AsyncDisposable {
  readonly backend: Backend;
  readonly implementation: Implementation | ((one: ConformanceCase) => Implementation);
}

/**
 * One test a case: it must give what the case expects, and the very row that the reference gives as a built-in.
 *
 * @param start brings the target up; it is disposed when the last case has run
 * @param lacks what the target's contract has no way to say: cases that need it are none of its
 */
export function describeConformance(
  title: string,
  start: () => Promise<ConformanceTarget>,
  lacks: readonly ConformanceNeed[] = [],
): void {
  describe(title, function () {
    // A case may be the first that loads its module, or starts its workers: seconds on a machine with other work.
    this.timeout(60_000);
    let target: ConformanceTarget;
    let reference: Backend;
    before(async () => {
      target = await start();
      reference = referenceBackend();
    });
    after(async () => {
      await target?.[Symbol.asyncDispose]();
      await reference?.[Symbol.asyncDispose]();
    });
    for (const one of casesWithout(lacks)) {
      it(one.name, async () => {
        const { backend, implementation } = target;
        const chosen = typeof implementation === "function" ? implementation(one) : implementation;
        const [result] = await runConformance(backend, chosen, systemPorts, [one]);
        const builtin = { kind: "Builtin", name: referenceName } as const;
        const [wanted] = await runConformance(reference, builtin, systemPorts, [one]);
        expect(result?.differences).to.deep.equal([]);
        expect(comparable(result)).to.deep.equal(comparable(wanted));
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
