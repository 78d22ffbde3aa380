import { expect } from "chai";
import { chain, compiled, condition, gate, interrupted, Stage, succeed } from "../stage.ts";

describe("an Execution that was recorded before", () => {
  it("goes on after a crash: no recorded success runs twice, the one in flight again with its key", async () => {
    const stuck = gate();
    const first = new Stage();
    first.work = (attempt, request, signal) =>
      attempt.stepName === "count" ? stuck.work(attempt, request, signal) : succeed(attempt, request, signal);
    const pipeline = compiled(chain("clean", "count", "join"));
    first.pipeline(pipeline);
    first.api.put("one", { pipeline: "article" });
    await first.settle();
    await first.advance(250);
    const uid = first.api.execution("one").metadata.uid;
    expect(first.api.execution("one").status?.progress).to.equal("1/3");
    first.crash();
    await using second = new Stage({ api: first.api, time: first.time, replica: "replica-b", calls: first.calls });
    second.revisions.set("article-1", pipeline);
    second.api.label("one");
    await second.settle();
    const { status } = second.api.execution("one");
    expect(status?.phase).to.equal("Succeeded");
    expect(first.calls).to.deep.equal(["clean", "count", "count", "join"].map((step) => `${uid}/${step}`));
    expect(status?.owner).to.deep.equal({ replica: "replica-b", epoch: 2 });
    expect(status?.steps?.[1]?.attempts).to.equal(2);
    await first[Symbol.asyncDispose]();
  });

  it("gives up after five take-overs without a newly recorded step", async () => {
    await using stage = new Stage();
    const pipeline = compiled(chain("clean"));
    stage.revisions.set("article-1", pipeline);
    stage.api.put(
      "one",
      { pipeline: "article" },
      {
        phase: "Running",
        pipelineRevision: "article-1",
        owner: { replica: "dead", epoch: 6, takeovers: 5 },
        steps: [{ name: "clean", state: "Running", attempts: 6 }],
      },
    );
    await stage.settle();
    const { status } = stage.api.execution("one");
    expect(condition(status, "Succeeded")?.reason).to.equal("CrashLoop");
    expect(status?.steps?.[0]?.state).to.equal("Cancelled");
    expect(stage.calls).to.deep.equal([]);
  });

  for (const [what, revision, reason] of [
    ["is gone", undefined, "NotFound"],
    ["does not compile any more", "Broken", "Internal"],
  ] as const) {
    it(`fails a run whose revision ${what}, and says so`, async () => {
      await using stage = new Stage();
      if (revision !== undefined) stage.revisions.set("article-1", revision);
      stage.api.put("one", { pipeline: "article" }, interrupted(stage));
      await stage.settle();
      const { status } = stage.api.execution("one");
      expect(status?.phase).to.equal("Failed");
      expect(condition(status, "Succeeded")).to.deep.include({ status: "False", reason });
      expect(condition(status, "Succeeded")?.message).to.contain("the run cannot go on");
    });
  }

  it("counts take-overs until a step is newly recorded", async () => {
    await using stage = new Stage();
    stage.revisions.set("article-1", compiled(chain("clean")));
    stage.api.put(
      "one",
      { pipeline: "article" },
      {
        phase: "Running",
        pipelineRevision: "article-1",
        owner: { replica: "dead", epoch: 4, takeovers: 3 },
        steps: [{ name: "clean", state: "Running", attempts: 4 }],
      },
    );
    await stage.settle();
    expect(stage.api.statuses.map(({ owner }) => owner)).to.deep.equal([
      { replica: "replica-a", epoch: 5, takeovers: 4 },
      { replica: "replica-a", epoch: 5 },
    ]);
  });

  it("says what a recorded run waits for before it goes on, and leaves its rows alone", async () => {
    await using stage = new Stage();
    stage.processors.set("team", "work", { waiting: "the module is being fetched" });
    stage.revisions.set("article-1", compiled(chain("clean")));
    const before = interrupted(stage);
    stage.api.put("one", { pipeline: "article" }, before);
    await stage.settle();
    await stage.advance(10_000);
    const { status } = stage.api.execution("one");
    expect(stage.api.writes).to.equal(1);
    expect(condition(status, "Succeeded")).to.deep.include({ status: "Unknown", reason: "ProcessorNotReady" });
    expect(condition(status, "Succeeded")?.message).to.contain("the module is being fetched");
    expect(status).to.deep.include({ phase: "Running", owner: before.owner, steps: before.steps });
    stage.serve();
    await stage.settle();
    expect(stage.api.execution("one").status?.phase).to.equal("Succeeded");
  });

  it("ends a recorded run whose Pipeline's timeout is over while it waits to go on", async () => {
    await using stage = new Stage();
    stage.processors.set("team", "work", { waiting: "the module is being fetched" });
    const pipeline = compiled(chain("clean", "count"));
    stage.revisions.set("article-1", { ...pipeline, plan: { ...pipeline.plan, timeoutMs: 90_000 } });
    const steps = [...(interrupted(stage).steps ?? []), { name: "count", state: "Waiting" } as const];
    stage.api.put("one", { pipeline: "article" }, { ...interrupted(stage), steps });
    await stage.settle();
    await stage.advance(29_000);
    expect(stage.api.execution("one").status?.phase).to.equal("Running");
    await stage.advance(1_000);
    const { status } = stage.api.execution("one");
    expect(condition(status, "Succeeded")).to.deep.include({ status: "False", reason: "PipelineTimeout" });
    expect(condition(status, "Succeeded")?.message).to.contain("90000 ms").and.to.contain("being fetched");
    expect(status?.steps?.map(({ state, reason }) => [state, reason])).to.deep.equal([
      ["Cancelled", "PipelineTimeout"],
      ["Skipped", "PipelineTimeout"],
    ]);
  });

  it("says of a run that it takes up again whether another replica or its own run had ended", async () => {
    for (const [replica, why] of [
      ["dead", "replica dead is gone"],
      ["replica-a", "its run here had ended without an outcome"],
    ] as const) {
      await using stage = new Stage();
      stage.revisions.set("article-1", compiled(chain("clean")));
      stage.api.put("one", { pipeline: "article" }, { ...interrupted(stage), owner: { replica, epoch: 1 } });
      await stage.settle();
      expect(stage.events.find(({ reason }) => reason === "Resumed")?.message).to.contain(why);
    }
  });
});
