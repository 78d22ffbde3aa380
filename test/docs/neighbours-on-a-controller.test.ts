import { expect } from "chai";
import type { CompiledPipeline } from "../../controller/catalog.ts";
import { checkLocated, choosePipeline, openWorkspace } from "../../controller/cli/workspace.ts";
import { MillraceError } from "../../engine/errors.ts";
import { textPayload } from "../../engine/payload.ts";
import { condition, Stage, succeed, type Work, workFacts } from "../controller/execution/stage.ts";

/** A Pipeline of `docs/neighbours.md`, as the controller compiles it. */
async function pipelineOf(name: string): Promise<CompiledPipeline> {
  const context = { interrupted: new AbortController().signal } as never;
  const workspace = await openWorkspace(["manifests/samples/neighbours"], context);
  const check = await checkLocated(workspace, choosePipeline(workspace, name));
  if (check.ok) return check.pipeline;
  throw new Error(JSON.stringify(check.problems));
}

interface Staged {
  readonly stage: Stage;
  readonly calls: string[];
  work: Work;
  input: { readonly text: string };
}

/** A controller with that Pipeline, its Processors' work written by the test. */
async function staged(name: string): Promise<Staged> {
  const stage = new Stage();
  const pipeline = await pipelineOf(name);
  stage.pipeline(pipeline, "team", name);
  const set: Staged = { stage, calls: [], work: succeed, input: { text: "x" } };
  for (const processor of pipeline.processors) {
    const invoke: Work = (attempt, request, signal) => {
      set.calls.push(`${attempt.execution.name}/${attempt.stepName}`);
      return set.work(attempt, request, signal);
    };
    const serving = {
      generation: 1,
      digests: ["sha256:code"],
      called: "process",
      facts: { ...workFacts, name: processor },
      invoke,
    };
    stage.processors.set("team", processor, { serving });
  }
  return set;
}

const statusOf = ({ stage }: Staged, name: string) => stage.api.execution(name).status;
const phases = (set: Staged, ...names: string[]) => names.map((name) => statusOf(set, name)?.phase);
const rows = (set: Staged, name: string) =>
  (statusOf(set, name)?.steps ?? []).map((row) => [
    row.name,
    row.state,
    ...(row.reason === undefined ? [] : [row.reason]),
  ]);

/** Holds calls up until they are let go, one by one. */
function held(set: Staged): { release(): void } {
  const waiting: (() => void)[] = [];
  set.work = async (attempt, request, signal) => {
    await new Promise<void>((resolve) => void waiting.push(resolve));
    return await succeed(attempt, request, signal);
  };
  return { release: () => waiting.shift()?.() };
}

/** Fails instead of waiting for ever. */
async function until({ stage }: Staged, holds: () => boolean): Promise<void> {
  for (let pass = 0; pass < 2_000; pass++) {
    if (holds()) return;
    await stage.advance(10);
  }
  expect(holds(), `it never held; ${JSON.stringify(stage.api.executions().map(({ status }) => status))}`).to.equal(
    true,
  );
}

async function over(set: Staged, ...names: string[]): Promise<void> {
  await until(set, () => names.every((name) => statusOf(set, name)?.completionTime !== undefined));
}

describe("the neighbours' examples that need a controller", function () {
  this.timeout(30_000);

  it("suspend, approve, resume: release", async () => {
    const set = await staged("release");
    await using stage = set.stage;
    const gate = held(set);
    stage.api.put("one", { pipeline: "release", input: set.input });
    await until(set, () => set.calls.length === 1);
    stage.api.edit("one", { suspend: true });
    await stage.advance(10);
    gate.release();
    await until(set, () => statusOf(set, "one")?.phase === "Suspended");
    await stage.advance(3_600_000);
    expect(rows(set, "one")).to.deep.equal([
      ["build", "Succeeded"],
      ["publish", "Waiting"],
    ]);
    expect(set.calls).to.deep.equal(["one/build"]);
    stage.api.edit("one", { suspend: false });
    await until(set, () => set.calls.length === 2);
    gate.release();
    await over(set, "one");
    expect(phases(set, "one")).to.deep.equal(["Succeeded"]);
    expect(set.calls).to.deep.equal(["one/build", "one/publish"]);
  });

  it("resubmit what failed, without what succeeded: release", async () => {
    const set = await staged("release");
    await using stage = set.stage;
    set.work = (attempt, request, signal) =>
      attempt.stepName === "publish" && attempt.execution.name === "one"
        ? Promise.reject(new MillraceError("InvalidInput", "no such registry"))
        : succeed(attempt, request, signal);
    stage.api.put("one", { pipeline: "release", input: set.input });
    await over(set, "one");
    stage.api.put("two", { pipeline: "release", retryFrom: { execution: "one" } });
    await over(set, "two");
    expect(phases(set, "one", "two")).to.deep.equal(["Failed", "Succeeded"]);
    expect(rows(set, "two")).to.deep.equal([
      ["build", "Succeeded", "Reused"],
      ["publish", "Succeeded"],
    ]);
    expect(set.calls).to.deep.equal(["one/build", "one/publish", "two/publish"]);
  });

  it("one at a time, those of higher priority first: one-at-a-time", async () => {
    const set = await staged("one-at-a-time");
    await using stage = set.stage;
    const gate = held(set);
    const put = async (name: string, priority: number) => {
      stage.api.put(name, { pipeline: "one-at-a-time", input: set.input, priority });
      await stage.settle();
      await stage.advance(300);
    };
    await put("first", 0);
    await put("low", -1);
    await put("high", 7);
    expect(phases(set, "first", "low", "high")).to.deep.equal(["Running", "Queued", "Queued"]);
    for (const count of [1, 2, 3]) {
      await until(set, () => set.calls.length === count);
      gate.release();
    }
    await over(set, "first", "low", "high");
    expect(set.calls).to.deep.equal(["first/work", "high/work", "low/work"]);
  });

  it("fails what waits for more than an hour, and deletes what ran an hour after its end: one-at-a-time", async () => {
    const set = await staged("one-at-a-time");
    await using stage = set.stage;
    const gate = held(set);
    stage.api.put("first", { pipeline: "one-at-a-time", input: set.input });
    await until(set, () => set.calls.length === 1);
    stage.api.put("second", { pipeline: "one-at-a-time", input: set.input });
    await stage.advance(10);
    for (let minute = 0; minute < 61; minute++) {
      await stage.advance(60_000);
      for (const { metadata } of stage.api.executions()) stage.api.label(metadata.name);
      await stage.settle();
    }
    expect(condition(statusOf(set, "second"), "Succeeded")?.reason).to.equal("QueueTimeout");
    gate.release();
    await over(set, "first");
    for (let minute = 0; minute < 61; minute++) {
      await stage.advance(60_000);
      for (const { metadata } of stage.api.executions()) stage.api.label(metadata.name);
      await stage.settle();
    }
    expect(stage.api.deleted).to.include("first");
  });

  it("remembers, for an hour and for the same key: memoized", async () => {
    const set = await staged("memoized");
    await using stage = set.stage;
    set.work = (attempt) =>
      Promise.resolve({ ok: true, payload: textPayload(`of ${attempt.execution.name}`), metadata: {} });
    let kept = 0;
    const putRecord = stage.store.putRecord.bind(stage.store);
    stage.store.putRecord = async (...entry) => {
      await putRecord(...entry);
      kept++;
    };
    const run = async (name: string, message: string) => {
      stage.api.put(name, { pipeline: "memoized", parameters: [{ name: "message", value: message }] });
      await over(set, name);
      return statusOf(set, name)?.output?.text;
    };
    expect(await run("one", "a")).to.equal("of one");
    await until(set, () => kept === 1);
    expect(await run("two", "a")).to.equal("of one");
    expect(rows(set, "two")).to.deep.equal([["say", "Succeeded", "Cached"]]);
    expect(await run("three", "b")).to.equal("of three");
    await stage.advance(3_600_001);
    expect(await run("four", "a")).to.equal("of four");
    expect(set.calls).to.deep.equal(["one/say", "three/say", "four/say"]);
  });
});
