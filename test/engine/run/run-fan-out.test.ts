import { createHash } from "node:crypto";
import { expect } from "chai";
import { MillraceError } from "../../../engine/errors.ts";
import type { ItemResult, RunEvent } from "../../../engine/outcome.ts";
import type { Json, Payload } from "../../../engine/payload.ts";
import { BytesPayload, jsonPayload, textPayload } from "../../../engine/payload.ts";
import type { PipelineDefinition, StepDefinition } from "../../../engine/pipeline.ts";
import { maxItems } from "../../../engine/run/fan-out.ts";
import { maxListBytes } from "../../../engine/run/item-outputs.ts";
import { run, startRun } from "../../../engine/run/run.ts";
import type { Attempt, Invoke, RecordedItems, RunOptions } from "../../../engine/run/run-options.ts";
import {
  facts,
  pipeline,
  planOf,
  processors,
  recordedOf,
  rowsOf,
  runOptions,
  runToEnd,
  step,
  stored,
  textOf,
} from "../../support/pipelines.ts";
import { VirtualTime } from "../../support/virtual-time.ts";

const fan = (more: Partial<StepDefinition> = {}, around: Partial<PipelineDefinition> = {}) =>
  pipeline([step("f", [], { forEach: "input", ...more })], around);

const input = (list: Json) => ({ input: jsonPayload(list) });

const answered = (payload: Payload) => ({ ok: true, payload, metadata: {} }) as const;

const echo: Invoke = async (_, { payload }) => answered(payload);

/** Echoes, but fails the named items for good. */
const failingAt =
  (...items: number[]): Invoke =>
  async (attempt, { payload }) => {
    if (items.includes(attempt.item ?? -1)) throw new MillraceError("InvalidInput", `no ${attempt.item}`);
    return answered(payload);
  };

/** What a run gives, and what it told. */
async function told(definition: PipelineDefinition, more: Partial<RunOptions> = {}, known = processors) {
  const events: RunEvent[] = [];
  const outcome = await runToEnd(definition, { onEvent: (event) => events.push(event), ...more }, known);
  return { outcome, events };
}

const types = (events: readonly RunEvent[]) => events.map(({ type }) => type);

function digestOfList(list: string): string {
  return createHash("sha256").update(list).digest("hex").slice(0, 32);
}

describe("run: a fan-out", () => {
  it("runs the step once for each item and gives the list of their outputs in order", async () => {
    const seen: Attempt[] = [];
    const texts: string[] = [];
    const { outcome, events } = await told(fan({ maxParallel: 1 }), {
      ...input([3, "x", { a: [null] }]),
      invoke: async (attempt, { payload }) => {
        seen.push(attempt);
        texts.push(`${payload.contentType} ${await textOf(payload)}`);
        return answered(payload);
      },
    });
    expect(await textOf(outcome.output)).to.equal('[3,"x",{"a":[null]}]');
    expect(texts).to.deep.equal(["application/json 3", "text/plain; charset=utf-8 x", 'application/json {"a":[null]}']);
    expect(seen.map(({ idempotencyKey }) => idempotencyKey)).to.deep.equal(["uid-1/f/0", "uid-1/f/1", "uid-1/f/2"]);
    expect(seen.map(({ item, attempt }) => [item, attempt])).to.deep.equal([
      [0, 1],
      [1, 1],
      [2, 1],
    ]);
    expect(types(events)).to.deep.equal([
      "ItemsListed",
      ...Array(3).fill(["ItemStarted", "ItemFinished"]).flat(),
      "StepFinished",
    ]);
    expect(events[0]).to.deep.equal({
      type: "ItemsListed",
      step: 0,
      total: 3,
      digest: digestOfList('[3,"x",{"a":[null]}]'),
    });
    expect(outcome.steps[0]).to.deep.include({ state: "Succeeded", metadata: {}, attempts: 1 });
  });

  it("digests equal lists alike, whatever the order of their keys", async () => {
    const digests = await Promise.all(
      ['[{"b":1,"a":2}]', '[{"a":2,"b":1}]'].map(async (text) => {
        const bytes = new BytesPayload(new TextEncoder().encode(text), "application/json");
        const { events } = await told(fan(), { input: bytes, invoke: echo });
        return events[0]?.type === "ItemsListed" ? events[0].digest : "";
      }),
    );
    expect(digests[0]).to.equal(digests[1]);
    expect(digests[0]).to.match(/^[0-9a-f]{32}$/);
  });

  it("took what the last attempts of its items took together, those before the run was interrupted too", async () => {
    const items: RecordedItems = {
      digest: digestOfList("[0,1,2]"),
      total: 3,
      results: new Map<number, ItemResult>([
        [0, { state: "Succeeded", output: jsonPayload(0), metadata: {}, attempts: 1, fuel: 1_000 }],
      ]),
      attempts: new Map(),
    };
    const { outcome, events } = await told(fan({ onFailure: "Ignore" }), {
      ...input([0, 1, 2]),
      recorded: { results: new Map(), attempts: new Map(), items: new Map([["f", items]]), elapsedMs: 0 },
      invoke: async (attempt, { payload }) => {
        attempt.reportFuel?.(10 * attempt.attempt + (attempt.item ?? 0));
        if (attempt.item === 2) throw new MillraceError("InvalidInput", "no");
        if (attempt.attempt === 1) throw new MillraceError("Unavailable", "down");
        return answered(payload);
      },
    });
    const fuels = events.flatMap((event) => (event.type === "ItemFinished" ? [event.result.fuel] : []));
    expect(fuels).to.have.members([12, 21]);
    expect(outcome.steps[0]).to.include({ state: "Succeeded", fuel: 1_033 });
  });

  it("gives an empty list for an empty list, without an attempt", async () => {
    const { outcome, events } = await told(fan(), input([]));
    expect(await textOf(outcome.output)).to.equal("[]");
    expect(types(events)).to.deep.equal(["ItemsListed", "StepFinished"]);
    expect(outcome.steps[0]).to.include({ state: "Succeeded", attempts: 0 });
  });

  it("gives each item what `input`, `optionsExpression` and metadata say of it", async () => {
    const requests: unknown[] = [];
    const more = {
      forEach: "steps.a.output",
      input: "{'i': index, 'v': item, 'n': size(steps.a.output)}",
      optionsExpression: "{'at': index}",
      options: { fixed: true },
      maxParallel: 1,
    };
    const definition = pipeline([step("a"), step("f", ["a"], more)]);
    const invoke: Invoke = async ({ stepName }, request) => {
      if (stepName === "a") return { ok: true, payload: stored(jsonPayload(["x", "y"])), metadata: { k: "v" } };
      requests.push([JSON.parse(await textOf(request.payload)), request.options, request.metadata]);
      return answered(request.payload);
    };
    expect((await told(definition, { invoke })).outcome.state).to.equal("Succeeded");
    expect(requests).to.deep.equal([
      [{ i: 0, v: "x", n: 2 }, { fixed: true, at: 0 }, { "a.k": "v" }],
      [{ i: 1, v: "y", n: 2 }, { fixed: true, at: 1 }, { "a.k": "v" }],
    ]);
  });

  it("evaluates `when` once for the step", async () => {
    const definition = fan({ when: "size(input) > 5" });
    const { outcome, events } = await told(definition, input([1]));
    expect(rowsOf(definition, outcome)).to.deep.equal(["f: Skipped/WhenFalse"]);
    expect(types(events)).to.deep.equal(["StepFinished"]);
  });

  it("embeds JSON as it is, text as strings, all else as base64", async () => {
    const outputs = [
      new BytesPayload(
        new TextEncoder().encode(' { "n": 1.0, "big": 12345678901234567890123 } '),
        "application/vnd.x+json",
      ),
      textPayload('he said "no"'),
      new BytesPayload(new Uint8Array([0xff, 0x00]), "image/png"),
      new BytesPayload(new Uint8Array([0xef, 0xbb, 0xbf, 0x31]), "application/json"),
    ];
    const invoke: Invoke = async ({ item = 0 }) => answered(stored(outputs[item] ?? jsonPayload(null)));
    const { outcome } = await told(fan(), { ...input([0, 1, 2, 3]), invoke });
    expect(await textOf(outcome.output)).to.equal(
      '[ { "n": 1.0, "big": 12345678901234567890123 } ,"he said \\"no\\"",{"contentType":"image/png","base64":"/wA="},1]',
    );
    expect(outcome.output?.contentType).to.equal("application/json");
  });

  it("holds what it is told to instead of the list, and fails where that cannot be had", async () => {
    const kept: string[] = [];
    const keepList = async (list: Payload) => {
      kept.push(await textOf(list));
      return stored(list);
    };
    const { steps } = await runToEnd(fan(), { ...input([1, 2]), invoke: echo, keepList });
    expect(kept).to.deep.equal(["[1,2]"]);
    const [row] = steps;
    expect(row?.state === "Succeeded" && row.output).not.to.be.instanceOf(BytesPayload);
    const full = async () => {
      throw new MillraceError("ResourceExhausted", "the disk is full");
    };
    const refused = await runToEnd(fan(), { ...input([1, 2]), invoke: echo, keepList: full });
    expect(refused).to.deep.include({ state: "Failed" });
    expect(refused.error).to.include({ code: "ResourceExhausted", step: "f" });
  });

  it("fails where an item's output is no JSON, and says which", async () => {
    const broken = new BytesPayload(new TextEncoder().encode("{"), "application/json");
    const invoke: Invoke = async ({ item }, { payload }) => answered(item === 1 ? broken : payload);
    const { outcome } = await told(fan(), { ...input([0, 1]), invoke });
    expect(outcome.error).to.include({ code: "InvalidInput", step: "f" });
    expect(outcome.error?.message).to.contain("item 1");
  });

  it("refuses outputs that are too large together before it fetches any", async () => {
    let fetched = 0;
    const large: Payload = {
      ...stored(jsonPayload(0)),
      size: maxListBytes / 4,
      bytes: async () => {
        fetched++;
        return new Uint8Array();
      },
    };
    const { outcome } = await told(fan(), { ...input([0, 1, 2, 3]), invoke: async () => answered(large) });
    expect(outcome.error).to.include({ code: "PayloadTooLarge", step: "f" });
    expect(outcome.error?.message).to.contain(String(maxListBytes));
    expect(fetched).to.equal(0);
  });

  it("fetches no more than sixteen outputs at a time", async () => {
    let fetching = 0;
    let most = 0;
    const slow: Payload = {
      ...stored(jsonPayload(7)),
      bytes: async () => {
        most = Math.max(most, ++fetching);
        await new Promise((resolve) => setImmediate(resolve));
        fetching--;
        return new TextEncoder().encode("7");
      },
    };
    const list = Array.from({ length: 50 }, (_, index) => index);
    const plan = planOf(fan());
    const outcome = await run(plan, runOptions({ ...input(list), invoke: async () => answered(slow) }));
    expect(await textOf(outcome.output)).to.equal(`[${list.map(() => 7).join(",")}]`);
    expect(most).to.equal(16);
  });

  it("refuses more than 10,000 items, what is no list, and items without a JSON form", async () => {
    const tooMany = await told(fan(), input(Array(maxItems + 1).fill(0)));
    expect(tooMany.outcome.error).to.include({ code: "InvalidInput", step: "f" });
    expect(tooMany.outcome.error?.message).to.contain("10001 items").and.contain("10000");
    expect((await told(fan(), input({}))).outcome.error).to.include({ code: "InvalidInput", step: "f" });
    const noForm = await told(fan({ forEach: "[type(input)]" }), input(1));
    expect(noForm.outcome.error).to.include({ code: "InvalidInput", step: "f" });
    expect(types(noForm.events)).to.deep.equal(["StepFinished"]);
  });

  it("runs on after a skipped origin, which it does not receive", async () => {
    const definition = pipeline([step("a", [], { when: "false" }), step("f", ["a"], { forEach: "[1, 2]" })]);
    expect(rowsOf(definition, (await told(definition, { invoke: echo })).outcome)).to.deep.equal([
      "a: Skipped/WhenFalse",
      "f: Succeeded",
    ]);
  });
});

describe("run: slots and attempts of a fan-out", () => {
  async function mostAtOnce(definition: PipelineDefinition): Promise<number> {
    const time = new VirtualTime();
    let running = 0;
    let most = 0;
    const invoke: Invoke = async (_, { payload }) => {
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => time.scheduler.after(10, resolve));
      running--;
      return answered(payload);
    };
    const options = runOptions({ ports: time, invoke, ...input(Array(20).fill(0)) });
    expect((await time.drive(run(planOf(definition), options))).state).to.equal("Succeeded");
    return most;
  }

  it("takes at most maxParallel slots, and at most those that there are", async () => {
    expect(await mostAtOnce(fan({ maxParallel: 3 }))).to.equal(3);
    expect(await mostAtOnce(fan({ maxParallel: 10 }, { maxParallelSteps: 4 }))).to.equal(4);
    expect(await mostAtOnce(fan({}, { maxParallelSteps: 5 }))).to.equal(5);
  });

  it("shares the slots with other steps", async () => {
    const order: string[] = [];
    const definition = pipeline([step("f", [], { forEach: "[1, 2, 3]", input: "item" }), step("b"), step("c")], {
      maxParallelSteps: 1,
      output: "1",
    });
    await runToEnd(definition, {
      invoke: async ({ stepName, item }, { payload }) => {
        order.push(`${stepName}${item ?? ""}`);
        return answered(payload);
      },
    });
    expect(order).to.deep.equal(["f0", "b", "c", "f1", "f2"]);
  });

  it("retries an item on its own, and gives its slot away meanwhile", async () => {
    const calls: string[] = [];
    const { outcome, events } = await told(fan({ maxParallel: 1 }), {
      ...input([0, 1, 2]),
      invoke: async ({ item, attempt }, { payload }) => {
        calls.push(`${item}#${attempt}`);
        if (item === 1 && attempt === 1) throw new MillraceError("Unavailable", "down");
        return answered(payload);
      },
    });
    expect(calls).to.deep.equal(["0#1", "1#1", "2#1", "1#2"]);
    expect(await textOf(outcome.output)).to.equal("[0,1,2]");
    expect(outcome.steps[0]).to.include({ attempts: 2 });
    expect(events.filter(({ type }) => type === "ItemRetrying")).to.have.length(1);
    expect(events.find(({ type }) => type === "ItemRetrying")).to.deep.include({ step: 0, item: 1, attempt: 1 });
  });

  it("Continue: the others finish, and the error names the first failing item and counts the others", async () => {
    const { outcome, events } = await told(fan(), { ...input(Array(50).fill(0)), invoke: failingAt(3, 1, 40) });
    expect(outcome.error).to.deep.include({ code: "InvalidInput", kind: "User", step: "f" });
    expect(outcome.error?.message).to.equal("3 of 50 items failed: item 1: InvalidInput: no 1; and 2 more");
    expect(events.filter(({ type }) => type === "ItemFinished")).to.have.length(50);
  });

  it("keeps the error within 1 KiB", async () => {
    const invoke: Invoke = async ({ item }) => {
      throw new MillraceError("InvalidInput", `${item} ${"ü".repeat(300)}`);
    };
    const { outcome } = await told(fan(), { ...input(Array(500).fill(0)), invoke });
    const message = outcome.error?.message ?? "";
    expect(Buffer.byteLength(message)).to.be.within(200, 1024);
    expect(message).to.match(/^500 of 500 items failed: item 0: .*…; and 499 more$/);
  });

  it("FailFast: the first failing item ends the step and the run, those in flight are Cancelled", async () => {
    const definition = fan({ maxParallel: 2 }, { failurePolicy: "FailFast" });
    const invoke: Invoke = (attempt, request, signal) =>
      attempt.item === 0 ? new Promise(() => undefined) : failingAt(1)(attempt, request, signal);
    const { outcome, events } = await told(definition, { ...input([0, 1, 2, 3]), invoke });
    expect(rowsOf(definition, outcome)).to.deep.equal(["f: Failed/InvalidInput"]);
    const finished = events.flatMap((event) =>
      event.type === "ItemFinished" ? [[event.item, event.result.state]] : [],
    );
    expect(finished).to.deep.equal([
      [1, "Failed"],
      [0, "Cancelled"],
    ]);
  });

  it("onFailure Ignore: failed items are null, and the step succeeds", async () => {
    const definition = fan({ onFailure: "Ignore" }, { failurePolicy: "FailFast" });
    const { outcome } = await told(definition, { ...input([0, 1, 2]), invoke: failingAt(0, 2) });
    expect(rowsOf(definition, outcome)).to.deep.equal(["f: Succeeded"]);
    expect(await textOf(outcome.output)).to.equal("[null,1,null]");
  });

  it("onFailure Ignore: a list that cannot be evaluated is an ignored failure", async () => {
    const definition = fan({ onFailure: "Ignore" });
    const { outcome } = await told(definition, input({}));
    expect(rowsOf(definition, outcome)).to.deep.equal(["f: Failed/InvalidInput/Ignored"]);
    expect(outcome.state).to.equal("Succeeded");
    expect(await textOf(outcome.output)).to.equal("null");
  });

  it("the timeout cancels the items that had started, and the step", async () => {
    const definition = fan({ maxParallel: 2 }, { timeoutMs: 100 });
    const hanging: Invoke = () => new Promise(() => undefined);
    const { outcome, events } = await told(definition, { ...input([0, 1, 2]), invoke: hanging });
    expect(rowsOf(definition, outcome)).to.deep.equal(["f: Cancelled/PipelineTimeout"]);
    expect(events.filter(({ type }) => type === "ItemFinished")).to.have.length(2);
  });
});

describe("run: a fan-out that is resumed", () => {
  const done: ItemResult = { state: "Succeeded", output: jsonPayload("kept"), metadata: {}, attempts: 1 };
  const earlier = (list: string, more: Partial<RecordedItems> = {}) =>
    recordedOf(
      {},
      {
        items: new Map([
          [
            "f",
            {
              digest: digestOfList(list),
              total: 3,
              results: new Map([[1, done]]),
              attempts: new Map([[2, 1]]),
              ...more,
            },
          ],
        ]),
      },
    );

  it("runs only the items that had not ended, and counts their attempts on", async () => {
    const calls: string[] = [];
    const invoke: Invoke = async ({ item, attempt }, { payload }) => {
      calls.push(`${item}#${attempt}`);
      return answered(payload);
    };
    const { outcome } = await told(fan(), { ...input([0, 1, 2]), ...earlier("[0,1,2]"), invoke });
    expect(calls).to.deep.equal(["0#1", "2#2"]);
    expect(await textOf(outcome.output)).to.equal('[0,"kept",2]');
  });

  it("fails where the list is another one", async () => {
    const { outcome, events } = await told(fan(), { ...input([0, 1, 9]), ...earlier("[0,1,2]"), invoke: echo });
    expect(outcome.error).to.include({ code: "Internal", step: "f" });
    expect(types(events)).to.deep.equal(["StepFinished"]);
  });

  it("fails items of an AtMostOnce Processor that had started", async () => {
    const known = new Map([["once", facts("once", { delivery: "AtMostOnce" })]]);
    const { outcome } = await told(
      fan({ processor: "once" }),
      { ...input([0, 1, 2]), ...earlier("[0,1,2]"), invoke: echo },
      known,
    );
    expect(outcome.error).to.include({ code: "Interrupted", step: "f" });
    expect(outcome.error?.message).to.contain("1 of 3 items failed: item 2");
  });

  it("stops at once where an item's row says that the run was stopped", async () => {
    const cancelled: ItemResult = { state: "Cancelled", reason: "Cancelled", attempts: 1 };
    const definition = fan();
    const { outcome, events } = await told(definition, {
      ...input([0, 1, 2]),
      ...earlier("[0,1,2]", { results: new Map([[1, cancelled]]) }),
      invoke: echo,
    });
    expect(rowsOf(definition, outcome)).to.deep.equal(["f: Cancelled/Cancelled"]);
    expect(outcome.state).to.equal("Cancelled");
    expect(types(events)).to.deep.equal(["StepFinished"]);
  });
});

describe("run: a fan-out of ten thousand items", () => {
  const list = Array.from({ length: maxItems }, (_, index) => index);

  async function timed(count: number): Promise<number> {
    const plan = planOf(fan({}, { maxParallelSteps: 100 }));
    const startedMs = performance.now();
    const outcome = await run(plan, runOptions({ ...input(list.slice(0, count)), invoke: echo }));
    expect(await textOf(outcome.output)).to.equal(JSON.stringify(list.slice(0, count)));
    return performance.now() - startedMs;
  }

  it("takes time in proportion to the items", async () => {
    let few = Number.POSITIVE_INFINITY;
    let many = Number.POSITIVE_INFINITY;
    // A tenth of the items ten times against all of them once, so that a machine that slows down slows both.
    for (let round = 0; round < 6; round++) {
      let tenTimesMs = 0;
      for (let part = 0; part < 10; part++) tenTimesMs += await timed(maxItems / 10);
      few = Math.min(few, tenTimesMs);
      many = Math.min(many, await timed(maxItems));
    }
    // Were each item to look at all others, this would be ten.
    expect(many / few).to.be.lessThan(4);
  }).timeout(20_000);

  it("gives turns to the event loop while it puts large outputs together", async () => {
    const time = new VirtualTime();
    let turns = 0;
    const scheduler = {
      after: (delayMs: number, callback: () => void) => {
        if (delayMs === 0) turns++;
        return time.scheduler.after(delayMs, callback);
      },
    };
    const ports = { clock: time.clock, random: time.random, scheduler };
    const large = textPayload("x".repeat(100_000));
    const options = runOptions({ ...input(list.slice(0, 100)), ports, invoke: async () => answered(large) });
    const outcome = await time.drive(run(planOf(fan()), options));
    expect(outcome.output?.size).to.equal(100 * 100_003 + 1);
    // A million bytes a turn, sixteen outputs at a time.
    expect(turns).to.be.within(4, 10);
  });

  it("gives turns to the event loop where items take work, and hears of a cancellation in between", async () => {
    const time = new VirtualTime();
    const controller = new AbortController();
    let turns = 0;
    const scheduler = {
      after: (delayMs: number, callback: () => void) =>
        time.scheduler.after(delayMs, () => {
          if (delayMs === 0 && ++turns === 3) controller.abort();
          callback();
        }),
    };
    const ports = { clock: time.clock, random: time.random, scheduler };
    const dear = fan({ input: "[1,2,3,4,5,6,7,8].map(i, [1,2,3,4,5,6,7,8].map(j, i * j))" });
    const handle = startRun(
      planOf(dear),
      runOptions({ ...input(list), ports, signal: controller.signal, invoke: echo }),
    );
    const outcome = await time.drive(handle.outcome);
    expect(outcome.state).to.equal("Cancelled");
    expect(turns).to.equal(3);
  });
});
