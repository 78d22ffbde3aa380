import { expect } from "chai";
import fc from "fast-check";
import { parseBytes, parseDurationMs } from "../../../controller/api/quantities.ts";
import { MillraceError } from "../../../engine/errors.ts";

describe("durations", () => {
  for (const [text, ms] of [
    ["1ms", 1],
    ["250ms", 250],
    ["30s", 30_000],
    ["1.5s", 1_500],
    ["1h30m", 5_400_000],
    ["0.2ms", 1],
  ] as const) {
    it(`reads ${text} as ${ms} ms`, () => expect(parseDurationMs(text, "spec.timeout")).to.equal(ms));
  }

  for (const text of ["", "0s", "0.0ms", "-5s", "5", "5 s", "1d", "1e3s", "s", ".5s", "5s\n"]) {
    it(`refuses ${JSON.stringify(text)} and names the field`, () => {
      expect(() => parseDurationMs(text, "spec.timeout"))
        .to.throw(MillraceError, "spec.timeout")
        .with.property("code", "InvalidInput");
    });
  }

  it("adds up what is written one after another", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 999 }), fc.integer({ min: 1, max: 999 }), (minutes, seconds) => {
        expect(parseDurationMs(`${minutes}m${seconds}s`, "f")).to.equal(minutes * 60_000 + seconds * 1_000);
      }),
    );
  });
});

describe("sizes in bytes", () => {
  for (const [quantity, bytes] of [
    [4096, 4096],
    ["4096", 4096],
    ["1k", 1000],
    ["1.5Ki", 1536],
    ["64Mi", 67_108_864],
    ["4Gi", 4_294_967_296],
    ["2M", 2_000_000],
  ] as const) {
    it(`reads ${quantity} as ${bytes} bytes`, () => expect(parseBytes(quantity, "f")).to.equal(bytes));
  }

  for (const quantity of [0, -1, "0", "4mi", "4 Mi", "1Ti", "", "9999999999999999G", Number.NaN]) {
    it(`refuses ${JSON.stringify(quantity)} and names the field`, () => {
      expect(() => parseBytes(quantity, "spec.maxInputSize"))
        .to.throw(MillraceError, "spec.maxInputSize")
        .with.property("code", "InvalidInput");
    });
  }
});
