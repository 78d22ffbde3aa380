import { expect } from "chai";
import fc from "fast-check";
import type { FailedAttempt } from "../../../engine/run/retry.ts";
import { maxRetryAfterMs, retryDelayMs } from "../../../engine/run/retry.ts";
import { SlidingRetryBudgets } from "../../../engine/run/retry-budget.ts";
import { facts } from "../../support/pipelines.ts";
import { VirtualTime } from "../../support/virtual-time.ts";

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

describe("SlidingRetryBudgets", () => {
  const retries = (budgets: SlidingRetryBudgets, percent: number, processor = "p") => {
    let allowed = 0;
    while (budgets.mayRetry("ns", processor, percent)) allowed++;
    return allowed;
  };
  const calls = (budgets: SlidingRetryBudgets, count: number) => {
    for (let call = 0; call < count; call++) budgets.called("ns", "p");
  };

  it("allows ten retries in ten seconds, however few the calls", () => {
    expect(retries(new SlidingRetryBudgets(new VirtualTime().clock), 0)).to.equal(10);
  });

  it("allows the percentage of the calls where that is more", () => {
    const budgets = new SlidingRetryBudgets(new VirtualTime().clock);
    calls(budgets, 200);
    expect(retries(budgets, 20)).to.equal(40);
    calls(budgets, 50);
    expect(retries(budgets, 20)).to.equal(10);
  });

  it("keeps Processors and namespaces apart", () => {
    const budgets = new SlidingRetryBudgets(new VirtualTime().clock);
    retries(budgets, 20);
    expect(retries(budgets, 20, "q")).to.equal(10);
    expect(budgets.mayRetry("other", "p", 20)).to.equal(true);
    expect(budgets.mayRetry("ns", "p", 20)).to.equal(false);
  });

  it("forgets what is older than ten seconds, second by second", async () => {
    const time = new VirtualTime();
    const budgets = new SlidingRetryBudgets(time.clock);
    for (let retry = 0; retry < 4; retry++) budgets.mayRetry("ns", "p", 20);
    await time.advance(5_000);
    expect(retries(budgets, 20)).to.equal(6);
    await time.advance(4_999);
    expect(retries(budgets, 20)).to.equal(0);
    await time.advance(1);
    expect(retries(budgets, 20)).to.equal(4);
    await time.advance(60_000);
    expect(retries(budgets, 20)).to.equal(10);
  });

  it("keeps nothing of Processors that were not called for a while", async () => {
    const time = new VirtualTime();
    const budgets = new SlidingRetryBudgets(time.clock);
    for (let index = 0; index < 100; index++) budgets.called("ns", `p${index}`);
    expect(budgets.size).to.equal(100);
    await time.advance(11_000);
    budgets.called("ns", "q");
    expect(budgets.size).to.equal(1);
  });
});
