import { expect } from "chai";
import type { Logger } from "../../../controller/runtime/logger.ts";
import { runPeriodically } from "../../../controller/runtime/periodic.ts";
import { silentLogger, VirtualTime } from "./fakes.ts";

describe("periodic work", () => {
  it("is done after each interval, give or take a tenth, also after a failure, until it is told to end", async () => {
    const time = new VirtualTime(0.5);
    const ended = new AbortController();
    const warnings: string[] = [];
    const logger: Logger = { ...silentLogger, warn: (_fields, message) => void warnings.push(message) };
    let times = 0;
    const work = async () => {
      times += 1;
      if (times === 2) throw new Error("not this time");
    };
    const options = { ports: time.ports, logger, intervalMs: 1_000, failure: "it failed" };
    const running = runPeriodically(work, options, ended.signal);
    await time.advance(999);
    expect(times).to.equal(0);
    await time.advance(1);
    expect(times).to.equal(1);
    await time.advance(2_000);
    expect(times).to.equal(3);
    expect(warnings).to.deep.equal(["it failed"]);
    ended.abort(new Error("shuts down"));
    await running;
    expect(time.delays).to.deep.equal([]);
    expect(warnings).to.have.length(1);
  });

  for (const [random, delayMs] of [
    [0, 900],
    [0.75, 1_050],
  ] as const) {
    it(`waits for ${delayMs} of 1,000 ms by the dice's ${random}`, async () => {
      const time = new VirtualTime(random);
      const ended = new AbortController();
      const options = { ports: time.ports, logger: silentLogger, intervalMs: 1_000, failure: "" };
      const running = runPeriodically(async () => undefined, options, ended.signal);
      expect(time.delays).to.deep.equal([delayMs]);
      ended.abort();
      await running;
    });
  }
});
