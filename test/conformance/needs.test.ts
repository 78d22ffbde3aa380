import { readFileSync } from "node:fs";
import { expect } from "chai";
import { behaviourOf, casesWithout, conformanceCases, conformanceNeeds } from "../../backends/conformance/cases.ts";

const readme = readFileSync(new URL("../../backends/conformance/README.md", import.meta.url), "utf8");

/** The README's table of needs: by need, its behaviours. */
function documented(): Record<string, string[]> {
  const rows = readme.matchAll(/^\| `([A-Z]\w+)` +\|[^|]*\|([^|]*)\|$/gmu);
  return Object.fromEntries([...rows].map(([, need, cells]) => [need, behavioursIn(cells ?? "")]));
}

function behavioursIn(cells: string): string[] {
  const named = [...cells.matchAll(/`([\w-]+)`/gu)].map(([, behaviour]) => String(behaviour));
  return [...named, ...(cells.includes("there is none of") ? ["sing"] : [])].sort();
}

describe("What the cases of the conformance suite need of a contract", () => {
  it("is what the README's table says", () => {
    const coded: Record<string, string[]> = {};
    for (const [behaviour, needs] of Object.entries(conformanceNeeds)) {
      for (const need of needs) coded[need] = [...(coded[need] ?? []), behaviour].sort();
    }
    expect(documented()).to.deep.equal(coded);
  });

  it("leaves nothing out for who lacks nothing", () => {
    expect(casesWithout([])).to.deep.equal(conformanceCases);
  });

  it("leaves to a contract of payloads alone what payloads can show", () => {
    const cases = casesWithout(["Options", "ContentType", "Metadata", "Secrets", "Context", "Failures", "Log"]);
    const behaviours = new Set(cases.map(behaviourOf));
    expect(behaviours).to.have.all.keys("crash", "echo", "oversize", "slow", "uppercase");
    expect(cases.length).to.equal(14);
  });
});
