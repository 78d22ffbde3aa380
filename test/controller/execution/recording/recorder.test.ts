import { expect } from "chai";
import { Recorder, type RecorderOptions } from "../../../../controller/execution/recording/recorder.ts";
import { StepLogs } from "../../../../controller/execution/recording/step-logs.ts";
import { resumed } from "../../../../controller/execution/run/resumed.ts";
import { MillraceError } from "../../../../engine/errors.ts";
import type { StepError } from "../../../../engine/outcome.ts";
import { BytesPayload, jsonPayload, textPayload } from "../../../../engine/payload.ts";
import { namespaceUid, never } from "../../payloads/store-folder.ts";
import { VirtualTime } from "../../runtime/fakes.ts";
import { type RunFolder, runFolder } from "../run-folder.ts";

const { ports } = new VirtualTime();
const broken: StepError = { code: "Internal", kind: "System", message: "no" };

function recorderOf(
  folder: RunFolder,
  steps: RecorderOptions["steps"],
  more: Partial<RecorderOptions> = {},
  payloads = folder.payloads,
): Recorder {
  const common = { clock: ports.clock, payloads, store: payloads, signal: never, steps, recorded: [] };
  return new Recorder({ ...common, onChange: () => undefined, ...more });
}

const one = { name: "one", kind: "Processor", processor: "work" } as const;

function succeeded(text: string, metadata: Readonly<Record<string, string>> = {}) {
  return { state: "Succeeded", output: textPayload(text), metadata, attempts: 1 } as const;
}

describe("the rows of a run", () => {
  it("have none for an Enter, and follow the plan's order", async () => {
    await using folder = await runFolder(ports.clock);
    const recorder = recorderOf(folder, [
      { name: "outer", kind: "Enter", processor: "" },
      { name: "outer/inner", kind: "Processor", processor: "work" },
      { name: "outer", kind: "Exit", processor: "" },
    ]);
    recorder.onEvent({ type: "StepFinished", step: 0, result: { state: "Skipped", reason: "WhenFalse" } });
    recorder.onEvent({ type: "StepStarted", step: 1, attempt: 1 });
    recorder.onEvent({ type: "StepFinished", step: 1, result: succeeded("x") });
    recorder.onEvent({ type: "StepFinished", step: 2, result: { ...succeeded("x"), attempts: 0 } });
    expect(recorder.rows.map(({ name, state, attempts }) => [name, state, attempts])).to.deep.equal([
      ["outer/inner", "Succeeded", 1],
      ["outer", "Succeeded", 0],
    ]);
  });

  it("say of a success without an attempt where it came from, and of a failure that it was ignored", async () => {
    await using folder = await runFolder(ports.clock);
    const recorder = recorderOf(folder, [one, { ...one, name: "two" }]);
    recorder.used({ step: 0 }, { generation: 3, digests: ["sha256:a"] }, "f00d");
    recorder.onEvent({ type: "StepFinished", step: 0, result: { ...succeeded("x"), attempts: 0, reason: "Cached" } });
    recorder.onEvent({
      type: "StepFinished",
      step: 1,
      result: { state: "Failed", error: broken, attempts: 2, reason: "Ignored" },
    });
    expect(recorder.rows).to.deep.equal([
      {
        name: "one",
        state: "Succeeded",
        reason: "Cached",
        attempts: 0,
        output: { text: "x", contentType: "text/plain; charset=utf-8" },
        request: "f00d",
        processor: { name: "work", generation: 3, digests: ["sha256:a"] },
      },
      { name: "two", state: "Failed", reason: "Ignored", attempts: 2, error: broken },
    ]);
    const { recorded } = await resumed(recorder.rows, folder.another(), never);
    expect(recorded.results.get("one")).to.include({ reason: "Cached", attempts: 0 });
    expect(recorded.results.get("two")).to.include({ reason: "Ignored", attempts: 2 });
  });

  it("say what was metered, also of failures and items, and a run that goes on takes it back", async () => {
    await using folder = await runFolder(ports.clock);
    const steps = [one, { ...one, name: "two" }, { ...one, name: "many" }];
    const recorder = recorderOf(folder, steps);
    recorder.onEvent({ type: "StepFinished", step: 0, result: { ...succeeded("x"), fuel: 5_000_000_000 } });
    recorder.onEvent({
      type: "StepFinished",
      step: 1,
      result: { state: "Failed", error: broken, attempts: 2, fuel: 12 },
    });
    recorder.onEvent({ type: "ItemsListed", step: 2, total: 3, digest: "0a".repeat(16) });
    recorder.onEvent({ type: "ItemFinished", step: 2, item: 0, result: { ...succeeded("x"), fuel: 3 } });
    recorder.onEvent({
      type: "ItemFinished",
      step: 2,
      item: 2,
      result: { state: "Failed", error: broken, attempts: 1, fuel: 4 },
    });
    await recorder.flush();
    await recorder.settled();
    expect(recorder.rows.map(({ fuel }) => fuel)).to.deep.equal([5_000_000_000, 12, undefined]);
    const { recorded } = await resumed(recorder.rows, folder.another(), never);
    expect([...recorded.results.values()].map((result) => "fuel" in result && result.fuel)).to.deep.equal([
      5_000_000_000, 12,
    ]);
    const items = recorded.items.get("many")?.results;
    expect([items?.get(0)?.fuel, items?.get(2)?.fuel]).to.deep.equal([3, 4]);
  });

  it("name metadata in the store where it is large, or the rows together have much of it", async () => {
    await using folder = await runFolder(ports.clock);
    const steps = Array.from({ length: 80 }, (_, index) => ({ ...one, name: `step-${index}` }));
    const recorder = recorderOf(folder, steps);
    recorder.onEvent({ type: "StepFinished", step: 0, result: succeeded("x", { note: "n".repeat(2_000) }) });
    for (let step = 1; step < 80; step++)
      recorder.onEvent({ type: "StepFinished", step, result: succeeded("x", { note: `${step}`.padEnd(1_000) }) });
    await recorder.settled();
    const { rows } = recorder;
    expect(rows[0]?.metadataPayload?.bytes).to.be.greaterThan(2_000);
    expect(rows[1]?.metadata).to.have.key("note");
    expect(rows[79]?.metadata).to.equal(undefined);
    const inline = rows.reduce((bytes, { metadata = {} }) => bytes + (metadata.note?.length ?? 0), 0);
    expect(inline).to.be.lessThan(64 * 1024);
    const { recorded } = await resumed(rows, folder.another(), never);
    expect(recorded.results.get("step-0")).to.deep.include({ metadata: { note: "n".repeat(2_000) } });
    expect(recorded.results.get("step-79")).to.deep.include({ metadata: { note: "79".padEnd(1_000) } });
  });

  it("cut a long message and name the whole one", async () => {
    await using folder = await runFolder(ports.clock);
    const recorder = recorderOf(folder, [one]);
    const message = "because ".repeat(1_000);
    recorder.onEvent({
      type: "StepFinished",
      step: 0,
      result: { state: "Failed", error: { ...broken, message }, attempts: 1 },
    });
    await recorder.settled();
    const { error } = recorder.rows[0] ?? {};
    expect(error?.message.length).to.be.at.most(1024);
    const full = await folder.payloads.find(error?.full?.ref ?? "", "text/plain", never);
    expect(Buffer.from((await full?.bytes(never)) ?? []).toString()).to.equal(message);
  });

  it("put messages that a large status will cut into the store first", async () => {
    await using folder = await runFolder(ports.clock);
    const recorder = recorderOf(folder, [one]);
    const error = { ...broken, message: "x".repeat(500) };
    recorder.onEvent({ type: "StepFinished", step: 0, result: { state: "Failed", error, attempts: 1 } });
    expect(recorder.rows[0]?.error).not.to.have.key("full");
    await recorder.keepMessages(160);
    expect(recorder.rows[0]?.error?.full?.bytes).to.equal(500);
  });

  it("name the log of their attempts, if there is one", async () => {
    await using folder = await runFolder(ports.clock);
    const logs = new StepLogs();
    const recorder = recorderOf(folder, [one, { ...one, name: "two" }, { ...one, name: "three" }], { logs });
    const log = logs.of({ step: 0, attempt: 1 });
    for (const line of ["fetching", "fetched"]) log(line);
    logs.of({ step: 1, attempt: 1 })("first");
    logs.of({ step: 1, attempt: 2 })("second");
    for (const step of [0, 1, 2]) recorder.onEvent({ type: "StepFinished", step, result: succeeded("x") });
    await recorder.settled();
    const texts = await Promise.all(
      recorder.rows.map(async ({ log }) => {
        const stored = log && (await folder.payloads.find(log.ref, "text/plain", never));
        return stored && Buffer.from(await stored.bytes(never)).toString();
      }),
    );
    expect(texts).to.deep.equal([
      "fetching\nfetched\n",
      "--- attempt 1 ---\nfirst\n--- attempt 2 ---\nsecond\n",
      undefined,
    ]);
  });

  it("end all the same when a log cannot be stored", async () => {
    await using folder = await runFolder(ports.clock);
    const logs = new StepLogs();
    const lost: string[] = [];
    const recorder = recorderOf(folder, [one], { logs, onLoss: (what, step) => void lost.push(`${what} of ${step}`) });
    folder.payloads.text = () => Promise.reject(new Error("the disk is full"));
    logs.of({ step: 0, attempt: 1 })("a line");
    recorder.onEvent({ type: "StepFinished", step: 0, result: succeeded("x") });
    await recorder.settled();
    expect(recorder.rows[0]?.state).to.equal("Succeeded");
    expect(lost).to.deep.equal(["log of one"]);
  });
});

describe("a log", () => {
  it("keeps so much of an attempt and no more", () => {
    const logs = new StepLogs();
    const log = logs.of({ step: 0, attempt: 1 });
    for (let line = 0; line < 2_000; line++) log("x".repeat(1_000));
    expect(logs.take(0)?.length).to.be.within(79 * 1024, 80 * 1024);
    expect(logs.take(0)).to.equal(undefined);
  });
});

describe("the logs of a run", () => {
  it("are bounded together while they wait for their steps' ends, and say what was cut; then there is room again", () => {
    const logs = new StepLogs();
    const items = Array.from({ length: 1_000 }, (_, item) => item);
    for (const item of items) {
      const log = logs.of({ step: 0, item, attempt: 1 });
      for (let line = 0; line < 60; line++) log("x".repeat(1_000));
    }
    const taken = items.map((item) => logs.take(0, item) ?? "");
    expect(taken.reduce((sum, { length }) => sum + length, 0)).to.be.within(15 * 1024 * 1024, 18 * 1024 * 1024);
    expect(taken[0]).not.to.include("[log cut");
    expect(taken.at(-1)).to.include("[log cut");
    logs.of({ step: 0, item: 0, attempt: 2 })("again");
    expect(logs.take(0, 0)).to.equal("--- attempt 2 ---\nagain\n");
  });
});

describe("the row of a fan-out", () => {
  const listed = { type: "ItemsListed", step: 0, total: 1_000, digest: "f00d" } as const;

  it("shows what its manifest has, and no more", async () => {
    await using folder = await runFolder(ports.clock);
    const recorder = recorderOf(folder, [one]);
    recorder.onEvent(listed);
    expect(recorder.rows[0]).to.deep.include({
      state: "Running",
      items: { total: 1_000, succeeded: 0, failed: 0, list: "f00d" },
    });
    for (const item of [0, 1, 2, 7])
      recorder.onEvent({ type: "ItemFinished", step: 0, item, result: succeeded(`${item}`) });
    expect(recorder.rows[0]?.items?.done).to.equal(undefined);
    await recorder.flush();
    const { results, ...items } = recorder.rows[0]?.items ?? {};
    expect(items).to.deep.equal({ total: 1_000, succeeded: 4, failed: 0, done: "0-2,7", list: "f00d" });
    const records = await Array.fromAsync(folder.payloads.items(results ?? { ref: "", bytes: 0 }, never));
    expect(records.map(({ index, output }) => [index, output?.text])).to.deep.equal([
      [0, "0"],
      [1, "1"],
      [2, "2"],
      [7, "7"],
    ]);
  });

  it("names the sixteen failed items of the lowest indices, in few bytes", async () => {
    await using folder = await runFolder(ports.clock);
    const recorder = recorderOf(folder, [one]);
    recorder.onEvent(listed);
    const error = { ...broken, message: "é".repeat(1_000), processorCode: "Mine" };
    for (let item = 99; item >= 0; item--)
      recorder.onEvent({ type: "ItemFinished", step: 0, item, result: { state: "Failed", error, attempts: 1 } });
    await recorder.flush();
    const { failures = [], failed } = recorder.rows[0]?.items ?? {};
    expect(failed).to.equal(100);
    expect(failures.map(({ index }) => index)).to.deep.equal(Array.from({ length: 16 }, (_, index) => index));
    expect(failures.every(({ message }) => Buffer.byteLength(message) <= 160)).to.equal(true);
    expect(failures[0]).to.include({ code: broken.code, processorCode: "Mine" });
  });

  it("tells after a store that failed for a while all that ended meanwhile", async () => {
    await using folder = await runFolder(ports.clock);
    const recorder = recorderOf(folder, [one]);
    const manifest = folder.payloads.manifest.bind(folder.payloads);
    recorder.onEvent(listed);
    folder.payloads.manifest = () => Promise.reject(new Error("the disk is full"));
    recorder.onEvent({ type: "ItemFinished", step: 0, item: 0, result: succeeded("0") });
    const failed = await recorder.flush().then(
      () => "flushed",
      () => "failed",
    );
    expect(failed).to.equal("failed");
    expect(recorder.rows[0]?.items?.succeeded).to.equal(0);
    folder.payloads.manifest = manifest;
    recorder.onEvent({ type: "ItemFinished", step: 0, item: 1, result: succeeded("1") });
    await recorder.flush();
    const { results, ...items } = recorder.rows[0]?.items ?? {};
    expect(items).to.include({ succeeded: 2, done: "0-1" });
    const records = await Array.fromAsync(folder.payloads.items(results ?? { ref: "", bytes: 0 }, never));
    expect(records.map(({ index }) => index)).to.deep.equal([0, 1]);
  });

  it("goes on in another process: what ended is a result, attempts count on, the rest is counted once", async () => {
    await using folder = await runFolder(ports.clock);
    const first = recorderOf(folder, [one]);
    first.onEvent(listed);
    const large = new BytesPayload(new Uint8Array(5_000), "application/octet-stream");
    first.onEvent({
      type: "ItemFinished",
      step: 0,
      item: 3,
      result: { ...succeeded("three"), metadata: { words: "3" } },
    });
    first.onEvent({ type: "ItemFinished", step: 0, item: 300, result: { ...succeeded(""), output: large } });
    first.onEvent({ type: "ItemFinished", step: 0, item: 4, result: { state: "Failed", error: broken, attempts: 2 } });
    first.onEvent({ type: "ItemRetrying", step: 0, item: 5, attempt: 1, error: broken, delayMs: 10 });
    first.starting({ step: 0, item: 6, attempt: 1 });
    await first.settled();
    await first.flush();
    const payloads = folder.another();
    const { recorded, fanOuts } = await resumed(first.rows, payloads, never);
    const items = recorded.items.get("one");
    expect(items).to.include({ digest: "f00d", total: 1_000 });
    expect([...(items?.results.keys() ?? [])]).to.deep.equal([3, 4, 300]);
    expect([...(items?.attempts ?? [])]).to.deep.equal([
      [5, 1],
      [6, 1],
    ]);
    const third = items?.results.get(3);
    if (third?.state !== "Succeeded") throw new Error("item 3 is not there");
    expect(third.metadata).to.deep.equal({ words: "3" });
    const back = items?.results.get(300);
    expect(back?.state === "Succeeded" && (await back.output.bytes(never)).byteLength).to.equal(5_000);
    const second = recorderOf(folder, [one], { recorded: first.rows, fanOuts }, payloads);
    second.onEvent(listed);
    second.onEvent({ type: "ItemFinished", step: 0, item: 5, result: { ...succeeded("five"), attempts: 2 } });
    second.onEvent({ type: "StepFinished", step: 0, result: { ...succeeded(""), output: jsonPayload([]) } });
    await second.settled();
    expect(second.rows[0]).to.deep.include({ state: "Succeeded", attempts: 1 });
    expect(second.rows[0]?.items).to.include({ succeeded: 3, failed: 1, done: "3-5,300" });
  });

  it("counts its items also where nothing is stored, and names no results then", async () => {
    const payloads = { row: () => ({ json: [] }) };
    const recorder = new Recorder({
      clock: ports.clock,
      payloads,
      signal: never,
      steps: [one],
      recorded: [],
      onChange: () => undefined,
    });
    recorder.onEvent(listed);
    recorder.onEvent({ type: "ItemFinished", step: 0, item: 1, result: succeeded("1") });
    recorder.onEvent({
      type: "StepFinished",
      step: 0,
      result: { ...succeeded(""), metadata: { note: "n".repeat(2_000) } },
    });
    await recorder.settled();
    expect(recorder.rows[0]?.items).to.deep.equal({ total: 1_000, succeeded: 1, failed: 0, done: "1", list: "f00d" });
    expect(recorder.rows[0]?.metadata?.note).to.have.length(2_000);
  });

  it("keeps what is recorded of its items when its own output cannot be stored", async () => {
    await using folder = await runFolder(ports.clock);
    const recorder = recorderOf(folder, [one]);
    recorder.onEvent(listed);
    recorder.onEvent({ type: "ItemFinished", step: 0, item: 3, result: succeeded("three") });
    await recorder.flush();
    folder.payloads.row = () => Promise.reject(new MillraceError("ResourceExhausted", "the disk is full"));
    recorder.onEvent({ type: "StepFinished", step: 0, result: { ...succeeded(""), output: jsonPayload([]) } });
    await recorder.settled();
    expect(recorder.rows[0]).to.deep.include({ state: "Failed" });
    expect(recorder.rows[0]?.error?.code).to.equal("ResourceExhausted");
    expect(recorder.rows[0]?.items).to.include({ total: 1_000, succeeded: 1, done: "3" });
    expect(recorder.rows[0]?.items?.results).not.to.equal(undefined);
  });

  it("writes ten thousand small results as forty chunks, and leaves a small row", async () => {
    await using folder = await runFolder(ports.clock);
    const recorder = recorderOf(folder, [one]);
    recorder.onEvent({ ...listed, total: 10_000 });
    for (let item = 0; item < 10_000; item++)
      recorder.onEvent({ type: "ItemFinished", step: 0, item, result: succeeded(`${item}`) });
    recorder.onEvent({ type: "StepFinished", step: 0, result: { ...succeeded(""), output: jsonPayload([]) } });
    await recorder.settled();
    const stored = await Array.fromAsync(folder.store.list(namespaceUid, never));
    expect(stored).to.have.length(41);
    expect(JSON.stringify(recorder.rows).length).to.be.lessThan(1_000);
  });
});
