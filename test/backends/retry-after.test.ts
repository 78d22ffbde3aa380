import { expect } from "chai";
import fc from "fast-check";
import { retryAfterMs } from "../../backends/retry-after.ts";

describe("Retry-After", () => {
  const now = Date.parse("2026-11-23T03:00:00Z");
  const rows = [
    ["0", 0],
    ["120", 120_000],
    [" 5 ", 5000],
    ["999999999999999", 2 ** 31 - 1],
    ["Mon, 23 Nov 2026 03:00:30 GMT", 30_000],
    ["Monday, 23-Nov-26 03:00:30 GMT", 30_000],
    ["Mon Nov 23 03:00:30 2026", 30_000],
    ["Mon, 23 Nov 2026 02:00:00 GMT", 0],
    ["Mon, 23 Nov 2099 02:00:00 GMT", 2 ** 31 - 1],
    ["-1", undefined],
    ["1.5", undefined],
    ["", undefined],
    ["soon", undefined],
    ["Mon, 99 Nov 2026 03:00:30 GMT", undefined],
    [undefined, undefined],
  ] as const;
  for (const [value, expected] of rows) {
    it(`reads ${JSON.stringify(value) ?? "its absence"} as ${expected} ms`, () => {
      expect(retryAfterMs(value, now)).to.equal(expected);
    });
  }

  it("gives a delay that a timer takes, or none, whatever the server sends", () => {
    fc.assert(
      fc.property(fc.string(), (value) => {
        const delay = retryAfterMs(value, now);
        if (delay !== undefined) expect(delay).to.be.within(0, 2 ** 31 - 1);
      }),
    );
  });
});
