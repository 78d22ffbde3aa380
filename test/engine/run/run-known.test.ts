import { expect } from "chai";
import { compile } from "../../../engine/compile/compile.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { maxOptionsBytes } from "../../../engine/metadata.ts";
import type { RunEvent } from "../../../engine/outcome.ts";
import type { JsonObject, Payload } from "../../../engine/payload.ts";
import { jsonPayload, textPayload } from "../../../engine/payload.ts";
import type { PipelineDefinition, StepDefinition } from "../../../engine/pipeline.ts";
import type { ProcessorRequest } from "../../../engine/processor.ts";
import { SlidingRetryBudgets } from "../../../engine/run/retry-budget.ts";
import { startRun } from "../../../engine/run/run.ts";
import type { CacheUse, Invoke, KnownResult, KnownResults, RunOptions, Work } from "../../../engine/run/run-options.ts";
import {
  facts,
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

const echo: Invoke = async (_, { payload }) => ({ ok: true, payload, metadata: { by: "attempt" } });

/** Notes what is asked and kept; knows what it is told to. */
class Known implements KnownResults {
  readonly asked: [Work, ProcessorRequest, CacheUse | undefined][] = [];
  readonly kept: [Work, CacheUse, Payload][] = [];
  answer: (work: Work) => Promise<KnownResult | undefined> | undefined = () => undefined;

  find(work: Work, request: ProcessorRequest, cache: CacheUse | undefined) {
    this.asked.push([work, request, cache]);
    return this.answer(work);
  }

  keep(work: Work, _request: ProcessorRequest, cache: CacheUse, output: Payload) {
    this.kept.push([work, cache, output]);
  }

  get keys() {
    return this.asked.map(([, , cache]) => cache?.key);
  }
}

const cached = (more: Partial<StepDefinition> = {}) => step("a", [], { cache: { maxAgeMs: 60_000 }, ...more });
const knownResult: KnownResult = { reason: "Cached", output: jsonPayload("known"), metadata: { by: "cache" } };

async function told(
  definition: PipelineDefinition,
  more: Partial<RunOptions> = {},
  processors?: Parameters<typeof planOf>[1],
) {
  const events: RunEvent[] = [];
  const options = { invoke: echo, onEvent: (event: RunEvent) => events.push(event), ...more };
  const outcome = await runToEnd(definition, options, processors);
  return { outcome, types: events.map(({ type }) => type) };
}

describe("run: results that are known already", () => {
  it("are taken without an attempt, and say why", async () => {
    const known = new Known();
    known.answer = async () => knownResult;
    const { outcome, types } = await told(pipeline([cached(), step("b", ["a"])]), { known });
    expect(types).to.deep.equal(["StepFinished", "StepFinished"]);
    expect(outcome.steps[0]).to.deep.equal({
      state: "Succeeded",
      output: knownResult.output,
      metadata: { by: "cache" },
      attempts: 0,
      reason: "Cached",
    });
    expect(known.asked.map(([{ stepName, idempotencyKey }]) => [stepName, idempotencyKey])).to.deep.equal([
      ["a", "uid-1/a"],
      ["b", "uid-1/b"],
    ]);
    expect(known.kept).to.deep.equal([]);
  });

  it("are asked for once, before the first attempt, and kept after a success of a step with `cache`", async () => {
    const known = new Known();
    known.answer = async () => undefined;
    const invoke = scripted({
      a: ({ attempt }, payload) => (attempt === 1 ? new MillraceError("Unavailable", "down") : payload),
    });
    const { outcome } = await told(pipeline([cached(), step("b", ["a"])]), { known, invoke });
    expect(outcome.steps[0]).to.include({ state: "Succeeded", attempts: 2 });
    expect(known.asked.map(([{ stepName }, , cache]) => [stepName, cache])).to.deep.equal([
      ["a", { maxAgeMs: 60_000 }],
      ["b", undefined],
    ]);
    expect(known.kept.map(([{ stepName }, cache]) => [stepName, cache])).to.deep.equal([["a", { maxAgeMs: 60_000 }]]);
  });

  it("of an Analyze step let its payload pass through", async () => {
    const known = new Known();
    known.answer = async () => knownResult;
    const { outcome } = await told(pipeline([step("x", [], { processor: "analyze" })]), { known });
    expect(await textOf(outcome.output)).to.equal('"in"');
  });

  it("count for each item of a fan-out", async () => {
    const known = new Known();
    known.answer = async ({ item }) => (item === 1 ? knownResult : undefined);
    const definition = pipeline([
      cached({ forEach: "['x', 'y']", cache: { maxAgeMs: 1, key: "item + string(index)" } }),
    ]);
    const { outcome } = await told(definition, { known });
    expect(await textOf(outcome.output)).to.equal('["x","known"]');
    expect(known.keys).to.deep.equal(["x0", "y1"]);
    expect(known.kept.map(([{ item, idempotencyKey }]) => [item, idempotencyKey])).to.deep.equal([[0, "uid-1/a/0"]]);
  });

  it("go by `cache.key`, which sees what the step receives, and decodes it only if it looks", async () => {
    const known = new Known();
    let reads = 0;
    const slow = stored(textPayload("body"));
    const bytes = (signal: AbortSignal) => {
      reads++;
      return slow.bytes(signal);
    };
    const input = { ...slow, bytes };
    const key = "input.digest + ' ' + input.contentType + ' ' + string(input.size)";
    await told(pipeline([cached({ cache: { maxAgeMs: 1, key } })]), { known, input });
    expect(known.keys).to.deep.equal([`${slow.digest} text/plain; charset=utf-8 4`]);
    expect(reads).to.equal(0);
    await told(pipeline([cached({ cache: { maxAgeMs: 1, key: "input.value" } })]), { known, input });
    expect(known.keys[1]).to.equal("body");
  });

  it("a key that fails, or is no string, fails its step", async () => {
    for (const key of ["input.value.x", "input.value.n"]) {
      const definition = pipeline([cached({ cache: { maxAgeMs: 1, key } })]);
      const { outcome, types } = await told(definition, { known: new Known(), input: jsonPayload({ n: 1 }) });
      expect(outcome.error).to.include({ code: "InvalidInput", step: "a" });
      expect(types).to.deep.equal(["StepFinished"]);
    }
  });

  it("a run that is suspended meanwhile drops the answer", async () => {
    const known = new Known();
    const answer = Promise.withResolvers<KnownResult | undefined>();
    known.answer = () => answer.promise;
    const time = new VirtualTime();
    const handle = startRun(planOf(pipeline([cached()])), runOptions({ ports: time, known }));
    await time.advance(1);
    handle.suspend();
    answer.resolve(knownResult);
    const outcome = await time.drive(handle.outcome);
    expect([outcome.state, outcome.steps[0]]).to.deep.equal(["Suspended", undefined]);
  });

  it("a `keep` that throws is a defect of ours", async () => {
    const known = new Known();
    known.keep = () => {
      throw new Error("disk full");
    };
    const { outcome } = await told(pipeline([cached()]), { known });
    expect([outcome.state, outcome.error?.code]).to.deep.equal(["Failed", "Internal"]);
  });
});

describe("run: options that are evaluated", () => {
  const optionsOf = async (more: Partial<StepDefinition>, run: Partial<RunOptions> = {}) => {
    const seen: JsonObject[] = [];
    const invoke: Invoke = async (_, request) => {
      seen.push(request.options);
      return { ok: true, payload: request.payload, metadata: {} };
    };
    const { outcome } = await told(pipeline([step("a", [], more)]), { invoke, ...run });
    return { seen, error: outcome.error };
  };

  it("are merged over the step's", async () => {
    const { seen } = await optionsOf({
      options: { a: 1, b: { c: 2 } },
      optionsExpression: "{'b': 3, 'input': input, '__proto__': true}",
    });
    expect(JSON.stringify(seen)).to.equal('[{"a":1,"b":3,"input":"in","__proto__":true}]');
  });

  it("over 4 KiB, or that fail, fail the step", async () => {
    const large = await optionsOf(
      { optionsExpression: "{'t': input}" },
      { input: textPayload("x".repeat(maxOptionsBytes)) },
    );
    expect(large.error).to.include({ code: "PayloadTooLarge", step: "a" });
    const failing = await optionsOf({ optionsExpression: "{'t': input.x}" });
    expect(failing.error).to.include({ code: "InvalidInput", step: "a" });
  });

  it("must fit the Processor's schema", async () => {
    const known = new Map([["p", facts("p", { optionsSchema: { type: "object" } })]]);
    const definition = pipeline([step("a", [], { processor: "p", optionsExpression: "{'n': input}" })]);
    const compileSchema = () => (value: unknown) => (JSON.stringify(value) === '{"n":1}' ? undefined : "n must be 1");
    const compiled = compile(definition, { processors: known, pipelines: new Map(), compileSchema });
    if (!compiled.ok) throw new Error("it was refused");
    for (const [input, code] of [
      [1, undefined],
      [2, "InvalidInput"],
    ] as const) {
      const time = new VirtualTime();
      const options = runOptions({ ports: time, input: jsonPayload(input), invoke: echo });
      const outcome = await time.drive(startRun(compiled.plan, options).outcome);
      expect(outcome.error?.code).to.equal(code);
      if (code !== undefined) expect(outcome.error?.message).to.contain("n must be 1");
    }
  });
});

describe("run: Processors that are called at most once", () => {
  const once = new Map([["once", facts("once", { delivery: "AtMostOnce", retry: { ...facts("x").retry, limit: 0 } })]]);
  const definition = pipeline([step("a", [], { processor: "once" })]);

  it("are told of before an attempt starts", async () => {
    const order: string[] = [];
    const { outcome } = await told(
      pipeline([step("a", [], { processor: "once", forEach: "[1, 2]", maxParallel: 1 })]),
      {
        beforeAttempt: async ({ stepName, item, attempt, idempotencyKey }) => {
          await Promise.resolve();
          order.push(`record ${stepName}/${item}#${attempt} ${idempotencyKey}`);
        },
        onEvent: ({ type }) => order.push(type),
        invoke: async ({ item }, { payload }) => {
          order.push(`invoke ${item}`);
          return { ok: true, payload, metadata: {} };
        },
      },
      once,
    );
    expect(outcome.state).to.equal("Succeeded");
    const item = (index: number) => [
      "ItemStarted",
      `record a/${index}#1 uid-1/a/${index}`,
      `invoke ${index}`,
      "ItemFinished",
    ];
    expect(order).to.deep.equal(["ItemsListed", ...item(0), ...item(1), "StepFinished"]);
  });

  it("fail without an attempt where that cannot be recorded", async () => {
    let calls = 0;
    const invoke: Invoke = (attempt, request, signal) => {
      calls++;
      return echo(attempt, request, signal);
    };
    const beforeAttempt = () => Promise.reject(new MillraceError("Unavailable", "no API server"));
    const { outcome } = await told(definition, { beforeAttempt, invoke }, once);
    expect(outcome.error).to.include({ code: "Unavailable", step: "a" });
    expect(calls).to.equal(0);
  });

  it("count as in flight from when it is recorded: a suspended run makes the attempt", async () => {
    const recorded = Promise.withResolvers<void>();
    const time = new VirtualTime();
    const options = runOptions({ ports: time, invoke: echo, beforeAttempt: () => recorded.promise });
    const handle = startRun(planOf(definition, once), options);
    await time.advance(1);
    handle.suspend();
    recorded.resolve();
    expect((await time.drive(handle.outcome)).state).to.equal("Succeeded");
  });

  it("are never called again after a crash: the step is Interrupted", async () => {
    const around = pipeline([step("a", [], { processor: "once" }), step("b", ["a"], { processor: "once" })]);
    const { outcome, types } = await told(around, recordedOf({}, { attempts: new Map([["a", 1]]) }), once);
    expect(rowsOf(around, outcome)).to.deep.equal(["a: Failed/Interrupted", "b: Skipped/UpstreamFailed"]);
    expect(outcome.error).to.include({ code: "Interrupted", kind: "System", step: "a" });
    expect(types).to.deep.equal(["StepFinished", "StepFinished"]);
    const ignored = pipeline([step("a", [], { processor: "once", onFailure: "Ignore" })]);
    const second = await told(ignored, recordedOf({}, { attempts: new Map([["a", 1]]) }), once);
    expect(rowsOf(ignored, second.outcome)).to.deep.equal(["a: Failed/Interrupted/Ignored"]);
    expect(second.outcome.state).to.equal("Succeeded");
  });
});

describe("run: retry budgets", () => {
  it("stop retries that would be within the step's limit, and the error says so", async () => {
    const time = new VirtualTime();
    const retryBudgets = new SlidingRetryBudgets(time.clock);
    const steps = Array.from({ length: 15 }, (_, index) => step(`s${index}`));
    const definition = pipeline(steps, { output: "1" });
    const invoke: Invoke = async () => {
      throw new MillraceError("Unavailable", "down");
    };
    const options = runOptions({ ports: time, invoke, retryBudgets });
    const outcome = await time.drive(startRun(planOf(definition), options).outcome);
    const attempts = outcome.steps.map((result) => (result?.state === "Failed" ? result.attempts : 0));
    expect(attempts.filter((made) => made === 2)).to.have.length(10);
    expect(attempts.filter((made) => made === 1)).to.have.length(5);
    const messages = outcome.steps.flatMap((result) => (result?.state === "Failed" ? [result.error.message] : []));
    expect(messages.filter((message) => message.includes("retry budget of the Processor transform"))).to.have.length(5);
  });
});

describe("run: ignored failures, named outputs and BestEffort", () => {
  const refused = () => new MillraceError("InvalidInput", "no");

  it("onFailure Ignore: dependents run, the output is null, the run succeeds, FailFast or not", async () => {
    const definition = pipeline(
      [
        step("a", [], { onFailure: "Ignore" }),
        step("b", ["a"]),
        step("c", ["a"], { when: "has(steps.a.output) && steps.a.output == null", input: "[steps.a.output]" }),
      ],
      { failurePolicy: "FailFast", output: "[steps.a.output, steps.c.output]" },
    );
    const invoke = scripted({ a: refused, b: (_, payload) => payload, c: (_, payload) => payload });
    const { outcome } = await told(definition, { invoke });
    expect(rowsOf(definition, outcome)).to.deep.equal([
      "a: Failed/InvalidInput/Ignored",
      "b: Succeeded",
      "c: Succeeded",
    ]);
    expect(await textOf(outcome.output)).to.equal("[null,[null]]");
    expect(outcome.error).to.equal(undefined);
  });

  it("gives named outputs, passed on or evaluated", async () => {
    const outputs = [
      { name: "whole", value: "steps.a.output" },
      { name: "part", value: "size(steps.a.output)" },
      { name: "by", value: "steps.a.metadata.by" },
    ];
    const { outcome } = await told(pipeline([step("a")], { outputs }));
    expect(
      await Promise.all([...(outcome.outputs ?? [])].map(async ([name, value]) => [name, await textOf(value)])),
    ).to.deep.equal([
      ["whole", '"in"'],
      ["part", "2"],
      ["by", "attempt"],
    ]);
    expect((await told(pipeline([step("a")]))).outcome.outputs?.size).to.equal(0);
    const failed = await told(pipeline([step("a")], { outputs: [{ name: "x", value: "input.x" }] }));
    expect([failed.outcome.state, failed.outcome.output, failed.outcome.outputs]).to.deep.equal([
      "Failed",
      undefined,
      undefined,
    ]);
  });

  it("BestEffort succeeds where its outputs were produced, and fails with the first failure where not", async () => {
    const steps = [step("bad"), step("a"), step("after", ["bad"])];
    const invoke = scripted({ bad: refused, a: (_, payload) => payload });
    const stateWith = async (more: Partial<PipelineDefinition>) => {
      const { outcome } = await told(pipeline(steps, { failurePolicy: "BestEffort", ...more }), { invoke });
      return [outcome.state, outcome.error?.step];
    };
    expect(await stateWith({ output: "steps.a.output" })).to.deep.equal(["Succeeded", undefined]);
    expect(await stateWith({ output: "has(steps.after.output) ? 1 : 2" })).to.deep.equal(["Succeeded", undefined]);
    expect(await stateWith({ output: "steps.after.output" })).to.deep.equal(["Failed", "bad"]);
    expect(await stateWith({ output: "1", outputs: [{ name: "x", value: "steps.bad.output" }] })).to.deep.equal([
      "Failed",
      "bad",
    ]);
    const sole = pipeline([step("bad"), step("after", ["bad"])], { failurePolicy: "BestEffort" });
    expect((await told(sole, { invoke })).outcome.error?.step).to.equal("bad");
  });
});
