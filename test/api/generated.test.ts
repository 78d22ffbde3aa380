import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect } from "chai";

describe("what is generated from crds/", () => {
  it("is what crds/ says now", function () {
    this.timeout(60_000);
    const script = fileURLToPath(new URL("../../scripts/generate.ts", import.meta.url));
    const { status, stderr } = spawnSync(process.execPath, [script, "--check"], { encoding: "utf8" });
    expect(status, stderr).to.equal(0);
  });
});
