import { expect } from "chai";
import fc from "fast-check";
import { RE2JS } from "re2js";
import { maxPatternSize, maxPatternsSize, Patterns, patternSize } from "../../../engine/expressions/patterns.ts";

/** Compiles nothing, and counts how often it was asked to. */
class Counted {
  compiled = 0;
  readonly patterns = new Patterns(() => {
    this.compiled++;
    return { test: () => true, programSize: () => 1 };
  });
}

const part = fc.oneof(
  fc.constantFrom("a", ".", "^", "$", "\\d", "\\b", "\\pL", "\\p{Lu}", "\\x{1F600}", "\\Qa)b(\\E", "\\x41", "\\("),
  fc.constantFrom(
    "[a-z]",
    "[^]a]",
    "[[:alpha:]-]",
    "[\\]]",
    "[\\pL\\d(]",
    "(?i)",
    "(?i:k)",
    "(?P<n>a)",
    "|",
    "||",
    "()",
  ),
  fc.constantFrom("*", "+", "?", "*?", "??", "{2}", "{0}", "{3,}", "{0,4}", "{,3}", "{1,7}?", "{x", "{", "}"),
  fc.constantFrom("(", "(", ")", ")", "(?:", ")*", "){1,5}", "){4}", "){2,}"),
);
const pattern = fc.array(part, { minLength: 1, maxLength: 24 }).map((parts) => parts.join(""));

describe("the size of a pattern", () => {
  it("is never less than the program that RE2 makes of it", () => {
    let compiled = 0;
    fc.assert(
      fc.property(pattern, (text) => {
        let size: number;
        try {
          size = RE2JS.compile(text).programSize();
        } catch {
          return;
        }
        compiled++;
        expect(patternSize(text), text).to.be.at.least(size);
      }),
      { numRuns: 5_000 },
    );
    expect(compiled).to.be.greaterThan(500);
  }).timeout(60_000);

  const large: readonly [what: string, text: string][] = [
    ["repetitions in repetitions", "((a{1,30}){1,30}){1,30}"],
    ["many long repetitions", "[a-z]{1000}".repeat(9)],
    ["an endless repetition of a long one", "(?:a{500}){9,}"],
    ["what is repeated behind a flag", `(${"a".repeat(99)})(?i){99}`],
    ["a group behind a quoted bracket", "(?:\\Q)\\E[a-z]{900}){9}"],
    ["ranges folded character by character", `(?i)${"[B-\\x{1e900}]".repeat(38)}`],
    ["Unicode classes, one after another", "\\pL".repeat(60)],
  ];
  for (const [what, text] of large) {
    it(`refuses ${what} before it compiles anything`, () => {
      const counted = new Counted();
      expect(() => counted.patterns.addConstant(text)).to.throw(`${maxPatternSize}`);
      expect(() => counted.patterns.compile(text, () => undefined)).to.throw(`${maxPatternSize}`);
      expect(counted.compiled).to.equal(0);
    });
  }

  it("lets the patterns of everyday through", () => {
    const uuid = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";
    const address = "(?i)^[a-z0-9._%+-]{1,64}@(?:[a-z0-9-]{1,63}\\.){1,8}[a-z]{2,63}$";
    for (const text of [uuid, address, "^[\\pL\\pN _-]{1,100}$"]) {
      expect(patternSize(text)).to.be.lessThan(maxPatternSize);
    }
  });
});

describe("the patterns of a Pipeline", () => {
  it("are compiled once each, however many expressions have them", () => {
    const counted = new Counted();
    for (let time = 0; time < 1_000; time++) counted.patterns.addConstant("a{900}");
    expect(counted.compiled).to.equal(1);
  });

  it("are bounded together", () => {
    const counted = new Counted();
    const add = () => {
      for (let time = 0; time < 1_000; time++) counted.patterns.addConstant(`a{900}${time}`);
    };
    expect(add).to.throw(`${maxPatternsSize}`);
    expect(counted.compiled).to.be.within(20, 22);
  });

  it("pay before they are compiled where only the run knows them", () => {
    const counted = new Counted();
    const charge = () => {
      throw new Error("too dear");
    };
    expect(() => counted.patterns.compile("a", charge)).to.throw("too dear");
    expect(counted.compiled).to.equal(0);
  });
});
