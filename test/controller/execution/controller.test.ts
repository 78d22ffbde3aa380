import { expect } from "chai";
import { ApiError } from "../../../controller/api/client.ts";
import type { Condition, ExecutionStatus } from "../../../controller/api/types.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { BytesPayload, textPayload } from "../../../engine/payload.ts";
import type { ProcessorResponse } from "../../../engine/processor.ts";
import { busy, unreachable } from "./fake-api.ts";
import { chain, compiled, Stage, succeed, type Work } from "./stage.ts";

function condition(status: ExecutionStatus | undefined, type: string): Condition | undefined {
  return status?.conditions?.find((candidate) => candidate.type === type);
}

/** Ends when the test says so. */
function gate(): { readonly work: Work; open(): void } {
  const opened = Promise.withResolvers<void>();
  const work: Work = async (attempt, request, signal) => {
    const aborted = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    await Promise.race([opened.promise, aborted]);
    return await succeed(attempt, request, signal);
  };
  return { work, open: () => opened.resolve() };
}

/** Steps of 4 KiB of output each: from the 17th on they go to the store, which waits for `held`. */
function wide(stage: Stage, count: number): { readonly names: string[]; readonly held: PromiseWithResolvers<void> } {
  const held = Promise.withResolvers<void>();
  const names = Array.from({ length: count }, (_, index) => `step-${index}`);
  stage.work = (attempt) =>
    Promise.resolve({ ok: true, payload: textPayload(`${attempt.step}`.padEnd(4096)), metadata: {} });
  stage.store.before = () => held.promise;
  stage.pipeline(compiled(chain(...names)));
  return { names, held };
}

/** What a controller that died a minute ago left behind. */
function interrupted(stage: Stage): ExecutionStatus {
  return {
    phase: "Running",
    pipelineRevision: "article-1",
    startTime: new Date(stage.ports.clock.now() - 60_000).toISOString(),
    owner: { replica: "dead", epoch: 1 },
    steps: [{ name: "clean", state: "Running", attempts: 1 }],
  };
}

describe("the Execution controller", () => {
  it("runs a short Execution at the price of one write and no event", async () => {
    await using stage = new Stage();
    stage.pipeline(compiled(chain("clean", "count")));
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    const { status } = stage.api.execution("one");
    expect(stage.api.writes).to.equal(1);
    expect(stage.events).to.deep.equal([]);
    expect(status?.phase).to.equal("Succeeded");
    expect(status?.progress).to.equal("2/2");
    expect(status?.owner).to.deep.equal({ replica: "replica-a", epoch: 1 });
    expect(status?.pipelineRevision).to.equal("article-1");
    expect(status?.output).to.deep.equal({ text: "count done", contentType: "text/plain; charset=utf-8" });
    expect(status?.steps?.map(({ name, state, attempts }) => [name, state, attempts])).to.deep.equal([
      ["clean", "Succeeded", 1],
      ["count", "Succeeded", 1],
    ]);
    expect(condition(status, "Complete")?.status).to.equal("True");
    expect(condition(status, "Reconciling")).to.equal(undefined);
    expect(stage.calls).to.have.length(2);
  });

  it("reports a longer run's progress after 250 ms, then no more often than its interval", async () => {
    await using stage = new Stage();
    const gates = [gate(), gate()];
    stage.work = (attempt, request, signal) =>
      (gates[attempt.step] as ReturnType<typeof gate>).work(attempt, request, signal);
    stage.pipeline(compiled(chain("clean", "count")));
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    await stage.advance(249);
    expect(stage.api.writes).to.equal(0);
    await stage.advance(1);
    expect(stage.api.writes).to.equal(1);
    expect(stage.api.statuses[0]?.phase).to.equal("Running");
    expect(stage.api.statuses[0]?.progress).to.equal("0/2");
    await stage.advance(10_000);
    expect(stage.api.writes, "nothing changed, nothing is written").to.equal(1);
    gates[0]?.open();
    await stage.settle();
    await stage.advance(0);
    expect(stage.api.statuses[1]?.progress).to.equal("1/2");
    gates[1]?.open();
    await stage.settle();
    expect(stage.api.statuses.map(({ phase }) => phase)).to.deep.equal(["Running", "Running", "Succeeded"]);
    expect(stage.events.map(({ reason }) => reason)).to.deep.equal(["Started", "Succeeded"]);
  });

  it("reports again soon after the API server was away: a crash then repeats little", async () => {
    await using stage = new Stage();
    const names = Array.from({ length: 40 }, (_, index) => `step-${index}`);
    stage.work = async (attempt, request, signal) => {
      await new Promise<void>((resolve) => stage.ports.scheduler.after(1_000, resolve));
      return await succeed(attempt, request, signal);
    };
    stage.pipeline(compiled(chain(...names)));
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    const backAtMs = stage.ports.clock.monotonic() + 20_000;
    stage.api.fault = () =>
      stage.ports.clock.monotonic() < backAtMs ? { when: "Before", error: unreachable() } : undefined;
    for (let second = 0; second < 38; second++) await stage.advance(1_000);
    const recorded = Number(stage.api.execution("one").status?.progress?.split("/")[0]);
    expect(recorded).to.be.at.least(35);
  });

  it("tells a failure in the row, the conditions and one event", async () => {
    await using stage = new Stage();
    stage.work = () => Promise.reject(new MillraceError("SandboxViolation", "it opened a socket"));
    stage.pipeline(compiled(chain("clean", "count")));
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    const { status } = stage.api.execution("one");
    expect(status?.phase).to.equal("Failed");
    expect(condition(status, "Succeeded")?.reason).to.equal("StepFailed");
    expect(condition(status, "Stalled")?.status).to.equal("True");
    expect(condition(status, "Complete")?.status).to.equal("True");
    expect(status?.steps?.[0]?.error?.code).to.equal("SandboxViolation");
    expect(status?.steps?.[1]).to.deep.equal({ name: "count", state: "Skipped", reason: "UpstreamFailed" });
    expect(stage.events).to.deep.equal([
      { type: "Warning", reason: "StepFailed", message: 'step "clean" failed: SandboxViolation: it opened a socket' },
    ]);
    expect(stage.api.writes).to.equal(1);
  });

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

  it("gets its outcome written through an API server that is away, busy, or loses the answer", async () => {
    await using stage = new Stage();
    const faults = [
      { when: "Before", error: unreachable() },
      { when: "Before", error: busy() },
      { when: "After", error: unreachable() },
    ] as const;
    let next = 0;
    stage.api.fault = (verb) => (verb === "update" ? faults[next++] : undefined);
    stage.pipeline(compiled(chain("clean")));
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    for (let round = 0; round < 10; round++) await stage.advance(1_000);
    expect(next).to.be.greaterThan(2);
    expect(stage.api.execution("one").status?.phase).to.equal("Succeeded");
    expect(stage.calls).to.have.length(1);
  });

  it("aborts a running step on cancel: Immediate", async () => {
    await using stage = new Stage();
    stage.work = gate().work;
    stage.pipeline(compiled(chain("clean", "count")));
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    stage.api.edit("one", { cancel: "Immediate" });
    await stage.settle();
    await stage.advance(100);
    const { status } = stage.api.execution("one");
    expect(status?.phase).to.equal("Cancelled");
    expect(status?.observedGeneration).to.equal(2);
    expect(status?.steps?.map(({ state }) => state)).to.deep.equal(["Cancelled", "Skipped"]);
    expect(condition(status, "Succeeded")).to.include({ status: "False", reason: "Cancelled" });
  });

  it("records a cancellation that came before it could start", async () => {
    await using stage = new Stage();
    stage.api.put("one", { pipeline: "article", cancel: "Immediate" });
    await stage.settle();
    expect(stage.api.execution("one").status?.phase).to.equal("Cancelled");
    expect(stage.calls).to.deep.equal([]);
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

  it("waits for its Pipeline, says so only when that takes longer, and is woken by it", async () => {
    await using stage = new Stage();
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    await stage.advance(200);
    expect(stage.api.writes).to.equal(0);
    await stage.advance(100);
    expect(stage.api.statuses.map(({ phase }) => phase)).to.deep.equal(["Pending"]);
    expect(condition(stage.api.statuses[0], "Succeeded")?.reason).to.equal("PipelineNotFound");
    stage.pipeline(compiled(chain("clean")));
    await stage.settle();
    expect(stage.api.execution("one").status?.phase).to.equal("Succeeded");
  });

  it("waits for a Processor that is not loaded yet, and is woken by it", async () => {
    await using stage = new Stage();
    stage.processors.set("team", "work", { waiting: "the module is being fetched" });
    stage.pipeline(compiled(chain("clean")));
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    await stage.advance(300);
    expect(condition(stage.api.statuses[0], "Succeeded")?.reason).to.equal("ProcessorNotReady");
    stage.serve();
    await stage.settle();
    expect(stage.api.execution("one").status?.phase).to.equal("Succeeded");
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

  it("refuses an input over its Pipeline's limit, with both numbers", async () => {
    await using stage = new Stage();
    stage.pipeline(compiled(chain("clean"), { maxInputBytes: 3 }));
    stage.api.put("one", { pipeline: "article", input: { text: "four" } });
    await stage.settle();
    const failed = condition(stage.api.execution("one").status, "Succeeded");
    expect(failed?.reason).to.equal("PayloadTooLarge");
    expect(failed?.message).to.contain("4 bytes").and.to.contain("takes 3");
  });

  it("refuses an unknown parameter and one that its schema refuses as InvalidInput", async () => {
    await using stage = new Stage();
    stage.pipeline(compiled(chain("clean")));
    stage.api.put("one", { pipeline: "article", parameters: [{ name: "nobody", value: 1 }] });
    await stage.settle();
    expect(condition(stage.api.execution("one").status, "Succeeded")?.reason).to.equal("InvalidInput");
    const violation = { path: "parameters.language", message: "must be en or de", mend: "write en" };
    stage.pipeline(compiled(chain("clean"), { checkParameters: () => [violation] }));
    stage.api.put("two", { pipeline: "article" });
    await stage.settle();
    const failed = condition(stage.api.execution("two").status, "Succeeded");
    expect(failed?.message).to.equal("parameters.language: must be en or de (write en)");
  });

  it("fails an inline spec that nothing would make right, and keeps its message", async () => {
    await using stage = new Stage();
    stage.api.put("one", { pipelineSpec: { steps: [] } as never });
    await stage.settle();
    const failed = condition(stage.api.execution("one").status, "Succeeded");
    expect(failed).to.include({ status: "False", reason: "InvalidInput" });
    expect(failed?.message).to.contain("a cycle");
  });

  it("keeps large outputs in the store and names them only when they are durable", async () => {
    await using stage = new Stage();
    const large = new BytesPayload(new Uint8Array(100_000), "application/octet-stream");
    stage.work = () => Promise.resolve({ ok: true, payload: large, metadata: {} });
    stage.pipeline(compiled(chain("clean")));
    stage.api.put("one", { pipeline: "article" });
    await stage.until(() => stage.api.writes > 0);
    const { status } = stage.api.execution("one");
    const stored = { payload: { ref: large.digest, bytes: 100_000 }, contentType: "application/octet-stream" };
    expect(status?.output).to.deep.equal(stored);
    expect(status?.steps?.[0]?.output).to.deep.equal(stored);
  });

  it("puts no more than 64 KiB of payloads into one status", async () => {
    await using stage = new Stage();
    stage.work = (attempt) =>
      Promise.resolve({ ok: true, payload: textPayload(`${attempt.step}`.padEnd(4096)), metadata: {} });
    const names = Array.from({ length: 30 }, (_, index) => `step-${index}`);
    stage.pipeline(compiled(chain(...names)));
    stage.api.put("one", { pipeline: "article" });
    await stage.until(() => stage.api.writes > 0);
    const rows = stage.api.execution("one").status?.steps ?? [];
    expect(rows.filter(({ output }) => output?.text !== undefined)).to.have.length(16);
    expect(rows.filter(({ output }) => output?.payload !== undefined)).to.have.length(14);
  });

  it("fails a step whose output cannot be stored, and the run naming it", async () => {
    await using stage = new Stage();
    const { held } = wide(stage, 17);
    held.reject(new MillraceError("ResourceExhausted", "the disk is full"));
    stage.api.put("one", { pipeline: "article" });
    await stage.until(() => stage.api.writes > 0);
    const { status } = stage.api.execution("one");
    expect(status?.phase).to.equal("Failed");
    expect(status?.progress).to.equal("17/17");
    const failed = condition(status, "Succeeded");
    expect(failed?.reason).to.equal("StepFailed");
    expect(failed?.message).to.equal('step "step-16" failed: ResourceExhausted: the disk is full');
    expect(status?.steps?.[15]?.state).to.equal("Succeeded");
    expect(status?.steps?.[16]).to.deep.include({
      state: "Failed",
      error: { code: "ResourceExhausted", kind: "System", message: "the disk is full" },
    });
  });

  it("follows an edit of a finished Execution's ttl, and deletes it when that is over", async () => {
    await using stage = new Stage();
    stage.pipeline(compiled(chain("clean")));
    stage.api.put("one", { pipeline: "article" });
    await stage.settle();
    stage.api.edit("one", { ttlSecondsAfterFinished: 60 });
    await stage.settle();
    const { status } = stage.api.execution("one");
    expect(status?.observedGeneration).to.equal(2);
    expect(condition(status, "Ready")?.observedGeneration).to.equal(2);
    expect(status?.steps, "the rows stay").to.have.length(1);
    await stage.advance(58_000);
    expect(stage.api.deleted).to.deep.equal([]);
    await stage.advance(3_000);
    expect(stage.api.deleted).to.deep.equal(["one"]);
  });

  it("takes the ttl of the Pipeline that it ran, also after a restart", async () => {
    await using stage = new Stage();
    stage.revisions.set("article-1", compiled(chain("clean"), { ttlSecondsAfterFinished: 5 }));
    const completionTime = new Date(stage.ports.clock.now()).toISOString();
    const done = {
      type: "Complete",
      status: "True",
      reason: "Succeeded",
      message: "",
      lastTransitionTime: completionTime,
    } as const;
    stage.api.put(
      "one",
      { pipeline: "article" },
      {
        phase: "Succeeded",
        observedGeneration: 1,
        conditions: [done],
        completionTime,
        pipelineRevision: "article-1",
        owner: { replica: "dead", epoch: 1 },
      },
    );
    await stage.settle();
    expect(stage.api.deleted).to.deep.equal([]);
    await stage.advance(6_000);
    expect(stage.api.deleted).to.deep.equal(["one"]);
  });

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

  for (const [what, error] of [
    ["refuses", new ApiError({ code: 403, reason: "Forbidden", message: "a webhook says no" })],
    ["never answers", busy()],
  ] as const) {
    it(`starts others while a webhook ${what} the progress of as many long runs as may be starting`, async () => {
      await using stage = new Stage();
      stage.work = (attempt, request, signal) =>
        attempt.execution.name === "short"
          ? succeed(attempt, request, signal)
          : new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      stage.pipeline(compiled(chain("clean")));
      stage.api.fault = (verb, name) =>
        verb === "update" && name.startsWith("long") ? { when: "Before", error } : undefined;
      for (let index = 0; index < 32; index++) stage.api.put(`long-${index}`, { pipeline: "article" });
      await stage.settle();
      stage.api.put("short", { pipeline: "article" });
      await stage.settle();
      expect(stage.controller.load).to.deep.equal({ running: 32, waiting: 1 });
      await stage.advance(250 + 5_000);
      expect(stage.api.execution("short").status?.phase).to.equal("Succeeded");
    });
  }

  it("runs no more at a time than it may, and all of them in the end", async () => {
    await using stage = new Stage({ maxRunning: 3 });
    let running = 0;
    let most = 0;
    stage.work = async (attempt, request, signal) => {
      most = Math.max(most, ++running);
      await new Promise(setImmediate);
      running--;
      return await succeed(attempt, request, signal);
    };
    stage.pipeline(compiled(chain("clean", "count")));
    const names = Array.from({ length: 20 }, (_, index) => `run-${index}`);
    for (const name of names) stage.api.put(name, { pipeline: "article" });
    await stage.until(() => stage.api.writes === 20);
    expect(names.map((name) => stage.api.execution(name).status?.phase)).to.deep.equal(names.map(() => "Succeeded"));
    expect(most).to.equal(3);
  });
});
