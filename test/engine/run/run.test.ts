import { expect } from "chai";
import type { Scheduler } from "../../../engine/clock.ts";
import { MillraceError } from "../../../engine/errors.ts";
import type { RunEvent, StepResult } from "../../../engine/outcome.ts";
import type { Payload } from "../../../engine/payload.ts";
import { BytesPayload, jsonPayload, textPayload } from "../../../engine/payload.ts";
import type { PipelineDefinition } from "../../../engine/pipeline.ts";
import type { ProcessorRequest, ProcessorResponse } from "../../../engine/processor.ts";
import { run } from "../../../engine/run/run.ts";
import type { Attempt, Invoke } from "../../../engine/run/run-options.ts";
import { maxDecodedBytes } from "../../../engine/run/scope.ts";
import {
  facts,
  pipeline,
  planOf,
  processors,
  recordedOf,
  rowsOf,
  runOptions,
  runToEnd,
  scripted,
  step,
  textOf,
} from "../../support/pipelines.ts";
import { VirtualTime } from "../../support/virtual-time.ts";

const analyze = (name: string, dependsOn: readonly string[] = [], more = {}) =>
  step(name, dependsOn, { processor: "analyze", ...more });
const failing = () => new MillraceError("InvalidInput", "no");
const unavailable = () => new MillraceError("Unavailable", "down");

function declared(code: string, retryable: boolean, retryAfterMs?: number): ProcessorResponse {
  const error = { code, message: "declared", retryable, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  return { ok: false, metadata: {}, error };
}

function withMetadata(payload: Payload, metadata: Record<string, string>): ProcessorResponse {
  return { ok: true, payload, metadata };
}

/** Hangs in the named steps, whatever their signal says. */
function hanging(...names: string[]): Invoke {
  const others = scripted();
  return (attempt, request, signal) =>
    names.includes(attempt.stepName) ? new Promise(() => undefined) : others(attempt, request, signal);
}

describe("run: payloads and metadata", () => {
  it("hands each step its origin's payload, and gives the sink's", async () => {
    const outcome = await runToEnd(pipeline([step("a"), step("b", ["a"])]));
    expect(outcome.state).to.equal("Succeeded");
    expect(await textOf(outcome.output)).to.equal('"b(a(in))"');
  });

  it("passes the payload through Analyze steps unchanged, whatever they answer", async () => {
    const definition = pipeline([step("a"), analyze("x", ["a"]), step("b", ["x"])]);
    const outcome = await runToEnd(definition, {
      invoke: scripted({ x: () => withMetadata(textPayload("ignored"), { words: "3" }) }),
    });
    expect(await textOf(outcome.output)).to.equal('"b(a(in))"');
    expect(outcome.steps[1]).to.deep.include({ state: "Succeeded", metadata: { words: "3" } });
  });

  it("gives processors the direct dependencies' metadata, by step name", async () => {
    const requests = new Map<string, ProcessorRequest>();
    const invoke: Invoke = async (attempt, request) => {
      requests.set(attempt.stepName, request);
      return withMetadata(request.payload, { at: attempt.stepName });
    };
    await runToEnd(pipeline([step("a"), step("b", ["a"]), analyze("x", ["b"]), step("c", ["b", "x"])]), { invoke });
    expect(requests.get("c")?.metadata).to.deep.equal({ "b.at": "b", "x.at": "x" });
    expect(requests.get("a")?.metadata).to.deep.equal({});
  });

  it("fails a step whose dependencies' metadata are too large together", async () => {
    const large = { a: "x".repeat(5_000) };
    const definition = pipeline([analyze("x"), analyze("y"), step("a", ["x", "y"])]);
    const invoke = scripted({
      x: (_, payload) => withMetadata(payload, large),
      y: (_, payload) => withMetadata(payload, large),
    });
    const outcome = await runToEnd(definition, { invoke });
    expect(rowsOf(definition, outcome)[2]).to.equal("a: Failed/PayloadTooLarge");
  });

  it("lets expressions see all ancestors' outputs and metadata, parameters and the execution", async () => {
    const input = "{'o': steps.a.output, 'm': steps.a.metadata.k, 'p': parameters.p, 'e': execution.name}";
    const definition = pipeline([step("a"), step("b", ["a"]), step("c", ["b"], { input })], {
      parameters: [{ name: "p" }],
      output: "steps.c.output",
    });
    const invoke = scripted({
      a: () => withMetadata(jsonPayload(1), { k: "v" }),
      b: (_, payload) => payload,
      c: (_, payload) => payload,
    });
    const outcome = await runToEnd(definition, { invoke, parameters: { p: 2 } });
    expect(await textOf(outcome.output)).to.equal('{"o":1,"m":"v","p":2,"e":"run"}');
  });

  it("passes the original bytes on where an expression is only a reference", async () => {
    const original = new BytesPayload(new Uint8Array([0xff, 0x00]), "application/json");
    const outcome = await runToEnd(pipeline([step("a"), step("b", ["a"], { input: "steps.a.output" })]), {
      invoke: scripted({ a: () => original, b: (_, payload) => payload }),
    });
    expect(outcome.output).to.equal(original);
  });

  it("decodes a payload once, however many expressions look into it and whatever passes it on", async () => {
    let reads = 0;
    const stored: Payload = {
      contentType: "application/json",
      size: 7,
      digest: "sha256:x",
      stream: () => new ReadableStream(),
      bytes: async () => {
        reads++;
        return new TextEncoder().encode('{"n":1}');
      },
    };
    const when = "input.n == 1";
    const steps = [step("a", [], { when }), analyze("x", [], { when }), step("b", ["a"], { when, input: "input.n" })];
    const outcome = await runToEnd(pipeline(steps, { output: "input.n" }), {
      input: stored,
      invoke: async (_, request) => withMetadata(request.payload, {}),
    });
    expect(await textOf(outcome.output)).to.equal("1");
    expect(reads).to.equal(1);
  });

  it("refuses to look into a payload over the limit, but passes it on", async () => {
    const input = new BytesPayload(new Uint8Array(maxDecodedBytes + 1), "application/octet-stream");
    const invoke = scripted({ a: (_, payload) => payload });
    const looked = await runToEnd(pipeline([step("a", [], { when: "size(input) > 0" })]), { input, invoke });
    expect(looked.error?.code).to.equal("PayloadTooLarge");
    expect((await runToEnd(pipeline([step("a", [], { input: "input" })]), { input, invoke })).output).to.equal(input);
  });

  it("takes a condition that is only a reference by its value", async () => {
    const definition = pipeline([step("a", [], { when: "input" }), step("b", ["a"], { when: "steps.a.output" })]);
    const invoke: Invoke = async (_, request) => withMetadata(request.payload, {});
    expect(rowsOf(definition, await runToEnd(definition, { invoke, input: jsonPayload(true) }))).to.deep.equal([
      "a: Succeeded",
      "b: Succeeded",
    ]);
    const skipped = await runToEnd(definition, { invoke, input: jsonPayload(false) });
    expect(rowsOf(definition, skipped)).to.deep.equal(["a: Skipped/WhenFalse", "b: Skipped/UpstreamSkipped"]);
  });

  it("reports input that is not what its content type says by the expression's field", async () => {
    const input = new BytesPayload(new TextEncoder().encode("{"), "application/json");
    const outcome = await runToEnd(pipeline([step("a", [], { when: "input.a" })]), { input });
    expect(outcome.error).to.include({ code: "InvalidInput", step: "a" });
  });

  it("fails the run, and no step, when the output expression fails", async () => {
    const outcome = await runToEnd(pipeline([step("a")], { output: "steps.a.output.x" }));
    expect(outcome.state).to.equal("Failed");
    expect(outcome.error).to.include({ code: "InvalidInput" }).and.not.have.property("step");
    expect(outcome.error?.message).to.contain("output failed");
  });
});

/** Row by row what `docs/failure-semantics.md` says. */
describe("run: the table of failure semantics", () => {
  const chain = [step("a"), step("b", ["a"]), step("c", ["b"]), step("d")];
  interface Case {
    readonly name: string;
    readonly definition: PipelineDefinition;
    readonly rows: readonly string[];
    readonly state: string;
    readonly fail?: readonly string[];
  }
  const skippedFirst = (second: ReturnType<typeof step>) => pipeline([step("a", [], { when: "false" }), second]);
  const table: readonly Case[] = [
    {
      name: "Continue: dependents of a failed step are skipped, all the way down; other branches finish",
      definition: pipeline(chain, { output: "input" }),
      fail: ["a"],
      rows: ["a: Failed/InvalidInput", "b: Skipped/UpstreamFailed", "c: Skipped/UpstreamFailed", "d: Succeeded"],
      state: "Failed",
    },
    {
      name: "a dependent with `input` is skipped after a failure all the same",
      definition: pipeline([step("a"), step("b", ["a"], { input: "input" })]),
      fail: ["a"],
      rows: ["a: Failed/InvalidInput", "b: Skipped/UpstreamFailed"],
      state: "Failed",
    },
    {
      name: "a failed Analyze step has its dependents skipped",
      definition: pipeline([analyze("x"), step("b", ["x"])]),
      fail: ["x"],
      rows: ["x: Failed/InvalidInput", "b: Skipped/UpstreamFailed"],
      state: "Failed",
    },
    {
      name: "`when` false: Skipped, and so is who would receive its payload",
      definition: pipeline([step("a", [], { when: "false" }), step("b", ["a"]), step("c", ["b"])]),
      rows: ["a: Skipped/WhenFalse", "b: Skipped/UpstreamSkipped", "c: Skipped/UpstreamSkipped"],
      state: "Succeeded",
    },
    {
      name: "who has `input` runs after a skipped step",
      definition: skippedFirst(step("b", ["a"], { input: "has(steps.a.output) ? 1 : 2" })),
      rows: ["a: Skipped/WhenFalse", "b: Succeeded"],
      state: "Succeeded",
    },
    {
      name: "a skipped Analyze step's dependents receive the payload that would have passed through it",
      definition: pipeline([step("a"), analyze("x", ["a"], { when: "false" }), step("b", ["x"])]),
      rows: ["a: Succeeded", "x: Skipped/WhenFalse", "b: Succeeded"],
      state: "Succeeded",
    },
    {
      name: "an Analyze step after a skipped origin is skipped, and who depends on both",
      definition: pipeline([step("a", [], { when: "false" }), analyze("x", ["a"]), step("b", ["a", "x"])]),
      rows: ["a: Skipped/WhenFalse", "x: Skipped/UpstreamSkipped", "b: Skipped/UpstreamSkipped"],
      state: "Succeeded",
    },
    {
      name: "a failure wins over a skip",
      definition: pipeline([step("a", [], { when: "false" }), step("b"), step("c", ["a", "b"], { input: "input" })]),
      fail: ["b"],
      rows: ["a: Skipped/WhenFalse", "b: Failed/InvalidInput", "c: Skipped/UpstreamFailed"],
      state: "Failed",
    },
    {
      name: "an `input` that names a skipped step's output fails its step",
      definition: skippedFirst(step("b", ["a"], { input: "steps.a.output" })),
      rows: ["a: Skipped/WhenFalse", "b: Failed/InvalidInput"],
      state: "Failed",
    },
    {
      name: "a `when` that fails fails its step",
      definition: pipeline([step("a", [], { when: "input.x" }), step("b", ["a"])]),
      rows: ["a: Failed/InvalidInput", "b: Skipped/UpstreamFailed"],
      state: "Failed",
    },
    {
      name: "FailFast: nothing new starts; dependents of the failed step say so, others say FailFast",
      definition: pipeline(chain, { failurePolicy: "FailFast", maxParallelSteps: 1, output: "input" }),
      fail: ["a"],
      rows: ["a: Failed/InvalidInput", "b: Skipped/UpstreamFailed", "c: Skipped/UpstreamFailed", "d: Skipped/FailFast"],
      state: "Failed",
    },
  ];
  for (const { name, definition, rows, state, fail = [] } of table) {
    it(name, async () => {
      const outcome = await runToEnd(definition, {
        invoke: scripted(Object.fromEntries(fail.map((step) => [step, failing]))),
      });
      expect(rowsOf(definition, outcome)).to.deep.equal(rows);
      expect(outcome.state).to.equal(state);
    });
  }

  it("gives JSON null as the output of a run whose only sink was skipped", async () => {
    const outcome = await runToEnd(pipeline([step("a", [], { when: "false" })]));
    expect(outcome.state).to.equal("Succeeded");
    expect(await textOf(outcome.output)).to.equal("null");
  });

  it("FailFast: running steps are aborted and Cancelled, and not waited for", async () => {
    const definition = pipeline([step("slow"), step("bad"), step("after", ["slow"])], {
      failurePolicy: "FailFast",
      output: "input",
    });
    const slow = hanging("slow");
    let reason: unknown;
    const invoke: Invoke = (attempt, request, signal) => {
      signal.onabort = () => {
        reason = signal.reason;
      };
      return attempt.stepName === "bad" ? Promise.reject(failing()) : slow(attempt, request, signal);
    };
    const outcome = await runToEnd(definition, { invoke });
    expect(rowsOf(definition, outcome)).to.deep.equal([
      "slow: Cancelled/FailFast",
      "bad: Failed/InvalidInput",
      "after: Skipped/FailFast",
    ]);
    expect(outcome.error).to.include({ code: "InvalidInput", step: "bad" });
    expect(reason).to.be.instanceOf(MillraceError).and.include({ code: "Cancelled" });
  });

  it("the Pipeline's timeout: running steps are Cancelled, others Skipped, the run Failed", async () => {
    const definition = pipeline([step("a"), step("b", ["a"])], { timeoutMs: 1_000 });
    const outcome = await runToEnd(definition, { invoke: hanging("a") });
    expect(rowsOf(definition, outcome)).to.deep.equal(["a: Cancelled/PipelineTimeout", "b: Skipped/PipelineTimeout"]);
    expect(outcome.state).to.equal("Failed");
    expect(outcome.error).to.include({ code: "DeadlineExceeded" }).and.not.have.property("step");
  });

  it("cancellation: running steps are Cancelled, others Skipped, what is done stays", async () => {
    const definition = pipeline([step("a"), step("b", ["a"]), step("c", ["b"])]);
    const cancel = new AbortController();
    const time = new VirtualTime();
    const running = run(planOf(definition), runOptions({ ports: time, invoke: hanging("b"), signal: cancel.signal }));
    await time.advance(1);
    cancel.abort();
    const outcome = await running;
    expect(rowsOf(definition, outcome)).to.deep.equal([
      "a: Succeeded",
      "b: Cancelled/Cancelled",
      "c: Skipped/Cancelled",
    ]);
    expect(outcome.state).to.equal("Cancelled");
    expect(outcome.error?.code).to.equal("Cancelled");
  });

  it("a run that is cancelled before it starts runs nothing", async () => {
    const definition = pipeline([step("a")]);
    const outcome = await runToEnd(definition, { signal: AbortSignal.abort() });
    expect(rowsOf(definition, outcome)).to.deep.equal(["a: Skipped/Cancelled"]);
    expect(outcome.state).to.equal("Cancelled");
  });
});

describe("run: a timeout that a backend tells early", () => {
  const earlyBy = (earlyMs: number, time: VirtualTime): Invoke => {
    return ({ timeoutMs }) =>
      new Promise((_, reject) => {
        const late = () => reject(new MillraceError("DeadlineExceeded", "late"));
        time.scheduler.after(Math.max(0, timeoutMs - earlyMs), late);
      });
  };
  const outcomeOf = async (definition: PipelineDefinition, earlyMs: number) => {
    const time = new VirtualTime();
    const options = runOptions({ ports: time, invoke: earlyBy(earlyMs, time) });
    const outcome = await time.drive(run(planOf(definition), options));
    return [...rowsOf(definition, outcome), outcome.state];
  };

  it("is the Pipeline's where the attempt had no more than that", async () => {
    const definition = pipeline([step("a")], { timeoutMs: 500 });
    expect(await outcomeOf(definition, 20)).to.deep.equal(["a: Cancelled/PipelineTimeout", "Failed"]);
  });

  it("is the step's where that was shorter, and where the processor says so long before", async () => {
    const own = pipeline([step("a", [], { timeoutMs: 490 })], { timeoutMs: 500 });
    expect(await outcomeOf(own, 20)).to.deep.equal(["a: Failed/DeadlineExceeded", "Failed"]);
    const early = pipeline([step("a")], { timeoutMs: 500 });
    expect(await outcomeOf(early, 300)).to.deep.equal(["a: Failed/DeadlineExceeded", "Failed"]);
  });
});

describe("run: a listener that throws", () => {
  for (const type of ["StepStarted", "StepRetrying", "StepFinished"]) {
    it(`at ${type} ends the run as Internal, every row final`, async () => {
      let calls = 0;
      const definition = pipeline([step("a", [], { retry: { limit: 1 } }), step("b", ["a"]), step("c")], {
        output: "input",
      });
      const onEvent = (event: RunEvent) => {
        if (event.type !== type) return;
        calls++;
        throw new Error("broken");
      };
      const invoke = scripted({ a: (attempt, payload) => (attempt.attempt === 1 ? unavailable() : payload) });
      const outcome = await runToEnd(definition, { invoke, onEvent });
      expect(outcome).to.have.nested.property("error.code", "Internal");
      expect(outcome.state).to.equal("Failed");
      expect(outcome.steps).to.have.length(3);
      expect(calls).to.equal(1);
    });
  }

  it("at the last row's end has no success behind it", async () => {
    const onEvent = (event: RunEvent) => {
      if (event.type === "StepFinished") throw new Error("broken");
    };
    const outcome = await runToEnd(pipeline([step("a")]), { onEvent });
    expect([outcome.state, outcome.error?.code, outcome.output]).to.deep.equal(["Failed", "Internal", undefined]);
  });
});

describe("run: attempts", () => {
  const definition = pipeline([step("a", [], { retry: { limit: 3 } })]);
  const eventsOf = async (invoke: Invoke, more = {}) => {
    const events: RunEvent[] = [];
    const outcome = await runToEnd(definition, { invoke, onEvent: (event) => events.push(event), ...more });
    return { outcome, events };
  };

  it("makes another attempt after a code that is worth it, with growing delays and the same idempotency key", async () => {
    const attempts: Attempt[] = [];
    const { outcome, events } = await eventsOf(
      scripted({ a: (attempt, payload) => (attempts.push(attempt) < 4 ? unavailable() : payload) }),
    );
    expect(outcome.steps[0]).to.include({ state: "Succeeded", attempts: 4 });
    expect(attempts.map(({ attempt }) => attempt)).to.deep.equal([1, 2, 3, 4]);
    expect(new Set(attempts.map(({ idempotencyKey }) => idempotencyKey))).to.deep.equal(new Set(["uid-1/a"]));
    const delays = events.flatMap((event) => (event.type === "StepRetrying" ? [event.delayMs] : []));
    for (const [index, delay] of delays.entries()) expect(delay / (100 * 2 ** index)).to.be.within(0.8, 1.2);
    expect(events.map(({ type }) => type)).to.deep.equal([
      "StepStarted",
      "StepRetrying",
      "StepStarted",
      "StepRetrying",
      "StepStarted",
      "StepRetrying",
      "StepStarted",
      "StepFinished",
    ]);
  });

  it("gives up after the limit with the last error", async () => {
    const { outcome } = await eventsOf(scripted({ a: unavailable }));
    expect(outcome.steps[0]).to.deep.include({ state: "Failed", attempts: 4 });
    expect(outcome.error).to.include({ code: "Unavailable", kind: "System", step: "a" });
  });

  it("makes no other attempt after a code that is not worth it", async () => {
    const { outcome } = await eventsOf(scripted({ a: failing }));
    expect(outcome.steps[0]).to.include({ state: "Failed", attempts: 1 });
  });

  it("retries a declared failure as the processor says, and carries its code", async () => {
    const refused = await eventsOf(scripted({ a: () => declared("no-words", false) }));
    expect(refused.outcome.steps[0]).to.deep.include({ attempts: 1 });
    expect(refused.outcome.error).to.include({ code: "ProcessorFailed", processorCode: "no-words", kind: "Processor" });
    const retried = await eventsOf(scripted({ a: () => declared("InvalidInput", true) }));
    expect(retried.outcome.steps[0]).to.include({ attempts: 4 });
    expect(retried.outcome.error).to.include({ code: "InvalidInput", kind: "User" });
  });

  it("waits as long as Retry-After asks, up to a minute", async () => {
    const { events } = await eventsOf(
      scripted({
        a: ({ attempt }, payload) =>
          attempt === 1 ? declared("busy", true, 5_000) : attempt === 2 ? declared("busy", true, 1e9) : payload,
      }),
    );
    expect(events.flatMap((event) => (event.type === "StepRetrying" ? [event.delayMs] : []))).to.deep.equal([
      5_000, 60_000,
    ]);
  });

  it("gives its slot away while it waits", async () => {
    const two = pipeline([step("a"), step("b")], { maxParallelSteps: 1, output: "input" });
    const order: string[] = [];
    const note = (attempt: Attempt, payload: Payload) => {
      order.push(attempt.stepName);
      return attempt.stepName === "a" && attempt.attempt === 1 ? unavailable() : payload;
    };
    await runToEnd(two, { invoke: scripted({ a: note, b: note }) });
    expect(order).to.deep.equal(["a", "b", "a"]);
  });

  it("gives an attempt the shorter of its own timeout and what is left of the Pipeline's", async () => {
    const timeouts: number[] = [];
    const timed = pipeline([step("a", [], { timeoutMs: 500 }), step("b", ["a"], { timeoutMs: 500 })], {
      timeoutMs: 700,
    });
    const time = new VirtualTime();
    const invoke: Invoke = async (attempt, request) => {
      timeouts.push(attempt.timeoutMs);
      await new Promise<void>((resolve) => time.scheduler.after(400, resolve));
      return withMetadata(request.payload, {});
    };
    await time.drive(run(planOf(timed), runOptions({ ports: time, invoke, ...recordedOf({}, { elapsedMs: 50 }) })));
    expect(timeouts).to.deep.equal([500, 250]);
  });

  it("takes an attempt that outlives the Pipeline's timeout for the Pipeline's, not the step's", async () => {
    const time = new VirtualTime();
    const invoke: Invoke = (attempt) =>
      new Promise((_, reject) =>
        time.scheduler.after(attempt.timeoutMs, () => reject(new MillraceError("DeadlineExceeded", "late"))),
      );
    const timed = pipeline([step("a")], { timeoutMs: 700 });
    const late: Scheduler = { after: (delayMs, callback) => time.scheduler.after(delayMs + 1, callback) };
    const ports = { clock: time.clock, random: time.random, scheduler: late };
    const outcome = await time.drive(run(planOf(timed), runOptions({ ports, invoke })));
    expect(rowsOf(timed, outcome)).to.deep.equal(["a: Cancelled/PipelineTimeout"]);
    expect(time.pendingTimers).to.equal(0);
  });

  it("counts a thrown thing that is none of ours as Internal", async () => {
    const outcome = await runToEnd(pipeline([step("a")]), { invoke: () => Promise.reject(new TypeError("oops")) });
    expect(outcome.error).to.include({ code: "Internal", message: "oops" });
  });

  it("survives an invoke that throws before it gives a promise", async () => {
    const invoke: Invoke = () => {
      throw new MillraceError("NotFound", "gone");
    };
    expect((await runToEnd(pipeline([step("a")]), { invoke })).error).to.include({ code: "NotFound", step: "a" });
  });

  it("drops what comes after the end", async () => {
    const cancel = new AbortController();
    const late = Promise.withResolvers<ProcessorResponse>();
    const events: RunEvent[] = [];
    const options = runOptions({
      signal: cancel.signal,
      invoke: () => late.promise,
      onEvent: (event) => events.push(event),
    });
    const running = run(planOf(pipeline([step("a")])), options);
    await Promise.resolve();
    cancel.abort();
    const outcome = await running;
    const seen = events.length;
    late.resolve(withMetadata(jsonPayload(1), {}));
    await new Promise((resolve) => setImmediate(resolve));
    expect(outcome.steps[0]?.state).to.equal("Cancelled");
    expect(events).to.have.length(seen);
  });

  it("lets one plan serve many runs at once", async () => {
    const plan = planOf(
      pipeline([step("a", [], { when: "input != 'x'", input: "input + '!'" }), step("b", ["a"])]),
      processors,
    );
    const echo: Invoke = async (_, request) => withMetadata(request.payload, {});
    const outcomes = await Promise.all(
      ["1", "x", "3"].map((text) => run(plan, runOptions({ input: textPayload(text), invoke: echo }))),
    );
    expect(await Promise.all(outcomes.map((outcome) => textOf(outcome.output)))).to.deep.equal(["1!", "null", "3!"]);
  });
});

describe("run: resume", () => {
  const kept: StepResult = { state: "Succeeded", output: jsonPayload("kept"), metadata: {}, attempts: 1 };

  it("never runs a recorded step again, and counts attempts on", async () => {
    const definition = pipeline([step("a"), step("b", ["a"]), step("c", ["b"])]);
    const attempts: string[] = [];
    const invoke: Invoke = async (attempt, request) => {
      attempts.push(`${attempt.stepName}#${attempt.attempt}`);
      return withMetadata(request.payload, {});
    };
    const earlier = recordedOf({ a: kept }, { attempts: new Map([["b", 2]]) });
    const outcome = await runToEnd(definition, { invoke, ...earlier });
    expect(attempts).to.deep.equal(["b#3", "c#1"]);
    expect(await textOf(outcome.output)).to.equal('"kept"');
    expect(outcome.steps[1]).to.include({ attempts: 3 });
  });

  it("makes at least one attempt even if all were started before", async () => {
    const outcome = await runToEnd(pipeline([step("a")]), recordedOf({}, { attempts: new Map([["a", 7]]) }));
    expect(outcome.steps[0]).to.include({ state: "Succeeded", attempts: 8 });
  });

  it("FailFast with a recorded failure starts nothing", async () => {
    const definition = pipeline([step("a"), step("b")], { failurePolicy: "FailFast", output: "input" });
    const error = { code: "InvalidInput", kind: "User", message: "no" } as const;
    const outcome = await runToEnd(definition, recordedOf({ a: { state: "Failed", error, attempts: 1 } }));
    expect(rowsOf(definition, outcome)).to.deep.equal(["a: Failed/InvalidInput", "b: Skipped/FailFast"]);
  });

  it("gives the Pipeline only what is left of its timeout", async () => {
    const definition = pipeline([step("a")], { timeoutMs: 1_000 });
    const time = new VirtualTime();
    await time.drive(
      run(planOf(definition), runOptions({ ports: time, invoke: hanging("a"), ...recordedOf({}, { elapsedMs: 900 }) })),
    );
    expect(time.clock.monotonic()).to.equal(100);
  });

  it("takes a run whose steps are all recorded to its end at once", async () => {
    const outcome = await runToEnd(
      pipeline([step("a", [], { processor: "p" })]),
      recordedOf({ a: kept }),
      new Map([["p", facts("p")]]),
    );
    expect(await textOf(outcome.output)).to.equal('"kept"');
  });
});

describe("run: fuel", () => {
  const used = (units: number, response: ProcessorResponse | MillraceError): Invoke => {
    return async (attempt) => {
      attempt.reportFuel?.(units * attempt.attempt);
      if (response instanceof MillraceError) throw response;
      return response;
    };
  };

  it("is that of the last attempt, whether it succeeded or not", async () => {
    const good = await runToEnd(pipeline([step("a")]), { invoke: used(7, withMetadata(textPayload("x"), {})) });
    expect(good.steps[0]).to.include({ state: "Succeeded", attempts: 1, fuel: 7 });
    const bad = await runToEnd(pipeline([step("a")]), { invoke: used(7, unavailable()) });
    expect(bad.steps[0]).to.include({ state: "Failed", attempts: 2, fuel: 14 });
  });

  it("is not said of a step whose backend meters nothing, or whose last attempt told nothing", async () => {
    const silent = await runToEnd(pipeline([step("a")]));
    expect(silent.steps[0]).not.to.have.property("fuel");
    let late: Attempt | undefined;
    const outcome = await runToEnd(pipeline([step("a")]), {
      invoke: async (attempt, { payload }) => {
        if (attempt.attempt === 1) {
          late = attempt;
          throw unavailable();
        }
        // The thread of an attempt that was given up tells what it took in the end.
        late?.reportFuel?.(99);
        return withMetadata(payload, {});
      },
    });
    expect(outcome.steps[0]).to.include({ state: "Succeeded", attempts: 2 }).and.not.to.have.property("fuel");
  });

  it("is said of a step that is cancelled while it waits for a retry", async () => {
    const controller = new AbortController();
    const outcome = await runToEnd(pipeline([step("a")]), {
      invoke: used(7, unavailable()),
      signal: controller.signal,
      onEvent: ({ type }) => {
        if (type === "StepRetrying") controller.abort(new MillraceError("Cancelled", "enough"));
      },
    });
    expect(outcome.steps[0]).to.include({ state: "Cancelled", attempts: 1, fuel: 7 });
  });
});
