import { expect } from "chai";
import fc from "fast-check";
import type { FailedAttempt } from "../../engine/retry.ts";
import { maxRetryAfterMs, retryDelayMs } from "../../engine/retry.ts";
import { facts } from "../support/pipelines.ts";

const policy = { ...facts("p").retry, limit: 20 };
const middle = () => 0.5;
const failed = (more: Partial<FailedAttempt>): FailedAttempt => ({
  attempt: 1,
  code: "Unavailable",
  retryable: undefined,
  retryAfterMs: undefined,
  ...more,
});

describe("retryDelayMs", () => {
  const table: readonly [name: string, attempt: Partial<FailedAttempt>, delayMs: number | undefined][] = [
    ["waits the initial delay first", {}, 100],
    ["doubles it each time", { attempt: 4 }, 800],
    ["stops growing at the maximum", { attempt: 15 }, 10_000],
    ["gives up after the limit", { attempt: 21 }, undefined],
    ["gives up on a code that is not worth it", { code: "InvalidInput" }, undefined],
    ["believes the processor that says it is worth it", { code: "InvalidInput", retryable: true }, 100],
    ["believes the processor that says it is not", { retryable: false }, undefined],
    ["waits as long as it is asked to", { retryAfterMs: 3_000 }, 3_000],
    ["waits its own delay where it is asked for less", { retryAfterMs: 5 }, 100],
    ["waits a minute at most", { retryAfterMs: 1e12 }, maxRetryAfterMs],
  ];
  for (const [name, attempt, delayMs] of table) {
    it(name, () => expect(retryDelayMs(policy, failed(attempt), middle)).to.equal(delayMs));
  }

  it("strays by the jitter at most, and never below zero", () => {
    const percent = fc.integer({ min: 0, max: 100 });
    fc.assert(
      fc.property(percent, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (jitterPercent, random) => {
        const jittery = { ...policy, backoff: { ...policy.backoff, jitterPercent } };
        const delayMs = retryDelayMs(jittery, failed({}), () => random) ?? -1;
        expect(delayMs).to.be.within(100 - jitterPercent - 1e-9, 100 + jitterPercent + 1e-9);
      }),
    );
  });
});
