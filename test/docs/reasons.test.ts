import { globSync, readFileSync } from "node:fs";
import { expect } from "chai";
import type { StepReason } from "../../engine/outcome.ts";

const page = readFileSync("docs/executions.md", "utf8");

/** What stands in backquotes in the first column of the page's table with this head. */
function reasonsUnder(head: string): readonly string[] {
  const table = (page.split(`| ${head} |`)[1] ?? "").split("\n\n")[0] ?? "";
  return table
    .split("\n")
    .slice(2)
    .flatMap((line) => [...(line.split("|")[1] ?? "").matchAll(/`(\w+)`/g)].map(([, reason = ""]) => reason));
}

/** Every one of the type's, or this does not compile. */
const rowReasons: Readonly<Record<StepReason, true>> = {
  WhenFalse: true,
  UpstreamSkipped: true,
  UpstreamFailed: true,
  FailFast: true,
  PipelineTimeout: true,
  Cancelled: true,
  Ignored: true,
  Cached: true,
  Reused: true,
};

/** Of events, not of conditions. */
const ofEvents = ["Resumed", "NothingReused"];

describe("the reasons of docs/executions.md", () => {
  it("of a row are those that there are", () => {
    expect(reasonsUnder("reason of a row")).to.have.members(Object.keys(rowReasons));
  });

  it("of an Execution have all that its controller writes", () => {
    const sources = globSync("controller/execution/**/*.ts").map((file) => readFileSync(file, "utf8"));
    const written = sources.flatMap((source) =>
      [...source.matchAll(/\breason: "(\w+)"/g)].map(([, reason = ""]) => reason),
    );
    expect(written).to.include("StepFailed");
    const known = new Set([...reasonsUnder("reason of an Execution"), ...Object.keys(rowReasons), ...ofEvents]);
    expect([...new Set(written)].filter((reason) => !known.has(reason))).to.deep.equal([]);
  });
});
