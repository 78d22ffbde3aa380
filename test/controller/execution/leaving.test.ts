import { expect } from "chai";
import { chain, compiled, gate, Stage, succeed, wide } from "./stage.ts";

describe("the Execution controller, when it stops", () => {
  it("records what has ended when it stops, and leaves the rest to the next one", async () => {
    const stage = new Stage();
    stage.work = (attempt, request, signal) =>
      attempt.stepName === "clean" ? succeed(attempt, request, signal) : gate().work(attempt, request, signal);
    stage.pipeline(compiled(chain("clean", "count")));
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    await stage[Symbol.asyncDispose]();
    const { status } = stage.api.execution("one");
    expect(status?.phase).to.equal("Running");
    expect(status?.steps?.map(({ state }) => state)).to.deep.equal(["Succeeded", "Running"]);
    expect(status?.owner).to.deep.equal({ replica: "replica-a", epoch: 1 });
  });

  it("records a success that is being stored when it stops, unless the store takes too long", async () => {
    for (const stored of [true, false]) {
      await using stage = new Stage();
      const { names, held } = wide(stage, 18);
      const { work } = stage;
      stage.work = (attempt, request, signal) =>
        attempt.step === 17 ? gate().work(attempt, request, signal) : work(attempt, request, signal);
      stage.api.put("one", { pipeline: "article" });
      await stage.until(() => stage.calls.length === names.length);
      const stopped = stage.controller.stop(0);
      await stage.time.advance(0);
      if (stored) held.resolve();
      else await stage.time.advance(3_000);
      await stopped;
      held.resolve();
      const { status } = stage.api.execution("one");
      expect(status?.phase).to.equal("Running");
      expect(status?.steps?.slice(15).map(({ state }) => state)).to.deep.equal([
        "Succeeded",
        stored ? "Succeeded" : "Running",
        "Running",
      ]);
    }
  });

  it("writes the outcome of a run that had ended when it stops, once its payloads are stored", async () => {
    await using stage = new Stage();
    const { names, held } = wide(stage, 18);
    stage.api.put("one", { pipeline: "article" });
    await stage.until(() => stage.calls.length === names.length);
    await stage.settle();
    const stopped = stage.controller.stop(0);
    await stage.time.advance(0);
    held.resolve();
    await stopped;
    const { status } = stage.api.execution("one");
    expect(status?.phase).to.equal("Succeeded");
    expect(status?.progress).to.equal("18/18");
    expect(new Set(status?.steps?.map(({ state }) => state))).to.deep.equal(new Set(["Succeeded"]));
  });
});
