import { expect } from "chai";
import { ApiError } from "../../../controller/api/client.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { BytesPayload, textPayload } from "../../../engine/payload.ts";
import { busy, unreachable } from "./fake-api.ts";
import { chain, compiled, condition, gate, Stage, succeed, wide } from "./stage.ts";

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
