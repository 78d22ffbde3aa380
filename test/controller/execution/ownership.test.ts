import { expect } from "chai";
import type { ExecutionStatus } from "../../../controller/api/types.ts";
import type { ProcessorResponse } from "../../../engine/processor.ts";
import { chain, compiled, gate, Stage, succeed } from "./stage.ts";

describe("a run whose Execution others change or delete", () => {
  it("lets an edit of a label end no run", async () => {
    await using stage = new Stage();
    const held = gate();
    stage.work = held.work;
    stage.pipeline(compiled(chain("clean")));
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    stage.api.label("one");
    await stage.settle();
    held.open();
    await stage.settle();
    await stage.advance(1_000);
    expect(stage.api.execution("one").status?.phase).to.equal("Succeeded");
    expect(stage.calls).to.have.length(1);
  });

  it("ends a run, and writes nothing over it, when another owner is recorded", async () => {
    await using stage = new Stage();
    const held = gate();
    stage.work = held.work;
    stage.pipeline(compiled(chain("clean")));
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    const theirs: ExecutionStatus = { phase: "Running", owner: { replica: "other", epoch: 1 } };
    // Behind the watch's back, as a stale copy would have it.
    const { onChange } = stage.api;
    stage.api.onChange = () => {};
    stage.api.overwrite("one", theirs);
    stage.api.onChange = onChange;
    held.open();
    await stage.settle();
    await stage.advance(1_000);
    expect(stage.api.writes).to.equal(0);
    expect(stage.api.execution("one").status).to.deep.equal(theirs);
    expect(stage.calls).to.have.length(1);
  });

  it("aborts the run of a deleted Execution and writes nothing", async () => {
    await using stage = new Stage();
    let aborted = false;
    stage.work = (_attempt, _request, signal) =>
      new Promise<ProcessorResponse>((_, reject) => {
        signal.addEventListener("abort", () => {
          aborted = true;
          reject(signal.reason);
        });
      });
    stage.pipeline(compiled(chain("clean")));
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    stage.api.remove("one");
    await stage.settle();
    expect(aborted).to.equal(true);
    expect(stage.api.writes).to.equal(0);
    expect(stage.controller.load).to.deep.equal({ running: 0, waiting: 0 });
  });

  it("runs an Execution that was deleted and made anew under its name, as another one", async () => {
    await using stage = new Stage();
    const held = gate();
    stage.work = held.work;
    stage.pipeline(compiled(chain("clean")));
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    stage.work = succeed;
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    expect(stage.api.execution("one").status?.phase).to.equal("Succeeded");
    expect(new Set(stage.calls).size).to.equal(2);
  });

  it("runs the next one of a name also when the run of the one before was the first to find its own gone", async () => {
    await using stage = new Stage();
    const held = gate();
    stage.work = held.work;
    stage.pipeline(compiled(chain("clean")));
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    stage.work = succeed;
    // Both events are in the cache, and the key waits in the queue while the run writes its outcome.
    stage.api.remove("one");
    stage.api.put("one", { pipeline: "article" });
    held.open();
    await stage.time.advance(100);
    await stage.settle();
    expect(stage.api.execution("one").status?.phase).to.equal("Succeeded");
    expect(new Set(stage.calls).size).to.equal(2);
  });

  it("goes by the outcome that somebody else wrote while it ran here", async () => {
    await using stage = new Stage();
    const held = gate();
    stage.work = held.work;
    stage.pipeline(compiled(chain("clean")));
    stage.api.put("one", { pipeline: "article", ttlSecondsAfterFinished: 5 });
    await stage.settle();
    const completionTime = new Date(stage.ports.clock.now()).toISOString();
    const complete = { type: "Complete", status: "True", reason: "Succeeded", message: "" } as const;
    stage.api.overwrite("one", {
      phase: "Succeeded",
      observedGeneration: 1,
      completionTime,
      conditions: [{ ...complete, lastTransitionTime: completionTime }],
      owner: { replica: "other", epoch: 1 },
    });
    await stage.settle();
    held.open();
    await stage.settle();
    await stage.advance(6_000);
    expect(stage.api.writes).to.equal(0);
    expect(stage.api.deleted).to.deep.equal(["one"]);
  });
});
