import { readFileSync } from "node:fs";
import { expect } from "chai";
import type { PipelineCheck } from "../../../controller/pipeline/check.ts";
import { decide, type WaitingProcessor } from "../../../controller/pipeline/decide.ts";
import { problemsMessage } from "../../../controller/pipeline/problems.ts";
import { pipelineStatus } from "../../../controller/pipeline/status.ts";
import type { Problem, ProblemReason } from "../../../engine/pipeline.ts";
import { apiPipeline, apiSpec, check, step } from "./builders.ts";

const problem = (reason: ProblemReason, path: string): Problem => ({
  reason,
  path,
  message: `${reason} at ${path}`,
  mend: "Mend it.",
});
const failed = (...problems: readonly Problem[]): PipelineCheck => ({ ok: false, problems });
const right = check(apiSpec([step("a")]));
const missing = (index: number) => problem("ProcessorNotFound", `steps[${index}].processor`);
const loading = (name: string): WaitingProcessor => ({ name, reason: "Loading", message: "it is being loaded" });
const refused: WaitingProcessor = { name: "other", reason: "ModuleRefused", message: "no export" };

describe("what is said of a Pipeline", () => {
  const rows: readonly [string, PipelineCheck, readonly WaitingProcessor[], object][] = [
    [
      "Stalled where it is wrong in itself",
      failed(problem("Cycle", "steps")),
      [],
      { state: "Stalled", reason: "Cycle" },
    ],
    [
      "Stalled by its own fault first, though a Processor is missing too",
      failed(missing(0), problem("InvalidExpression", "output")),
      [],
      { state: "Stalled", reason: "InvalidExpression" },
    ],
    [
      "Waiting for a Processor that does not exist",
      failed(missing(1)),
      [],
      { state: "Waiting", cause: "Absent", reason: "ProcessorNotFound" },
    ],
    [
      "Waiting for one that does not exist, though another is being loaded",
      failed(missing(1)),
      [loading("words")],
      { state: "Waiting", cause: "Absent", reason: "ProcessorNotFound" },
    ],
    [
      "Waiting for a Pipeline that does not exist",
      failed(problem("PipelineNotFound", "steps[0].pipeline"), missing(1)),
      [],
      { state: "Waiting", cause: "Absent", reason: "PipelineNotFound" },
    ],
    [
      "Stalled by Pipelines that bring in each other",
      failed(problem("PipelineRecursion", "steps[0].pipeline")),
      [],
      { state: "Stalled", reason: "PipelineRecursion" },
    ],
    [
      "Waiting for one that is being loaded",
      right,
      [loading("other")],
      { state: "Waiting", cause: "Loading", reason: "ProcessorNotReady" },
    ],
    [
      "Waiting for one that was refused, and why",
      right,
      [refused],
      { state: "Waiting", cause: "Refused", message: "Processor other is not ready: no export" },
    ],
    [
      "Waiting for what is being loaded before it speaks of what is refused",
      failed(),
      [loading("words"), refused],
      { state: "Waiting", cause: "Loading", message: "Processor words (and 1 more) is not ready: it is being loaded" },
    ],
  ];
  for (const [what, outcome, waiting, expected] of rows) {
    it(`is ${what}`, () => expect(decide(outcome, waiting)).to.include(expected));
  }

  it("has a reason that the docs explain, whatever is wrong", () => {
    const [, union = ""] = /export type ProblemReason =([^;]*);/.exec(readFileSync("engine/pipeline.ts", "utf8")) ?? [];
    const reasons = [...union.matchAll(/"(\w+)"/g)].map(([, reason = ""]) => reason);
    expect(reasons).to.include("Cycle");
    const documented = readFileSync("docs/controller.md", "utf8");
    expect(reasons.filter((reason) => !documented.includes(`\`${reason}\``))).to.deep.equal([]);
  });

  it("is Ready where nothing is wrong", () => {
    expect(decide(right, [])).to.include({ state: "Ready" });
  });
});

describe("the message of a Pipeline's condition", () => {
  const many = (count: number) =>
    Array.from({ length: count }, (_, index) => problem("InvalidExpression", `steps[${index}].when`));

  it("has path, message and mend of each problem", () => {
    expect(problemsMessage(many(2))).to.equal(
      "steps[0].when: InvalidExpression at steps[0].when. Mend it. steps[1].when: InvalidExpression at steps[1].when. Mend it.",
    );
  });

  it("stays within 1 KiB and counts what it leaves out", () => {
    const message = problemsMessage(many(1_000));
    expect(Buffer.byteLength(message)).to.be.at.most(1_024);
    const shown = message.match(/Mend it\./g)?.length ?? 0;
    expect(message).to.contain(`and ${1_000 - shown} more`);
  });

  it("cuts a single one that is longer at a whole character", () => {
    const long = { ...problem("Cycle", "steps"), message: "→".repeat(5_000) };
    for (const problems of [[long], [long, long]]) {
      const message = problemsMessage(problems);
      expect(Buffer.byteLength(message)).to.be.at.most(1_024);
      expect(message).not.to.contain("�");
    }
    expect(problemsMessage([long, long])).to.contain("and 1 more");
  });
});

describe("the conditions of a Pipeline", () => {
  const told = (decision: ReturnType<typeof decide>, object = apiPipeline(1, apiSpec([step("a")]))) =>
    (pipelineStatus(object, decision, 5_000).conditions ?? []).map(
      ({ type, status, reason }) => `${type}=${status}/${reason}`,
    );

  it("are Ready, with the graph", () => {
    const decision = decide(right, []);
    expect(told(decision)).to.deep.equal(["Ready=True/Compiled"]);
    const status = pipelineStatus(apiPipeline(7, apiSpec([step("a")])), decision, 0);
    expect(status).to.deep.include({ observedGeneration: 7, graph: { steps: 1, levels: 1, width: 1 } });
    expect(status.conditions?.[0]?.message).to.equal("1 step on 1 level, at most 1 at once.");
  });

  it("are Stalled where the Pipeline is wrong", () => {
    expect(told(decide(failed(problem("Cycle", "steps")), []))).to.deep.equal([
      "Ready=False/Cycle",
      "Stalled=True/Cycle",
    ]);
  });

  it("are both Reconciling and Stalled while a Processor is missing, so that kstatus waits and people see", () => {
    expect(told(decide(failed(missing(1)), []))).to.deep.equal([
      "Ready=False/ProcessorNotFound",
      "Reconciling=True/ProcessorNotFound",
      "Stalled=True/ProcessorNotFound",
    ]);
  });

  it("are Reconciling while a Processor is not ready", () => {
    expect(told(decide(right, [refused]))).to.deep.equal([
      "Ready=False/ProcessorNotReady",
      "Reconciling=True/ProcessorNotReady",
    ]);
  });

  it("are the very same when they are found again", () => {
    const decision = decide(failed(missing(1)), []);
    const first = pipelineStatus(apiPipeline(1, apiSpec([step("a")])), decision, 5_000);
    expect(pipelineStatus(apiPipeline(1, apiSpec([step("a")]), first), decision, 99_000)).to.deep.equal(first);
  });
});
