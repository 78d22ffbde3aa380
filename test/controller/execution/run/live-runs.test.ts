import { expect } from "chai";
import { MillraceError } from "../../../../engine/errors.ts";
import { jsonPayload, textPayload } from "../../../../engine/payload.ts";
import type { StepDefinition } from "../../../../engine/pipeline.ts";
import { chain, compiled, condition, gate, succeed, type Work } from "../stage.ts";
import { LiveRuns } from "./live-runs.ts";

function step(name: string, more: Partial<StepDefinition> = {}): StepDefinition {
  return { name, processor: "work", dependsOn: [], options: {}, ...more };
}

/** Takes so long, in virtual milliseconds. */
function slow(runs: LiveRuns, ms: number, work: Work = succeed): Work {
  return async (attempt, request, signal) => {
    await new Promise<void>((resolve) => runs.time.ports.scheduler.after(ms, resolve));
    return await work(attempt, request, signal);
  };
}

const fault: Work = () => Promise.reject(new MillraceError("Internal", "broken"));

describe("a run that is suspended", () => {
  it("lets what runs finish, is recorded as Suspended in one write, and goes on where it was", async () => {
    await using runs = await LiveRuns.begin();
    const opened = gate();
    const pipeline = compiled(chain("clean", "count", "join"));
    runs.work = (attempt, request, signal) =>
      attempt.stepName === "count" ? opened.work(attempt, request, signal) : succeed(attempt, request, signal);
    const run = await runs.start(pipeline);
    await runs.until(() => runs.calls.includes("count#1"));
    runs.api.edit("one", { suspend: true });
    run.observe(runs.execution());
    await runs.advance(100);
    opened.open();
    expect(await runs.finish(run)).to.equal("Suspended");
    const suspended = runs.status();
    expect(runs.api.writes).to.equal(1);
    expect(suspended).to.deep.include({ phase: "Suspended", progress: "2/3", active: { beforeMs: 100 } });
    expect(suspended.owner).to.deep.equal({ replica: "replica-a", epoch: 1 });
    expect(suspended.conditions?.map(({ type, status, reason }) => [type, status, reason])).to.deep.equal([
      ["Succeeded", "Unknown", "Suspended"],
      ["Ready", "Unknown", "Suspended"],
      ["Reconciling", "True", "Suspended"],
    ]);
    expect(runs.events.map(({ type, reason }) => [type, reason])).to.deep.equal([["Normal", "Suspended"]]);
    await runs.advance(60_000);
    runs.api.edit("one", { suspend: false });
    expect(await runs.finish(await runs.goOn(pipeline))).to.equal("Ended");
    expect(runs.calls).to.deep.equal(["clean#1", "count#1", "join#1"]);
    const { phase, active } = runs.status();
    expect(phase).to.equal("Succeeded");
    expect(active?.beforeMs).to.be.within(100, 200);
    expect(active).not.to.have.key("since");
  });

  it("does not have the time of its pause counted by its Pipeline's timeout", async () => {
    await using runs = await LiveRuns.begin();
    const pipeline = compiled(chain("clean", "count"), {}, { definition: { timeoutMs: 1_000 } });
    runs.work = slow(runs, 400);
    const run = await runs.start(pipeline);
    await runs.advance(100);
    runs.api.edit("one", { suspend: true });
    run.observe(runs.execution());
    expect(await runs.finish(run)).to.equal("Suspended");
    await runs.advance(60_000);
    runs.api.edit("one", { suspend: false });
    await runs.finish(await runs.goOn(pipeline));
    expect(runs.status().phase).to.equal("Succeeded");
  });

  it("has the time before its pause counted, and fails when all of its parts take longer than the timeout", async () => {
    await using runs = await LiveRuns.begin();
    const pipeline = compiled(chain("clean", "count", "join"), {}, { definition: { timeoutMs: 1_000 } });
    runs.work = slow(runs, 400);
    const run = await runs.start(pipeline);
    await runs.advance(100);
    runs.api.edit("one", { suspend: true });
    run.observe(runs.execution());
    expect(await runs.finish(run)).to.equal("Suspended");
    runs.api.edit("one", { suspend: false });
    await runs.finish(await runs.goOn(pipeline));
    expect(condition(runs.status(), "Succeeded")?.reason).to.equal("PipelineTimeout");
    expect(runs.calls).to.deep.equal(["clean#1", "count#1", "join#1"]);
  });

  it("pauses, so that it can go on, also when the pause is called off before it took place", async () => {
    await using runs = await LiveRuns.begin();
    const opened = gate();
    runs.work = opened.work;
    const pipeline = compiled(chain("clean", "count"));
    const run = await runs.start(pipeline);
    await runs.until(() => runs.calls.length === 1);
    for (const suspend of [true, false]) {
      runs.api.edit("one", { suspend });
      run.observe(runs.execution());
    }
    opened.open();
    expect(await runs.finish(run)).to.equal("Suspended");
    await runs.finish(await runs.goOn(pipeline));
    expect(runs.status().phase).to.equal("Succeeded");
    expect(runs.calls).to.deep.equal(["clean#1", "count#1"]);
  });

  it("is cancelled gracefully when it goes on only for that: `finally` runs, nothing else does", async () => {
    await using runs = await LiveRuns.begin();
    const pipeline = compiled(chain("clean", "count"), {}, { definition: { finally: [step("notify")] } });
    const run = await runs.start(pipeline);
    runs.api.edit("one", { suspend: true });
    run.observe(runs.execution());
    expect(await runs.finish(run)).to.equal("Suspended");
    const before = [...runs.calls];
    expect(await runs.finish(await runs.goOn(pipeline, "one", { cancel: "Graceful" }))).to.equal("Ended");
    expect(runs.calls.slice(before.length)).to.deep.equal(["notify#1"]);
    expect(condition(runs.status(), "Succeeded")).to.deep.include({
      reason: "Cancelled",
      message: "Cancelled by spec.cancel: Graceful",
    });
  });
});

describe("a run that is cancelled gracefully", () => {
  it("lets what runs finish, skips the rest, and runs `finally`", async () => {
    await using runs = await LiveRuns.begin();
    const opened = gate();
    runs.work = (attempt, request, signal) =>
      attempt.stepName === "clean" ? opened.work(attempt, request, signal) : succeed(attempt, request, signal);
    const run = await runs.start(compiled(chain("clean", "count"), {}, { definition: { finally: [step("notify")] } }));
    await runs.until(() => runs.calls.length === 1);
    runs.api.edit("one", { cancel: "Graceful" });
    run.observe(runs.execution());
    opened.open();
    await runs.finish(run);
    const { phase, steps } = runs.status();
    expect(phase).to.equal("Cancelled");
    expect(steps?.map(({ name, state }) => [name, state])).to.deep.equal([
      ["clean", "Succeeded"],
      ["count", "Skipped"],
      ["notify", "Succeeded"],
    ]);
  });
});

describe("what a run's outcome says", () => {
  it("tells of a finally step that failed after a graceful cancellation", async () => {
    await using runs = await LiveRuns.begin();
    runs.work = fault;
    const pipeline = compiled([step("clean")], {}, { definition: { finally: [step("notify")] } });
    await runs.start(pipeline, { cancel: "Graceful" }).then((run) => {
      run.observe(runs.execution());
      return runs.finish(run);
    });
    const { phase } = runs.status();
    const message = 'Cancelled by spec.cancel: Graceful; finally step "notify" failed: Internal: broken';
    expect([phase, condition(runs.status(), "Succeeded")?.message]).to.deep.equal(["Cancelled", message]);
    expect(runs.calls).to.deep.equal(["notify#1"]);
  });

  it("has its named outputs, and counts what succeeded, was ignored and was skipped", async () => {
    await using runs = await LiveRuns.begin();
    const steps = [
      step("clean"),
      step("risky", { onFailure: "Ignore" }),
      step("never", { when: "false" }),
      step("join", { dependsOn: ["clean", "risky"], input: "'x'" }),
    ];
    const outputs = [
      { name: "clean", value: "steps.clean.output" },
      { name: "large", value: "steps.clean.output + ' and more'" },
    ];
    runs.work = (attempt, request, signal) =>
      attempt.stepName === "risky" ? fault(attempt, request, signal) : succeed(attempt, request, signal);
    const definition = { outputs, output: "steps.join.output" };
    await runs.finish(await runs.start(compiled(steps, {}, { definition })));
    const status = runs.status();
    expect(status.outputs).to.deep.equal([
      { name: "clean", value: { text: "clean done", contentType: "text/plain; charset=utf-8" } },
      { name: "large", value: { text: "clean done and more", contentType: "text/plain; charset=utf-8" } },
    ]);
    expect(condition(status, "Succeeded")?.message).to.equal("2 steps succeeded, 1 ignored, 1 skipped");
    expect(status.steps?.find(({ name }) => name === "risky")).to.deep.include({ state: "Failed", reason: "Ignored" });
    expect(runs.api.writes).to.equal(1);
    expect(runs.events).to.deep.equal([]);
  });

  it("says of a failed finally step that it was one", async () => {
    await using runs = await LiveRuns.begin();
    runs.work = (attempt, request, signal) =>
      attempt.stepName === "notify" ? fault(attempt, request, signal) : succeed(attempt, request, signal);
    await runs.finish(await runs.start(compiled([step("clean")], {}, { definition: { finally: [step("notify")] } })));
    const failed = condition(runs.status(), "Succeeded");
    expect(failed?.message).to.equal('finally step "notify" failed: Internal: broken');
  });

  it("is PayloadLost when what was recorded of a fan-out is lost, and no row looks as if it ran", async () => {
    await using runs = await LiveRuns.begin();
    const pipeline = compiled([step("pages", { forEach: "[1, 2]" })]);
    const results = { ref: `sha256:${"0".repeat(64)}`, bytes: 100 };
    const items = { total: 2, succeeded: 1, failed: 0, done: "0", list: "f00d", results };
    const steps = [{ name: "pages", state: "Running", items } as const];
    runs.api.put("one", { pipeline: "article" }, { owner: { replica: "dead", epoch: 1 }, steps });
    expect(await runs.finish(await runs.goOn(pipeline))).to.equal("Ended");
    expect(condition(runs.status(), "Succeeded")?.reason).to.equal("PayloadLost");
    expect(runs.status().steps?.[0]?.state).to.equal("Cancelled");
  });
});

describe("an AtMostOnce step", () => {
  const special = {
    facts: {
      delivery: "AtMostOnce" as const,
      retry: { limit: 0, backoff: { initialMs: 1, factor: 1, maxMs: 1, jitterPercent: 0 }, codes: [] },
    },
  };

  it("is recorded before it starts; several that start at once share the write", async () => {
    await using runs = await LiveRuns.begin();
    const recorded: unknown[] = [];
    runs.work = (attempt, request, signal) => {
      recorded.push(runs.status().steps?.find(({ name }) => name === attempt.stepName)?.state);
      return succeed(attempt, request, signal);
    };
    const steps = [step("a"), step("b"), step("c")];
    const pipeline = compiled(steps, {}, { ...special, definition: { output: "steps.a.output" } });
    await runs.finish(await runs.start(pipeline));
    expect(recorded).to.deep.equal(["Running", "Running", "Running"]);
    expect(runs.api.writes).to.equal(2);
    expect(runs.status().phase).to.equal("Succeeded");
    expect(runs.events).to.deep.equal([]);
  });

  it("is never started again: after a crash it is Interrupted", async () => {
    await using runs = await LiveRuns.begin();
    const pipeline = compiled(chain("pay", "thank"), {}, special);
    runs.work = gate().work;
    const run = await runs.start(pipeline);
    await runs.until(() => runs.calls.length === 1);
    await runs.crash(run);
    runs.work = succeed;
    await runs.finish(await runs.goOn(pipeline));
    expect(runs.calls).to.deep.equal(["pay#1"]);
    expect(runs.status().steps?.map(({ state, error }) => [state, error?.code])).to.deep.equal([
      ["Failed", "Interrupted"],
      ["Skipped", undefined],
    ]);
  });

  it("does not start when that cannot be recorded", async () => {
    await using runs = await LiveRuns.begin();
    const run = await runs.start(compiled([step("pay")], {}, special));
    runs.api.overwrite("one", { ...runs.status(), owner: { replica: "other", epoch: 1 } });
    expect(await runs.finish(run)).to.equal("Lost");
    expect(runs.calls).to.deep.equal([]);
  });

  it("of a fan-out interrupts the items that were in flight, and no others", async () => {
    await using runs = await LiveRuns.begin();
    const pipeline = compiled(
      [step("pay", { forEach: "[0, 1, 2, 3]", maxParallel: 2, onFailure: "Ignore" })],
      {},
      special,
    );
    const stuck = gate();
    runs.work = (attempt, request, signal) =>
      attempt.item === 0 ? succeed(attempt, request, signal) : stuck.work(attempt, request, signal);
    const run = await runs.start(pipeline);
    await runs.until(() => runs.calls.length === 3);
    await runs.crash(run);
    runs.work = succeed;
    await runs.finish(await runs.goOn(pipeline));
    const { items, state } = runs.status().steps?.[0] ?? {};
    expect(state).to.equal("Succeeded");
    expect(items?.failures?.map(({ index, code }) => [index, code])).to.deep.equal([
      [1, "Interrupted"],
      [2, "Interrupted"],
    ]);
    expect(runs.calls.toSorted()).to.deep.equal(["pay/0#1", "pay/1#1", "pay/2#1", "pay/3#1"]);
  });
});

describe("a fan-out", () => {
  const list = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]";

  it("goes on after a crash at any of its progress writes: no recorded item runs twice, the outcome is the same", async () => {
    await using runs = await LiveRuns.begin();
    const pipeline = compiled([step("pages", { forEach: list, maxParallel: 3 })]);
    const work: Work = (attempt, request, signal) =>
      attempt.item === 13 && attempt.attempt === 1
        ? Promise.reject(new MillraceError("Unavailable", "later"))
        : succeed(attempt, request, signal);
    runs.work = slow(runs, 300, work);
    await runs.finish(await runs.start(pipeline));
    const whole = runs.status();
    expect(whole.phase).to.equal("Succeeded");
    const statuses = [...runs.api.statuses];
    expect(statuses.length).to.be.at.least(4);
    for (const [at, status] of statuses.slice(0, -1).entries()) {
      const name = `again-${at}`;
      runs.calls.length = 0;
      runs.api.put(name, { pipeline: "article" }, status);
      await runs.finish(await runs.goOn(pipeline, name));
      const { steps, output, phase } = runs.status(name);
      expect(phase).to.equal("Succeeded");
      expect(output).to.deep.equal(whole.output);
      expect(steps?.[0]?.items).to.include({ total: 20, succeeded: 20, failed: 0, done: "0-19" });
      const done = status.steps?.[0]?.items?.succeeded ?? 0;
      const called = new Set(runs.calls.map((call) => call.split("#")[0]));
      expect(called.size).to.equal(20 - done);
    }
  });

  it("says while it runs how many of its items have ended", async () => {
    await using runs = await LiveRuns.begin();
    runs.work = slow(runs, 100);
    const run = await runs.start(compiled([step("pages", { forEach: list, maxParallel: 2 })]));
    await runs.advance(250);
    await runs.until(() => runs.api.writes > 0);
    expect(condition(runs.status(), "Succeeded")?.message).to.match(/^Running pages \(\d of 20 items\)$/);
    expect(runs.events.map(({ reason }) => reason)).to.deep.equal(["Started"]);
    await runs.finish(run);
  });

  it("fails for another list than its recorded items belong to", async () => {
    await using runs = await LiveRuns.begin();
    const writer = await runs.folder.payloads.manifest(undefined, new AbortController().signal);
    await writer.add(
      [{ index: 0, state: "Failed", attempts: 1, error: { code: "Internal", kind: "System", message: "" } }],
      new AbortController().signal,
    );
    const { digest, bytes } = await writer.flush(new AbortController().signal);
    const items = { total: 2, succeeded: 0, failed: 1, done: "0", list: "f00d", results: { ref: digest, bytes } };
    const steps = [{ name: "pages", state: "Running", items } as const];
    runs.api.put("one", { pipeline: "article" }, { owner: { replica: "dead", epoch: 1 }, steps });
    await runs.finish(await runs.goOn(compiled([step("pages", { forEach: "[1, 2]" })])));
    expect(runs.status().steps?.[0]?.error?.message).to.contain("another list");
    expect(runs.calls).to.deep.equal([]);
  });

  it("of ten thousand items takes seconds, and its status stays small", async function () {
    this.timeout(60_000);
    await using runs = await LiveRuns.begin();
    runs.work = () => Promise.resolve({ ok: true, payload: jsonPayload(1), metadata: {} });
    const items = Array.from({ length: 10_000 }, (_, index) => index);
    const pipeline = compiled([step("pages", { forEach: "input", maxParallel: 16 })]);
    const startedMs = performance.now();
    const run = await runs.start(pipeline, { input: { json: items } });
    await runs.finish(run);
    const tookMs = performance.now() - startedMs;
    expect(runs.status().phase).to.equal("Succeeded");
    expect(runs.calls).to.have.length(10_000);
    expect(JSON.stringify(runs.status()).length).to.be.lessThan(16 * 1024);
    expect(tookMs).to.be.lessThan(15_000);
  });
});

describe("what a run's steps log", () => {
  it("is in the store, attempt after attempt, and named by the row, or by the item's record", async () => {
    await using runs = await LiveRuns.begin();
    runs.work = (attempt, request, signal) => {
      attempt.log?.(`attempt ${attempt.attempt} of ${attempt.stepName}`);
      return attempt.attempt === 1 && attempt.item === undefined
        ? Promise.reject(new MillraceError("Unavailable", "later"))
        : succeed(attempt, request, signal);
    };
    const steps = [step("clean"), step("pages", { forEach: "[1]" })];
    await runs.finish(await runs.start(compiled(steps, {}, { definition: { output: "steps.clean.output" } })));
    const [clean, pages] = runs.status().steps ?? [];
    const text = await runs.text(clean?.log?.ref);
    expect(text).to.match(/^--- attempt 1 ---\nattempt 1 of clean\n--- attempt 2 ---\nattempt 2 of clean\n$/);
    expect(pages).not.to.have.key("log");
    const results = pages?.items?.results ?? { ref: "", bytes: 0 };
    const [record] = await Array.fromAsync(runs.folder.payloads.items(results, new AbortController().signal));
    expect(await runs.text(record?.log?.digest)).to.equal("attempt 1 of pages\n");
  });
});

describe("runs that know the results of others", () => {
  const cached = { cache: { maxAgeMs: 60_000 } };

  it("do not run a step whose result is cached, and say so", async () => {
    await using runs = await LiveRuns.begin();
    const pipeline = compiled([step("clean", cached), step("join", { dependsOn: ["clean"] })]);
    await runs.finish(await runs.start(pipeline, { input: { text: "book" } }));
    await runs.finish(await runs.start(pipeline, { input: { text: "book" } }, "two"));
    expect(runs.calls).to.deep.equal(["clean#1", "join#1", "join#1"]);
    const status = runs.status("two");
    expect(status.steps?.[0]).to.deep.include({ state: "Succeeded", reason: "Cached", attempts: 0 });
    expect(condition(status, "Succeeded")?.message).to.equal("1 step succeeded, 1 cached");
    expect(status.steps?.[0]?.output).to.deep.equal(runs.status("one").steps?.[0]?.output);
    expect(runs.api.writes).to.equal(2);
  });

  it("take over the succeeded steps and items of the run that they retry, and that of a retry again", async () => {
    await using runs = await LiveRuns.begin();
    const steps = [
      step("clean"),
      step("pages", { dependsOn: ["clean"], forEach: "['a', 'b', 'c']" }),
      step("join", { dependsOn: ["pages"] }),
    ];
    const pipeline = compiled(steps);
    runs.work = (attempt, request, signal) =>
      attempt.item === 1 ? fault(attempt, request, signal) : succeed(attempt, request, signal);
    await runs.finish(await runs.start(pipeline, { input: { text: "book" } }));
    expect(runs.status().phase).to.equal("Failed");
    runs.calls.length = 0;
    runs.work = (attempt, request, signal) =>
      attempt.stepName === "join" ? fault(attempt, request, signal) : succeed(attempt, request, signal);
    await runs.finish(await runs.start(pipeline, { retryFrom: { execution: "one" } }, "two"));
    expect(runs.calls).to.deep.equal(["pages/1#1", "join#1"]);
    runs.calls.length = 0;
    runs.work = succeed;
    await runs.finish(await runs.start(pipeline, { retryFrom: { execution: "two" } }, "three"));
    expect(runs.calls).to.deep.equal(["join#1"]);
    const status = runs.status("three");
    expect(status.steps?.[0]).to.include({ reason: "Reused", attempts: 0 });
    expect(status.steps?.[1]?.items).to.include({ succeeded: 3, failed: 0, reused: 3 });
    expect(condition(status, "Succeeded")?.message).to.equal("2 steps succeeded, 1 reused");
  });

  it("run again what received something else, or what other code did", async () => {
    await using runs = await LiveRuns.begin();
    const pipeline = compiled(chain("clean", "count"));
    await runs.finish(await runs.start(pipeline, { input: { text: "book" } }));
    runs.calls.length = 0;
    const retryFrom = { execution: "one" };
    await runs.finish(await runs.start(pipeline, { retryFrom, input: { text: "other" } }, "two"));
    expect(runs.calls).to.deep.equal(["clean#1"]);
    runs.serve({}, ["sha256:newer"]);
    await runs.finish(await runs.start(pipeline, { retryFrom }, "three"));
    expect(runs.calls).to.deep.equal(["clean#1", "clean#1", "count#1"]);
  });
});

describe("an input that is in the payload store", () => {
  it("is received as it is stored, with the content type that the Execution says", async () => {
    await using runs = await LiveRuns.begin();
    const { digest: ref } = await runs.folder.payloads.text("x".repeat(300_000), new AbortController().signal);
    let received = "";
    runs.work = (attempt, request, signal) => {
      received = `${request.payload.contentType} ${request.payload.size}`;
      return succeed(attempt, request, signal);
    };
    const input = { payload: { ref, contentType: "text/csv" } };
    await runs.finish(await runs.start(compiled([step("clean")]), { input }));
    expect(received).to.equal("text/csv 300000");
  });

  it("is refused when it is not there, or too large, or not what the schema describes", async () => {
    await using runs = await LiveRuns.begin();
    const { digest: ref } = await runs.folder.payloads.text("[1, 2]", new AbortController().signal);
    const refusal = async (contentType: string, more: object, missing = ref) => {
      const pipeline = compiled([step("clean")], more);
      const input = { payload: { ref: missing, contentType } };
      return await runs.start(pipeline, { input }).then(
        () => "started",
        (error: MillraceError) => `${error.code}: ${error.message}`,
      );
    };
    const missing = textPayload("nowhere").digest;
    expect(await refusal("text/plain", {}, missing)).to.match(/^NotFound: spec.input.payload.ref: .*`millrace create/);
    expect(await refusal("text/plain", { maxInputBytes: 5 })).to.match(/^PayloadTooLarge: the input has 6 bytes/);
    const violation = { path: "input[0]", message: "must be a string", mend: "quote it" };
    const checkInput = (json: unknown) => (Array.isArray(json) ? [violation] : []);
    expect(await refusal("application/json", { checkInput })).to.contain("input[0]: must be a string");
    expect(await refusal("text/plain", { checkInput }), "a text is a string to a schema").to.equal("started");
    expect(await refusal("image/png", { checkInput })).to.match(/^InvalidInput: .* describes JSON or text/);
  });
});
