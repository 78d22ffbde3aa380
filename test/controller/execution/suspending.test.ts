import { expect } from "chai";
import type { ConcurrencyRule } from "../../../controller/catalog.ts";
import { chain, compiled, condition, gate, phaseOf, Stage, succeed } from "./stage.ts";

const phase = (stage: Stage, name: string) => phaseOf(stage.api.execution(name));
const reason = (stage: Stage, name: string) => condition(stage.api.execution(name).status, "Succeeded")?.reason;
const calls = (stage: Stage, name: string) =>
  stage.calls.filter((key) => key.startsWith(`uid-${name}-`)).map((key) => key.slice(key.indexOf("/") + 1));

/** `first` holds up the step `a` of each run; what comes after it is done at once. */
function held(stage: Stage, concurrency?: ConcurrencyRule) {
  const first = gate();
  stage.work = (attempt, request, signal) =>
    attempt.stepName === "a" ? first.work(attempt, request, signal) : succeed(attempt, request, signal);
  const notify = chain("notify");
  const pipeline = compiled(chain("a", "b"), concurrency ? { concurrency } : {}, { definition: { finally: notify } });
  stage.pipeline(pipeline);
  return { first, pipeline };
}

/** `one` is suspended after its step `a`. */
async function suspended(stage: Stage, concurrency?: ConcurrencyRule): Promise<ReturnType<typeof held>> {
  const parts = held(stage, concurrency);
  stage.api.put("one", { pipeline: "article" });
  await stage.pass(1_000);
  stage.api.edit("one", { suspend: true });
  await stage.settle();
  expect(phase(stage, "one"), "its step runs to its end").to.equal("Running");
  parts.first.open();
  await stage.pass(500);
  expect(phase(stage, "one")).to.equal("Suspended");
  return parts;
}

describe("an edit while the step runs", () => {
  it("is seen in the status before the step ends, in one write", async () => {
    await using stage = new Stage();
    const { first } = held(stage);
    stage.api.put("one", { pipeline: "article" });
    await stage.pass(1_000);
    const { writes } = stage.api;
    stage.api.edit("one", { suspend: true });
    await stage.pass(1_000);
    expect(stage.api.execution("one").status).to.include({ phase: "Running", observedGeneration: 2 });
    await stage.pass(5_000);
    expect(stage.api.writes - writes).to.equal(1);
    first.open();
    await stage.pass(500);
    expect(phase(stage, "one")).to.equal("Suspended");
  });
});

describe("spec.suspend before the start", () => {
  it("keeps the Execution from starting, says so in one write, and lets it start when it is false", async () => {
    await using stage = new Stage();
    stage.pipeline(compiled(chain("a")));
    stage.api.put("one", { pipeline: "article", suspend: true });
    await stage.pass(5_000);
    expect(phase(stage, "one")).to.equal("Suspended");
    expect(reason(stage, "one")).to.equal("Suspended");
    expect(stage.api.execution("one").status?.owner).to.equal(undefined);
    expect(stage.api.writes).to.equal(1);
    expect(stage.calls).to.deep.equal([]);
    stage.api.edit("one", { suspend: false });
    await stage.settle();
    expect(phase(stage, "one")).to.equal("Succeeded");
    expect(stage.api.writes).to.equal(2);
  });

  it("takes an Execution out of the queue, and says that it has seen further edits", async () => {
    await using stage = new Stage();
    held(stage, { limit: 1, policy: "Queue" });
    for (const name of ["one", "two", "three"]) stage.api.put(name, { pipeline: "article" });
    await stage.pass(1_000);
    stage.api.edit("two", { suspend: true });
    await stage.settle();
    expect(stage.api.execution("two").status).to.include({ phase: "Suspended", observedGeneration: 2 });
    expect(stage.api.execution("two").status?.queuedSince).to.equal(undefined);
    stage.api.edit("two", { ttlSecondsAfterFinished: 60 });
    await stage.settle();
    expect(stage.api.execution("two").status).to.include({ phase: "Suspended", observedGeneration: 3 });
    expect(stage.controller.load).to.deep.equal({ running: 1, waiting: 1 });
  });

  it("ends with a cancellation, Graceful or Immediate, and no step has run", async () => {
    await using stage = new Stage();
    stage.pipeline(compiled(chain("a"), {}, { definition: { finally: chain("notify") } }));
    for (const name of ["one", "two"]) stage.api.put(name, { pipeline: "article", suspend: true });
    await stage.settle();
    stage.api.edit("one", { cancel: "Graceful" });
    stage.api.edit("two", { cancel: "Immediate" });
    await stage.settle();
    expect(phase(stage, "one")).to.equal("Cancelled");
    expect(phase(stage, "two")).to.equal("Cancelled");
    expect(stage.calls).to.deep.equal([]);
  });
});

describe("spec.suspend of a run", () => {
  it("gives its place to the next, and has one again when it goes on, before what has not begun", async () => {
    await using stage = new Stage();
    await suspended(stage, { limit: 1, policy: "Queue" });
    const second = gate();
    stage.work = second.work;
    for (const name of ["two", "three"]) stage.api.put(name, { pipeline: "article", priority: 9 });
    await stage.pass(1_000);
    expect(calls(stage, "two")).to.deep.equal(["a"]);
    stage.api.edit("one", { suspend: false });
    await stage.pass(1_000);
    expect(phase(stage, "one")).to.equal("Queued");
    expect(condition(stage.api.execution("one").status, "Succeeded")?.message).to.include("it is the next");
    second.open();
    await stage.pass(1_000);
    expect(phase(stage, "one")).to.equal("Succeeded");
    expect(calls(stage, "one")).to.deep.equal(["a", "b", "notify"]);
    const order = stage.calls.filter((key) => key.endsWith("/notify")).map((key) => key.split("-")[1]);
    expect(order).to.deep.equal(["two", "one", "three"]);
  });

  it("is neither forbidden nor timed out when it goes on", async () => {
    for (const rule of [
      { limit: 1, policy: "Forbid" },
      { limit: 1, policy: "Queue", queueTimeoutMs: 2_000 },
    ] as const) {
      await using stage = new Stage();
      await suspended(stage, rule);
      const second = gate();
      stage.work = second.work;
      stage.api.put("two", { pipeline: "article" });
      await stage.pass(1_000);
      stage.api.edit("one", { suspend: false });
      await stage.pass(10_000);
      expect(phase(stage, "one"), rule.policy).to.equal("Queued");
      second.open();
      await stage.pass(1_000);
      expect(phase(stage, "one"), rule.policy).to.equal("Succeeded");
    }
  });

  it("lasts through a restart, and goes on there without being counted as a take-over", async () => {
    const first = new Stage();
    const { pipeline } = await suspended(first, { limit: 1, policy: "Queue" });
    first.crash();
    await using stage = new Stage({ api: first.api, time: first.time, replica: "replica-b", calls: first.calls });
    stage.revisions.set("article-1", pipeline);
    stage.pipeline(pipeline);
    const later = gate();
    stage.work = later.work;
    stage.api.put("two", { pipeline: "article" });
    await stage.pass(2_000);
    expect(phase(stage, "one")).to.equal("Suspended");
    expect(phase(stage, "two"), "a suspended one holds no place").to.equal("Running");
    later.open();
    await stage.settle();
    const before = stage.api.writes;
    stage.api.edit("one", { suspend: false });
    await stage.settle();
    expect(phase(stage, "one")).to.equal("Succeeded");
    expect(stage.api.writes - before, "the claim and the outcome").to.equal(2);
    expect(stage.api.execution("one").status?.owner).to.deep.equal({ replica: "replica-b", epoch: 2 });
    expect(calls(stage, "one")).to.deep.equal(["a", "b", "notify"]);
    expect(stage.events.map(({ message }) => message)).to.include("Resumed from 1/3 recorded steps; it was suspended");
    await first[Symbol.asyncDispose]();
  });

  it("is recorded for a run whose controller died before it could pause it", async () => {
    const first = new Stage();
    const { pipeline } = held(first);
    first.api.put("one", { pipeline: "article" });
    await first.pass(1_000);
    first.crash();
    first.api.edit("one", { suspend: true });
    await using stage = new Stage({ api: first.api, time: first.time, replica: "replica-b" });
    stage.revisions.set("article-1", pipeline);
    stage.pipeline(pipeline);
    await stage.pass(1_000);
    const { status } = stage.api.execution("one");
    expect(status?.phase).to.equal("Suspended");
    expect(status?.steps?.[0], "its rows are as they were").to.include({ name: "a", state: "Running" });
    expect(status?.active).to.have.all.keys("beforeMs");
    expect(stage.controller.load).to.deep.equal({ running: 0, waiting: 0 });
    stage.api.edit("one", { suspend: false });
    await stage.pass(1_000);
    expect(phase(stage, "one")).to.equal("Succeeded");
    await first[Symbol.asyncDispose]();
  });

  it("ends at once with cancel: Immediate, and with cancel: Graceful after `finally`", async () => {
    await using stage = new Stage();
    await suspended(stage);
    stage.api.edit("one", { cancel: "Graceful" });
    await stage.settle();
    expect(phase(stage, "one")).to.equal("Cancelled");
    expect(calls(stage, "one")).to.deep.equal(["a", "notify"]);
    await using other = new Stage();
    await suspended(other);
    other.api.edit("one", { cancel: "Immediate" });
    await other.settle();
    expect(phase(other, "one")).to.equal("Cancelled");
    expect(calls(other, "one")).to.deep.equal(["a"]);
    const states = other.api.execution("one").status?.steps?.map(({ state }) => state);
    expect(states).to.deep.equal(["Succeeded", "Skipped", "Skipped"]);
  });

  it("says what a run that goes on waits for, a Processor for example", async () => {
    await using stage = new Stage();
    await suspended(stage);
    stage.processors.set("team", "work", { waiting: "it is being loaded", waitingReason: "Loading" });
    stage.api.edit("one", { suspend: false });
    await stage.pass(1_000);
    expect(phase(stage, "one")).to.equal("Pending");
    expect(reason(stage, "one")).to.equal("ProcessorNotReady");
    stage.serve();
    await stage.pass(1_000);
    expect(phase(stage, "one")).to.equal("Succeeded");
  });

  it("says Pending, not Suspended, while it waits for nothing but its turn", async () => {
    await using stage = new Stage({ maxRunning: 1 });
    await suspended(stage);
    const second = gate();
    stage.work = second.work;
    stage.api.put("two", { pipeline: "article" });
    await stage.settle();
    stage.api.edit("one", { suspend: false });
    await stage.settle();
    expect(phase(stage, "one")).to.equal("Pending");
    second.open();
    await stage.pass(1_000);
    expect(phase(stage, "one")).to.equal("Succeeded");
  });
});
