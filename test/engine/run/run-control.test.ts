import { expect } from "chai";
import { MillraceError } from "../../../engine/errors.ts";
import type { Outcome, RunEvent, StepResult } from "../../../engine/outcome.ts";
import { jsonPayload } from "../../../engine/payload.ts";
import type { PipelineDefinition } from "../../../engine/pipeline.ts";
import type { ProcessorResponse } from "../../../engine/processor.ts";
import { startRun } from "../../../engine/run/run.ts";
import type { Attempt, Invoke, RunHandle, RunOptions } from "../../../engine/run/run-options.ts";
import {
  pipeline,
  planOf,
  recordedOf,
  rowsOf,
  runOptions,
  runToEnd,
  scripted,
  step,
  stored,
  textOf,
} from "../../support/pipelines.ts";
import { VirtualTime } from "../../support/virtual-time.ts";

const kept: StepResult = { state: "Succeeded", output: jsonPayload("kept"), metadata: {}, attempts: 1 };
const unavailable = () => new MillraceError("Unavailable", "down");
const refused = () => new MillraceError("InvalidInput", "no");

/** A run whose attempts end when the test says so. */
class Held {
  readonly time = new VirtualTime();
  readonly events: RunEvent[] = [];
  readonly handle: RunHandle;
  readonly #definition: PipelineDefinition;
  readonly #held = new Map<string, PromiseWithResolvers<ProcessorResponse>>();
  readonly started: string[] = [];

  constructor(definition: PipelineDefinition, more: Partial<RunOptions> = {}) {
    this.#definition = definition;
    const invoke: Invoke = (attempt) => {
      const held = Promise.withResolvers<ProcessorResponse>();
      const name = nameOf(attempt);
      this.started.push(name);
      this.#held.set(name, held);
      return held.promise;
    };
    const onEvent = (event: RunEvent) => this.events.push(event);
    this.handle = startRun(planOf(definition), runOptions({ ports: this.time, invoke, onEvent, ...more }));
  }

  async settle(): Promise<void> {
    await this.time.advance(0);
  }

  async succeed(name: string, value = name): Promise<void> {
    this.#held.get(name)?.resolve({ ok: true, payload: jsonPayload(value), metadata: {} });
    await this.settle();
  }

  async fail(name: string, error: MillraceError): Promise<void> {
    this.#held.get(name)?.reject(error);
    await this.settle();
  }

  async ended(): Promise<{ outcome: Outcome; rows: readonly string[] }> {
    const outcome = await this.time.drive(this.handle.outcome);
    return { outcome, rows: rowsOf(this.#definition, outcome) };
  }

  get types(): readonly string[] {
    return this.events.map(({ type }) => type);
  }
}

const nameOf = ({ stepName, item }: Attempt) => (item === undefined ? stepName : `${stepName}/${item}`);

const two = pipeline([step("a"), step("b", ["a"])]);

describe("run: suspend", () => {
  it("before anything has started gives back a run that has not begun", async () => {
    const run = new Held(two);
    run.handle.suspend();
    const { outcome, rows } = await run.ended();
    expect([outcome.state, ...rows]).to.deep.equal(["Suspended", "a: open", "b: open"]);
    expect(outcome.error).to.equal(undefined);
    expect(run.events).to.deep.equal([]);
  });

  it("lets attempts in flight end, and starts nothing after them", async () => {
    const run = new Held(pipeline([step("a"), step("b", ["a"]), step("c")], { output: "1" }));
    await run.settle();
    run.handle.suspend();
    run.handle.suspend();
    await run.succeed("a");
    expect(run.started).to.deep.equal(["a", "c"]);
    await run.succeed("c");
    const { outcome, rows } = await run.ended();
    expect([outcome.state, ...rows]).to.deep.equal(["Suspended", "a: Succeeded", "b: open", "c: Succeeded"]);
  });

  it("ends as it would have where every step has ended by then", async () => {
    const run = new Held(two);
    await run.settle();
    await run.succeed("a");
    run.handle.suspend();
    await run.succeed("b");
    const { outcome } = await run.ended();
    expect(outcome.state).to.equal("Succeeded");
    expect(await textOf(outcome.output)).to.equal('"b"');
  });

  it("does not wait for a retry, and leaves an attempt that fails meanwhile to be made again", async () => {
    const run = new Held(pipeline([step("a"), step("b")], { output: "1" }));
    await run.settle();
    await run.fail("a", unavailable());
    run.handle.suspend();
    await run.fail("b", unavailable());
    const { outcome, rows } = await run.ended();
    expect([outcome.state, ...rows]).to.deep.equal(["Suspended", "a: open", "b: open"]);
    expect(run.time.pendingTimers).to.equal(0);
    expect(run.types.filter((type) => type === "StepRetrying")).to.have.length(2);
  });

  it("while an expression waits for its bytes drops what it waits for", async () => {
    const never = { ...stored(jsonPayload(1)), bytes: () => new Promise<Uint8Array>(() => undefined) };
    const run = new Held(pipeline([step("a", [], { when: "input == 1" })]), { input: never });
    await run.settle();
    run.handle.suspend();
    expect((await run.ended()).outcome.state).to.equal("Suspended");
  });

  it("lets items in flight end, and starts no other", async () => {
    const run = new Held(pipeline([step("f", [], { forEach: "[1, 2, 3]", maxParallel: 2 })]));
    await run.settle();
    run.handle.suspend();
    await run.succeed("f/0");
    await run.succeed("f/1");
    const { outcome, rows } = await run.ended();
    expect([outcome.state, ...rows]).to.deep.equal(["Suspended", "f: open"]);
    expect(run.started).to.deep.equal(["f/0", "f/1"]);
  });

  it("from a listener at the list of a fan-out starts no item", async () => {
    const started: string[] = [];
    const options = runOptions({
      invoke: async (attempt, { payload }) => {
        started.push(nameOf(attempt));
        return { ok: true, payload, metadata: {} };
      },
      onEvent: ({ type }) => (type === "ItemsListed" ? handle.suspend() : undefined),
    });
    const handle: RunHandle = startRun(planOf(pipeline([step("f", [], { forEach: "[1, 2]" })])), options);
    expect((await handle.outcome).state).to.equal("Suspended");
    expect(started).to.deep.equal([]);
  });

  it("between the graph and `finally`, and within `finally`, leaves the rest of it", async () => {
    const definition = pipeline([step("a")], { finally: [step("y"), step("z", ["y"])] });
    const first = new Held(definition);
    await first.settle();
    first.handle.suspend();
    await first.succeed("a");
    expect((await first.ended()).rows).to.deep.equal(["a: Succeeded", "y: open", "z: open"]);
    const second = new Held(definition, recordedOf({ a: kept }));
    await second.settle();
    second.handle.suspend();
    await second.succeed("y");
    const { outcome, rows } = await second.ended();
    expect([outcome.state, ...rows]).to.deep.equal(["Suspended", "a: Succeeded", "y: Succeeded", "z: open"]);
    const third = new Held(definition, recordedOf({ a: kept, y: kept }));
    await third.settle();
    await third.succeed("z");
    expect((await third.ended()).outcome.state).to.equal("Succeeded");
    expect(third.started).to.deep.equal(["z"]);
  });

  it("is outdone by an immediate cancellation", async () => {
    const cancel = new AbortController();
    const run = new Held(two, { signal: cancel.signal });
    await run.settle();
    run.handle.suspend();
    cancel.abort();
    const { outcome, rows } = await run.ended();
    expect([outcome.state, ...rows]).to.deep.equal(["Cancelled", "a: Cancelled/Cancelled", "b: Skipped/Cancelled"]);
  });
});

describe("run: cancelled gracefully", () => {
  it("lets attempts in flight end, skips what waits, then runs `finally`", async () => {
    const steps = [step("a"), step("b", ["a"]), step("c")];
    const run = new Held(pipeline(steps, { output: "1", finally: [step("z", [], { input: "execution.state" })] }));
    await run.settle();
    run.handle.cancelGracefully();
    expect(run.events.at(-1)).to.deep.include({ type: "StepFinished", step: 1 });
    await run.succeed("a");
    await run.fail("c", refused());
    expect(run.started).to.deep.equal(["a", "c", "z"]);
    await run.succeed("z");
    const { outcome, rows } = await run.ended();
    expect(rows).to.deep.equal(["a: Succeeded", "b: Skipped/Cancelled", "c: Failed/InvalidInput", "z: Succeeded"]);
    expect([outcome.state, outcome.error?.code]).to.deep.equal(["Cancelled", "Cancelled"]);
  });

  it("cancels steps that wait for a retry, and attempts that fail and would be retried", async () => {
    const run = new Held(pipeline([step("a"), step("b")], { output: "1" }));
    await run.settle();
    await run.fail("a", unavailable());
    run.handle.cancelGracefully();
    await run.fail("b", unavailable());
    const { rows } = await run.ended();
    expect(rows).to.deep.equal(["a: Cancelled/Cancelled", "b: Cancelled/Cancelled"]);
    expect(run.time.pendingTimers).to.equal(0);
  });

  it("before anything has started skips everything", async () => {
    const run = new Held(two);
    run.handle.cancelGracefully();
    const { outcome, rows } = await run.ended();
    expect([outcome.state, ...rows]).to.deep.equal(["Cancelled", "a: Skipped/Cancelled", "b: Skipped/Cancelled"]);
  });

  it("skips a step whose expression waits for its bytes", async () => {
    const never = { ...stored(jsonPayload(1)), bytes: () => new Promise<Uint8Array>(() => undefined) };
    const run = new Held(pipeline([step("a", [], { when: "input == 1" })]), { input: never });
    await run.settle();
    run.handle.cancelGracefully();
    expect((await run.ended()).rows).to.deep.equal(["a: Skipped/Cancelled"]);
  });

  it("of a fan-out lets items in flight end, and cancels the step", async () => {
    const run = new Held(pipeline([step("f", [], { forEach: "[1, 2, 3]", maxParallel: 2 })]));
    await run.settle();
    await run.fail("f/0", unavailable());
    run.handle.cancelGracefully();
    await run.succeed("f/1");
    await run.succeed("f/2");
    const { rows } = await run.ended();
    expect(rows).to.deep.equal(["f: Cancelled/Cancelled"]);
    const finished = run.events.flatMap((event) =>
      event.type === "ItemFinished" ? [`${event.item} ${event.result.state}`] : [],
    );
    expect(finished).to.deep.equal(["0 Cancelled", "1 Succeeded", "2 Succeeded"]);
  });

  it("of a fan-out whose last items are in flight gives its list all the same", async () => {
    const run = new Held(pipeline([step("f", [], { forEach: "[1, 2]" })]));
    await run.settle();
    run.handle.cancelGracefully();
    await run.succeed("f/0", "x");
    await run.succeed("f/1", "y");
    const { outcome, rows } = await run.ended();
    expect([outcome.state, ...rows]).to.deep.equal(["Cancelled", "f: Succeeded"]);
  });

  it("is nothing once the graph has ended", async () => {
    const run = new Held(pipeline([step("a")], { finally: [step("z")] }));
    await run.settle();
    await run.succeed("a");
    run.handle.cancelGracefully();
    await run.succeed("z");
    const { outcome, rows } = await run.ended();
    expect([outcome.state, ...rows]).to.deep.equal(["Succeeded", "a: Succeeded", "z: Succeeded"]);
  });

  it("is nothing where a resumed run has only `finally` left", async () => {
    const run = new Held(pipeline([step("a")], { finally: [step("z")] }), recordedOf({ a: kept }));
    run.handle.cancelGracefully();
    await run.settle();
    await run.succeed("z");
    const { outcome, rows } = await run.ended();
    expect([outcome.state, ...rows]).to.deep.equal(["Succeeded", "a: Succeeded", "z: Succeeded"]);
  });

  it("after a suspension still cancels, and leaves `finally` to the next part of the run", async () => {
    const definition = pipeline([step("a"), step("b", ["a"])], { finally: [step("z")] });
    const run = new Held(definition);
    await run.settle();
    run.handle.suspend();
    run.handle.cancelGracefully();
    await run.succeed("a");
    const { outcome, rows } = await run.ended();
    expect([outcome.state, ...rows]).to.deep.equal(["Suspended", "a: Succeeded", "b: Skipped/Cancelled", "z: open"]);
    const resumed = await runToEnd(definition, recordedOf({ a: kept, b: { state: "Skipped", reason: "Cancelled" } }));
    expect([resumed.state, ...rowsOf(definition, resumed)]).to.deep.equal([
      "Cancelled",
      "a: Succeeded",
      "b: Skipped/Cancelled",
      "z: Succeeded",
    ]);
  });

  it("is outdone by the Pipeline's timeout, and stays a cancellation", async () => {
    const run = new Held(pipeline([step("a")], { timeoutMs: 100 }));
    await run.settle();
    run.handle.cancelGracefully();
    const { outcome, rows } = await run.ended();
    expect([outcome.state, ...rows]).to.deep.equal(["Cancelled", "a: Cancelled/PipelineTimeout"]);
  });
});

describe("run: finally", () => {
  const cleanUp = [step("z", [], { input: "{'state': execution.state, 'a': has(steps.a.output)}" })];
  const seenBy = async (definition: PipelineDefinition, more: Partial<RunOptions> = {}) => {
    const seen: unknown[] = [];
    const script = scripted({ a: (_, payload) => payload, bad: refused, slow: unavailable });
    const invoke: Invoke = async (attempt, request, signal) => {
      if (attempt.stepName === "z") seen.push(JSON.parse(await textOf(request.payload)));
      if (attempt.stepName === "hang") return new Promise(() => undefined);
      return attempt.stepName === "z"
        ? { ok: true, payload: request.payload, metadata: {} }
        : script(attempt, request, signal);
    };
    const outcome = await runToEnd(definition, { invoke, ...more });
    return { seen, state: outcome.state, rows: rowsOf(definition, outcome), outcome };
  };

  it("runs after success, sees all steps of the graph, and changes nothing about the output", async () => {
    const { seen, state, outcome } = await seenBy(pipeline([step("a")], { finally: cleanUp }));
    expect([state, seen]).to.deep.equal(["Succeeded", [{ state: "Succeeded", a: true }]]);
    expect(await textOf(outcome.output)).to.equal('"in"');
  });

  it("runs after a failure, also where it is FailFast's", async () => {
    for (const failurePolicy of ["Continue", "FailFast"] as const) {
      const definition = pipeline([step("bad"), step("hang", ["bad"]), step("a", ["bad"])], {
        failurePolicy,
        output: "1",
        finally: cleanUp,
      });
      const { seen, state, outcome } = await seenBy(definition);
      expect([state, outcome.error?.step, seen]).to.deep.equal(["Failed", "bad", [{ state: "Failed", a: false }]]);
    }
  });

  it("runs after the Pipeline's timeout, in a time of its own", async () => {
    const definition = pipeline([step("hang"), step("a", ["hang"])], { timeoutMs: 50, finally: cleanUp });
    const { seen, rows, outcome } = await seenBy(definition);
    expect(seen).to.deep.equal([{ state: "Failed", a: false }]);
    expect(rows.at(-1)).to.equal("z: Succeeded");
    expect(outcome.error).to.include({ code: "DeadlineExceeded" }).and.not.have.property("step");
  });

  it("runs where the output expression fails, whose error stays", async () => {
    const { seen, outcome } = await seenBy(pipeline([step("a")], { output: "input.x", finally: cleanUp }));
    expect(seen).to.deep.equal([{ state: "Failed", a: true }]);
    expect(outcome.error).to.include({ code: "InvalidInput" });
  });

  it("does not run after an immediate cancellation: its rows are Skipped", async () => {
    const definition = pipeline([step("a")], { finally: [...cleanUp, step("y")] });
    const { seen, state, rows } = await seenBy(definition, { signal: AbortSignal.abort() });
    expect([state, seen]).to.deep.equal(["Cancelled", []]);
    expect(rows).to.deep.equal(["a: Skipped/Cancelled", "z: Skipped/Cancelled", "y: Skipped/Cancelled"]);
  });

  it("fails a run that would have succeeded, unless its failure is ignored; its other steps run on", async () => {
    const definition = pipeline([step("a")], {
      failurePolicy: "FailFast",
      finally: [step("bad"), step("after", ["bad"], { input: "1" }), ...cleanUp],
    });
    const { state, rows, outcome } = await seenBy(definition);
    expect(state).to.equal("Failed");
    expect(outcome.error).to.include({ code: "InvalidInput", step: "bad" });
    expect(rows.slice(1)).to.deep.equal(["bad: Failed/InvalidInput", "after: Skipped/UpstreamFailed", "z: Succeeded"]);
    const ignored = pipeline([step("a")], { finally: [step("bad", [], { onFailure: "Ignore" })] });
    expect((await seenBy(ignored)).state).to.equal("Succeeded");
  });

  it("is stopped by finallyTimeout, which fails the run", async () => {
    const definition = pipeline([step("a")], { finallyTimeoutMs: 200, finally: [step("hang"), step("y", ["hang"])] });
    const { rows, outcome } = await seenBy(definition);
    expect(rows).to.deep.equal(["a: Succeeded", "hang: Cancelled/PipelineTimeout", "y: Skipped/PipelineTimeout"]);
    expect(outcome.error).to.include({ code: "DeadlineExceeded" });
    expect(outcome.error?.message).to.contain("finallyTimeout of 200 ms");
  });

  it("gives attempts what is left of finallyTimeout", async () => {
    const timeouts: number[] = [];
    const definition = pipeline([step("a")], { timeoutMs: 10, finallyTimeoutMs: 200, finally: [step("z")] });
    await runToEnd(definition, {
      invoke: async ({ timeoutMs }, { payload }) => {
        timeouts.push(timeoutMs);
        return { ok: true, payload, metadata: {} };
      },
    });
    expect(timeouts).to.deep.equal([10, 200]);
  });

  it("is cancelled at once by the signal, like the run", async () => {
    const cancel = new AbortController();
    const run = new Held(pipeline([step("a")], { finally: [step("z")] }), { signal: cancel.signal });
    await run.settle();
    await run.succeed("a");
    cancel.abort();
    const { outcome, rows } = await run.ended();
    expect([outcome.state, ...rows]).to.deep.equal(["Cancelled", "a: Succeeded", "z: Cancelled/Cancelled"]);
    expect(outcome.output).to.equal(undefined);
  });

  it("goes on after a crash in whatever state the graph had ended", async () => {
    const cases: readonly [StepResult, string][] = [
      [kept, "Succeeded"],
      [{ state: "Failed", error: { code: "InvalidInput", kind: "User", message: "no" }, attempts: 1 }, "Failed"],
      [{ state: "Cancelled", reason: "PipelineTimeout", attempts: 1 }, "Failed"],
      [{ state: "Cancelled", reason: "Cancelled", attempts: 1 }, "Cancelled"],
    ];
    for (const [a, state] of cases) {
      const definition = pipeline([step("a")], { timeoutMs: 100, finally: cleanUp });
      const ran = await seenBy(definition, recordedOf({ a }, { elapsedMs: 5_000 }));
      expect([ran.state, ran.seen]).to.deep.equal([state, [{ state, a: a === kept }]]);
    }
  });

  it("ends what a stopped graph had not recorded as stopped, and runs none of it", async () => {
    const definition = pipeline([step("a"), step("b"), step("c", ["b"])], { output: "1", finally: cleanUp });
    const earlier = recordedOf(
      { a: { state: "Cancelled", reason: "PipelineTimeout", attempts: 1 } },
      { attempts: new Map([["b", 1]]) },
    );
    const { rows, outcome } = await seenBy(definition, earlier);
    expect(rows).to.deep.equal([
      "a: Cancelled/PipelineTimeout",
      "b: Cancelled/PipelineTimeout",
      "c: Skipped/PipelineTimeout",
      "z: Succeeded",
    ]);
    expect(outcome.error?.code).to.equal("DeadlineExceeded");
  });
});
