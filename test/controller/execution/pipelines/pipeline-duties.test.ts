import { expect } from "chai";
import fc from "fast-check";
import type { Execution } from "../../../../controller/api/types.ts";
import { surplusOf } from "../../../../controller/execution/pipelines/history.ts";
import { conditionsFor } from "../../../../controller/execution/status.ts";
import { busy } from "../fake-api.ts";
import { chain, compiled, gate, Stage, succeed } from "../stage.ts";

const kept = (stage: Stage) => stage.api.executions().map(({ metadata }) => metadata.name);

describe("a Pipeline's historyLimit", () => {
  const pipeline = compiled(chain("clean"), { historyLimit: { succeeded: 2, failed: 1 } });

  it("deletes the oldest that succeeded, and the oldest that failed or were cancelled, and nothing that runs", async () => {
    await using stage = new Stage();
    const held = gate();
    stage.work = (attempt, request, signal) => {
      const { name } = attempt.execution;
      if (name.startsWith("bad")) return Promise.resolve({ ok: false, error: { message: "no" } } as never);
      return name === "runs" ? held.work(attempt, request, signal) : succeed(attempt, request, signal);
    };
    stage.pipeline(pipeline);
    stage.api.put("runs", { pipeline: "article" });
    stage.api.put("cancelled", { pipeline: "article", cancel: "Immediate" });
    for (const name of ["good-1", "good-2", "bad-1", "good-3", "good-4", "bad-2"]) {
      stage.api.put(name, { pipeline: "article" });
      await stage.pass(2_000);
    }
    expect(kept(stage)).to.have.members(["runs", "good-3", "good-4", "bad-2"]);
  });

  it("is kept to after a restart, and after an edit", async () => {
    const first = new Stage();
    first.pipeline(compiled(chain("clean")));
    for (const name of ["a", "b", "c", "d"]) {
      first.api.put(name, { pipeline: "article" });
      await first.pass(2_000);
    }
    first.crash();
    await using second = new Stage({ api: first.api, time: first.time, replica: "replica-b" });
    second.pipeline(pipeline);
    await second.pass(1_000);
    expect(kept(second)).to.deep.equal(["c", "d"]);
    second.pipeline(compiled(chain("clean"), { historyLimit: { succeeded: 0 } }));
    await second.pass(1_000);
    expect(kept(second)).to.deep.equal([]);
    await first[Symbol.asyncDispose]();
  });

  it("is kept to through an API server that is busy, and spares what was edited in the meantime until it was looked at", async () => {
    await using stage = new Stage();
    stage.pipeline(compiled(chain("clean"), { historyLimit: { succeeded: 0 } }));
    let refusals = 3;
    stage.api.fault = (verb) => (verb === "delete" && refusals-- > 0 ? { when: "Before", error: busy() } : undefined);
    stage.api.put("a", { pipeline: "article" });
    await stage.pass(5_000);
    expect(refusals).to.be.lessThan(1);
    expect(kept(stage)).to.deep.equal([]);
  });

  it("leaves all where the Pipeline says nothing of an outcome, and takes the oldest by their completion", () => {
    const executions = fc.array(
      fc.record({
        second: fc.nat(20),
        outcome: fc.constantFrom("Succeeded", "Failed", "Cancelled", "Running"),
        isGoing: fc.boolean(),
      }),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(executions, fc.option(fc.nat(5), { nil: undefined }), (given, failed) => {
        const all = given.map(({ second, outcome, isGoing }, index) => finished(index, second, outcome, isGoing));
        const gone = new Set(surplusOf(all, failed === undefined ? {} : { failed }));
        const counted = all.filter(
          ({ metadata, status }) =>
            metadata.deletionTimestamp === undefined && ["Failed", "Cancelled"].includes(status?.phase ?? ""),
        );
        const left = counted.filter((execution) => !gone.has(execution));
        expect(gone.size + left.length).to.equal(counted.length);
        expect(left.length).to.equal(Math.min(counted.length, failed ?? counted.length));
        const newest =
          [...gone]
            .map(({ status }) => status?.completionTime ?? "")
            .toSorted()
            .at(-1) ?? "";
        for (const { status } of left) expect((status?.completionTime ?? "") >= newest).to.equal(true);
      }),
    );
  });
});

describe("a Pipeline's numbers", () => {
  it("are written at most every 10 s, when they have changed, and not for a short run", async () => {
    await using stage = new Stage();
    const held = gate();
    stage.pipeline(compiled(chain("clean"), { concurrency: { limit: 1, policy: "Queue" } }));
    stage.api.put("short", { pipeline: "article" });
    await stage.pass(30_000);
    expect(stage.api.counts).to.deep.equal([]);
    stage.work = held.work;
    stage.api.put("a", { pipeline: "article" });
    stage.api.put("b", { pipeline: "article" });
    await stage.pass(1_500);
    const first = { pipeline: "team/article", counts: { queued: 1, running: 1 } };
    expect(stage.api.counts).to.deep.equal([first]);
    held.open();
    await stage.pass(8_000);
    expect(stage.api.counts, "too early").to.deep.equal([first]);
    await stage.pass(3_000);
    expect(stage.api.counts).to.deep.equal([first, { pipeline: "team/article", counts: { queued: 0, running: 0 } }]);
    await stage.pass(60_000);
    expect(stage.api.counts).to.have.length(2);
  });

  it("are put right after a restart, and are not written where they are right", async () => {
    const first = new Stage();
    first.work = gate().work;
    const pipeline = compiled(chain("clean"));
    first.pipeline(pipeline);
    first.api.put("a", { pipeline: "article" });
    await first.pass(2_000);
    expect(first.api.counts).to.have.length(1);
    first.crash();
    const second = new Stage({ api: first.api, time: first.time, replica: "replica-b" });
    second.work = gate().work;
    second.revisions.set("article-1", pipeline);
    second.pipeline(pipeline);
    await second.pass(30_000);
    expect(second.api.counts, "one runs still").to.have.length(1);
    second.crash();
    second.api.remove("a");
    await using third = new Stage({ api: first.api, time: first.time, replica: "replica-c" });
    third.pipeline(pipeline);
    await third.settle();
    await third.pass(2_000);
    expect(third.api.counts.at(-1)).to.deep.equal({ pipeline: "team/article", counts: { queued: 0, running: 0 } });
    await second[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
  });
});

function finished(
  index: number,
  second: number,
  outcome: "Succeeded" | "Failed" | "Cancelled" | "Running",
  isGoing: boolean,
): Execution {
  const atMs = second * 1_000;
  const completionTime = new Date(atMs).toISOString();
  const verdict =
    outcome === "Failed" ? { phase: outcome, reason: "StepFailed", message: "" } : { phase: outcome, message: "" };
  return {
    apiVersion: "millrace.dev/v1alpha1",
    kind: "Execution",
    metadata: { name: `e${index}`, namespace: "team", ...(isGoing ? { deletionTimestamp: completionTime } : {}) },
    spec: { pipeline: "article", priority: 0, suspend: false, cancel: "None" },
    status: {
      phase: outcome,
      conditions: conditionsFor(verdict, 1, [], atMs),
      ...(outcome === "Running" ? {} : { completionTime }),
    },
  };
}
