import { readFileSync } from "node:fs";
import { expect } from "chai";
import { errorClasses, MillraceError, toMillraceError } from "../../engine/errors.ts";

describe("errors", () => {
  it("has a row in ERRORS.md for each code, with its kind and whether it is retried, and no other", () => {
    const page = readFileSync(new URL("../../engine/ERRORS.md", import.meta.url), "utf8");
    const rows = [...page.matchAll(/^\| ([A-Z]\w+) +\| (.+?) +\| (\w+) +\| (\w+) +\|$/gm)];
    const written = rows.map(([, code, meaning, kind, retried]) => ({
      code,
      kind,
      retried,
      isExplained: (meaning ?? "").length > 10,
    }));
    const words = { true: "yes", false: "no", Declared: "declared" } as const;
    const known = Object.entries(errorClasses).map(([code, { kind, retried }]) => ({
      code,
      kind,
      retried: words[`${retried}`],
      isExplained: true,
    }));
    expect(written).to.deep.equal(known);
  });

  it("takes what is none of ours for a defect, and keeps it as the cause", () => {
    const thrown = new TypeError("oops");
    expect(toMillraceError(thrown)).to.include({ code: "Internal", kind: "System", message: "oops", cause: thrown });
    const ours = new MillraceError("NotFound", "gone");
    expect(toMillraceError(ours)).to.equal(ours);
    expect(toMillraceError("text").message).to.equal("text");
  });
});
