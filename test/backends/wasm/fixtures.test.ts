import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { fixtureRecords } from "../../../scripts/fixtures.ts";

const folder = join(import.meta.dirname, "../../fixtures/wasm");

describe("The checked-in WASM modules", () => {
  it("are what `npm run fixtures` built from the sources that lie beside them", () => {
    const recorded = JSON.parse(readFileSync(join(folder, "digests.json"), "utf8"));
    expect(fixtureRecords(), "sources or modules have changed: npm run fixtures").to.deep.equal(recorded);
  });

  it("are described by a header that docs/wasm-authors.md gives word for word", () => {
    const header = readFileSync(join(folder, "millrace.h"), "utf8");
    const docs = readFileSync(join(import.meta.dirname, "../../../docs/wasm-authors.md"), "utf8");
    expect(docs).to.include(header.trim());
  });
});
