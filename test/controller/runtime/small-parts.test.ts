import { expect } from "chai";
import fc from "fast-check";
import { backoffMs } from "../../../controller/runtime/backoff.ts";
import { microTime } from "../../../controller/runtime/micro-time.ts";
import { keyFor, refOf } from "../../../controller/runtime/object-key.ts";
import { isOlder } from "../../../controller/runtime/resource-version.ts";

const at = (seconds: number) => Date.UTC(2026, 10, 23, 12, 0, seconds, 789);

describe("the small pure parts of the runtime", () => {
  it("compare resource versions as numbers of any length", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 24n }), fc.bigInt({ min: 0n, max: 10n ** 24n }), (a, b) => {
        expect(isOlder(String(a), String(b))).to.equal(a < b);
      }),
    );
    expect(isOlder("", "1")).to.equal(true);
  });

  it("turn references into keys and back", () => {
    for (const ref of [{ namespace: "team", name: "article" }, { name: "cluster-wide" }]) {
      expect(refOf(keyFor(ref))).to.deep.equal(ref);
    }
  });

  it("back off exponentially up to the limit, never before Retry-After", () => {
    const policy = { initialMs: 100, factor: 2, maxMs: 1_000, jitter: 0.5 };
    const delays = [0, 1, 2, 3, 4, 50].map((retry) => backoffMs(policy, retry, () => 0));
    expect(delays).to.deep.equal([100, 200, 400, 800, 1_000, 1_000]);
    expect(backoffMs(policy, 0, () => 0.5)).to.equal(125);
    fc.assert(
      fc.property(
        fc.nat(20),
        fc.integer({ min: 1, max: 60_000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (retry, after, random) => {
          expect(backoffMs(policy, retry, () => random, after)).to.be.at.least(after);
        },
      ),
    );
  });

  it("write a Lease's times with six digits", () => {
    expect(microTime(at(0))).to.equal("2026-11-23T12:00:00.789000Z");
  });
});
