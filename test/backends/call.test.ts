import { expect } from "chai";
import type { AttemptTime, BackendContext } from "../../backends/backend.ts";
import { ByteBudget } from "../../backends/byte-budget.ts";
import { MillraceError } from "../../engine/errors.ts";
import { BytesPayload, textPayload } from "../../engine/payload.ts";
import type { CallContext, ProcessorRequest, ProcessorResponse } from "../../engine/processor.ts";
import {
  attemptOf,
  callerOf,
  echoing,
  ManualPorts,
  never,
  rejection,
  requestOf,
  scripted,
  textOf,
  turn,
} from "./support.ts";

const mebibyte = 1024 * 1024;

/** A processor whose calls are answered by hand. */
function held() {
  const calls: { answer: () => void; context: CallContext }[] = [];
  const processor = scripted(
    (request, context) =>
      new Promise((resolve) => {
        calls.push({ context, answer: () => resolve({ ok: true, payload: request.payload, metadata: {} }) });
      }),
  );
  return { calls, processor };
}

describe("call.ts: what goes in and out", () => {
  it("gives what the processor gave", async () => {
    await using caller = callerOf(scripted(echoing));
    expect(await textOf(await caller.call(attemptOf(), requestOf("mill"), never))).to.equal("mill");
  });

  it("tells the processor which attempt of which step of which run it is", async () => {
    const seen: CallContext[] = [];
    await using caller = callerOf(
      scripted((request, context) => {
        seen.push(context);
        return echoing(request, context);
      }),
    );
    await caller.call(attemptOf({ attempt: 3, timeoutMs: 700, stepName: "clean" }), requestOf(), never);
    expect(seen[0]).to.include({ attempt: 3, timeoutMs: 700, step: "clean", idempotencyKey: "uid/step" });
    expect(seen[0]?.execution).to.deep.equal({ namespace: "test", name: "run", uid: "uid" });
  });

  it("refuses an input over the limit with its size and the limit, and does not call", async () => {
    let calls = 0;
    const processor = scripted((request, context) => {
      calls += 1;
      return echoing(request, context);
    });
    await using caller = callerOf(processor, { maxInputBytes: 4 });
    const error = await rejection(caller.call(attemptOf(), requestOf("12345"), never));
    expect(error.code).to.equal("PayloadTooLarge");
    expect(error.message).to.match(/5 bytes.*4 bytes/);
    expect(calls).to.equal(0);
    await caller.call(attemptOf(), requestOf("1234"), never);
    expect(calls).to.equal(1);
  });

  it("refuses options and metadata over their limits", async () => {
    await using caller = callerOf(scripted(echoing));
    const long = "x".repeat(8 * 1024);
    const byOptions = await rejection(caller.call(attemptOf(), requestOf("a", { long }), never));
    const byMetadata = await rejection(caller.call(attemptOf(), { ...requestOf(), metadata: { "up.x": long } }, never));
    expect([byOptions.code, byMetadata.code]).to.deep.equal(["PayloadTooLarge", "PayloadTooLarge"]);
  });

  it("refuses an output over the limit with its size and the limit", async () => {
    const processor = scripted(() => Promise.resolve({ ok: true, payload: textPayload("12345"), metadata: {} }));
    await using caller = callerOf(processor, { maxOutputBytes: 4 });
    const error = await rejection(caller.call(attemptOf(), requestOf("a"), never));
    expect(error.code).to.equal("PayloadTooLarge");
    expect(error.message).to.match(/5 bytes.*4 bytes/);
  });

  const badMetadata: readonly [string, Record<string, unknown>, string][] = [
    ["over 8 KiB", { x: "x".repeat(8 * 1024) }, "PayloadTooLarge"],
    ["with a key that is no name", { "a b": "1" }, "ProcessorCrashed"],
    ["with an empty key", { "": "1" }, "ProcessorCrashed"],
    ["with a value that is no string", { a: 1 }, "ProcessorCrashed"],
  ];
  for (const [what, metadata, code] of badMetadata) {
    it(`refuses metadata ${what}`, async () => {
      const response = { ok: true, payload: textPayload(""), metadata } as unknown as ProcessorResponse;
      await using caller = callerOf(scripted(() => Promise.resolve(response)));
      expect((await rejection(caller.call(attemptOf(), requestOf(), never))).code).to.equal(code);
    });
  }

  for (const contentType of ["", "text/plain\r\nX-Injected: 1", "text/größe", `text/${"x".repeat(255)}`]) {
    it(`refuses the content type ${JSON.stringify(contentType.slice(0, 30))}`, async () => {
      const payload = new BytesPayload(new Uint8Array(0), contentType);
      await using caller = callerOf(scripted(() => Promise.resolve({ ok: true, payload, metadata: {} })));
      expect((await rejection(caller.call(attemptOf(), requestOf(), never))).code).to.equal("ProcessorCrashed");
    });
  }

  it("passes the payload of an Analyze processor through, and keeps its metadata", async () => {
    const other = new BytesPayload(new Uint8Array(3), "image/png");
    const processor = scripted(
      () => Promise.resolve({ ok: true, payload: other, metadata: { words: "2" } }),
      "Analyze",
    );
    await using caller = callerOf(processor);
    const request = requestOf("two words");
    const response = await caller.call(attemptOf(), request, never);
    expect(response.ok && response.payload).to.equal(request.payload);
    expect(response.metadata).to.deep.equal({ words: "2" });
  });

  it("gives a declared failure as it is", async () => {
    const error = { code: "Unripe", message: "not yet", retryable: true };
    await using caller = callerOf(scripted(() => Promise.resolve({ ok: false, error, metadata: {} })));
    expect(await caller.call(attemptOf(), requestOf(), never)).to.deep.equal({ ok: false, error, metadata: {} });
  });

  const thrown: readonly [string, () => Promise<ProcessorResponse>, string][] = [
    ["its own code", () => Promise.reject(new MillraceError("Unavailable", "x")), "Unavailable"],
    ["Internal for what is no MillraceError", () => Promise.reject(new TypeError("x")), "Internal"],
    [
      "Internal for what is thrown at once",
      () => {
        throw new TypeError("x");
      },
      "Internal",
    ],
    [
      "Internal for a response that is none",
      () => Promise.resolve(undefined as unknown as ProcessorResponse),
      "Internal",
    ],
  ];
  for (const [what, process, code] of thrown) {
    it(`rejects with ${what}`, async () => {
      await using caller = callerOf(scripted(process));
      expect((await rejection(caller.call(attemptOf(), requestOf(), never))).code).to.equal(code);
      expect(caller.stats.inFlight).to.equal(0);
    });
  }
});

describe("call.ts: deadline and cancellation", () => {
  it("answers at the deadline although the processor ignores its signal, and aborts that with the same error", async () => {
    const ports = new ManualPorts();
    const { calls, processor } = held();
    const caller = callerOf(processor, {}, { ports });
    const call = caller.call(attemptOf({ timeoutMs: 300 }), requestOf(), never);
    const signal = calls[0]?.context.signal;
    ports.advance(299);
    expect(signal?.aborted).to.equal(false);
    ports.advance(1);
    const error = await rejection(call);
    expect(error.code).to.equal("DeadlineExceeded");
    expect(signal?.reason).to.equal(error);
  });

  it("keeps the place of a call that is over until the processor lets go, and gives it away after ten seconds", async () => {
    const ports = new ManualPorts();
    const { calls, processor } = held();
    const caller = callerOf(processor, { maxConcurrency: 1 }, { ports });
    const first = caller.call(attemptOf({ timeoutMs: 100 }), requestOf(), never);
    void caller.call(attemptOf({ timeoutMs: 60_000 }), requestOf(), never);
    ports.advance(100);
    await rejection(first);
    expect([calls.length, caller.stats.inFlight]).to.deep.equal([1, 1]);
    ports.advance(10_000);
    expect([calls.length, caller.stats.inFlight]).to.deep.equal([2, 1]);
    calls[0]?.answer();
    await turn();
    expect(caller.stats.inFlight).to.equal(1);
  });

  it("fires deadlines in their order, whatever the order of the calls", async () => {
    const ports = new ManualPorts();
    const caller = callerOf(held().processor, {}, { ports });
    const ended: number[] = [];
    const timeouts = [500, 100, 300, 200, 400, 100];
    const calls = timeouts.map((timeoutMs) =>
      caller.call(attemptOf({ timeoutMs }), requestOf(), never).catch(() => ended.push(timeoutMs)),
    );
    for (const [passed, count] of [2, 3, 4, 5, 6].entries()) {
      ports.advance(100);
      await turn();
      expect(ended, `after ${(passed + 1) * 100} ms`).to.have.length(count);
    }
    await Promise.all(calls);
    expect(ended).to.deep.equal([100, 100, 200, 300, 400, 500]);
  });

  it("arms no timer for each call, and none is left when it is disposed", async () => {
    const ports = new ManualPorts();
    const caller = callerOf(scripted(echoing), {}, { ports });
    for (let calls = 0; calls < 100; calls += 1) await caller.call(attemptOf(), requestOf(), never);
    expect(ports.timers).to.equal(1);
    await caller[Symbol.asyncDispose]();
    expect(ports.timers).to.equal(0);
  });

  it("does not count the time that a call waits for its place", async () => {
    const ports = new ManualPorts();
    const { calls, processor } = held();
    const caller = callerOf(processor, { maxConcurrency: 1 }, { ports });
    const first = caller.call(attemptOf({ timeoutMs: 1000 }), requestOf(), never);
    const second = caller.call(attemptOf({ timeoutMs: 100 }), requestOf("second"), never);
    ports.advance(999);
    calls[0]?.answer();
    await first;
    ports.advance(99);
    calls[1]?.answer();
    expect(await textOf(await second)).to.equal("second");
  });

  it("does not count the time for which the backend stops the clock, and counts what comes after", async () => {
    const ports = new ManualPorts();
    const times: (AttemptTime | undefined)[] = [];
    const silent = {
      ...scripted(echoing),
      process: (_request: ProcessorRequest, { time }: BackendContext) => {
        times.push(time);
        return new Promise<ProcessorResponse>(() => {});
      },
    };
    const caller = callerOf(silent, {}, { ports });
    const call = rejection(caller.call(attemptOf({ timeoutMs: 300 }), requestOf(), never));
    let isOver = false;
    void call.then(() => {
      isOver = true;
    });
    ports.advance(100);
    times[0]?.pause();
    times[0]?.pause();
    ports.advance(10_000);
    await turn();
    expect([isOver, times[0]?.resume()]).to.deep.equal([false, 200]);
    ports.advance(199);
    await turn();
    expect([isOver, times[0]?.resume()]).to.deep.equal([false, 1]);
    ports.advance(1);
    expect((await call).code).to.equal("DeadlineExceeded");
    times[0]?.pause();
    expect(times[0]?.resume()).to.equal(0);
    ports.advance(10_000);
    expect(caller.stats.inFlight).to.equal(0);
    await caller[Symbol.asyncDispose]();
    expect(ports.timers).to.equal(0);
  });

  it("answers at once when it is cancelled, with Cancelled or the engine's own reason", async () => {
    const { calls, processor } = held();
    const caller = callerOf(processor);
    const plain = new AbortController();
    const own = new AbortController();
    const first = caller.call(attemptOf(), requestOf(), plain.signal);
    const second = caller.call(attemptOf(), requestOf(), own.signal);
    plain.abort();
    own.abort(new MillraceError("DeadlineExceeded", "the Pipeline's"));
    expect((await rejection(first)).code).to.equal("Cancelled");
    expect((await rejection(second)).message).to.equal("the Pipeline's");
    expect(calls.map(({ context }) => context.signal.aborted)).to.deep.equal([true, true]);
    for (const { answer } of calls) answer();
    await caller[Symbol.asyncDispose]();
  });

  it("does not start a call that is cancelled before", async () => {
    const { calls, processor } = held();
    await using caller = callerOf(processor);
    expect((await rejection(caller.call(attemptOf(), requestOf(), AbortSignal.abort()))).code).to.equal("Cancelled");
    expect([calls.length, caller.stats.inFlight]).to.deep.equal([0, 0]);
  });
});

describe("call.ts: places, queue and bytes", () => {
  it("has no more calls in flight than maxConcurrency, in the order of their coming", async () => {
    const { calls, processor } = held();
    await using caller = callerOf(processor, { maxConcurrency: 2 });
    const order: number[] = [];
    const all = [0, 1, 2, 3, 4].map((n) => caller.call(attemptOf(), requestOf(), never).then(() => order.push(n)));
    expect(caller.stats).to.deep.equal({ inFlight: 2, waiting: 3, rejected: 0 });
    for (let next = 0; next < 5; next += 1) {
      expect(calls.length).to.equal(Math.min(5, next + 2));
      calls[next]?.answer();
      await turn();
    }
    await Promise.all(all);
    expect(order).to.deep.equal([0, 1, 2, 3, 4]);
  });

  it("starts no more calls than the processor says that it can run", async () => {
    const { calls, processor } = held();
    await using caller = callerOf({ ...processor, maxConcurrency: 1 }, { maxConcurrency: 2 });
    const both = [0, 1].map(() => caller.call(attemptOf(), requestOf(), never));
    expect(caller.stats).to.deep.equal({ inFlight: 1, waiting: 1, rejected: 0 });
    calls[0]?.answer();
    await both[0];
    calls[1]?.answer();
    await both[1];
  });

  it("refuses a call when the queue is full, and counts it", async () => {
    const { calls, processor } = held();
    await using caller = callerOf(processor, { maxConcurrency: 1 }, { maxWaiters: 1 });
    const kept = [caller.call(attemptOf(), requestOf(), never), caller.call(attemptOf(), requestOf(), never)];
    expect((await rejection(caller.call(attemptOf(), requestOf(), never))).code).to.equal("ResourceExhausted");
    expect(caller.stats).to.deep.equal({ inFlight: 1, waiting: 1, rejected: 1 });
    calls[0]?.answer();
    await kept[0];
    calls[1]?.answer();
    await kept[1];
  });

  it("lets a waiting call be cancelled, and the next one take its place", async () => {
    const { calls, processor } = held();
    await using caller = callerOf(processor, { maxConcurrency: 1 });
    const cancel = new AbortController();
    const first = caller.call(attemptOf(), requestOf(), never);
    const second = caller.call(attemptOf(), requestOf(), cancel.signal);
    const third = caller.call(attemptOf(), requestOf("third"), never);
    cancel.abort();
    expect((await rejection(second)).code).to.equal("Cancelled");
    calls[0]?.answer();
    await first;
    calls[1]?.answer();
    expect(await textOf(await third)).to.equal("third");
  });

  it("waits for bytes of the budget across processors, and gives them back", async () => {
    const budget = new ByteBudget(5 * mebibyte);
    const [one, two] = [held(), held()];
    await using first = callerOf(one.processor, {}, { budget });
    await using second = callerOf(two.processor, {}, { budget });
    const a = first.call(attemptOf(), requestOf(), never);
    const b = second.call(attemptOf(), requestOf(), never);
    expect([one.calls.length, two.calls.length, budget.waiting]).to.deep.equal([1, 0, 1]);
    one.calls[0]?.answer();
    await a;
    expect(two.calls.length).to.equal(1);
    two.calls[0]?.answer();
    await b;
    expect(budget.freeBytes).to.equal(5 * mebibyte);
  });

  it("answers another namespace at once, however many slow calls one namespace has", async () => {
    const budget = new ByteBudget();
    const slow = [held(), held()];
    const callers = slow.map(({ processor }) => callerOf(processor, {}, { budget }));
    const cancel = new AbortController();
    const calls = callers.flatMap((caller) =>
      Array.from({ length: 64 }, () => rejection(caller.call(attemptOf(), requestOf(), cancel.signal))),
    );
    await using instant = callerOf(scripted(echoing), {}, { budget });
    const execution = { namespace: "another", name: "run", uid: "uid-2" };
    expect(await textOf(await instant.call(attemptOf({ execution }), requestOf("mill"), never))).to.equal("mill");
    cancel.abort();
    await Promise.all(calls);
    for (const { calls: running } of slow) for (const { answer } of running) answer();
    await Promise.all(callers.map((caller) => caller[Symbol.asyncDispose]()));
  });

  it("leaves the budget's queue when it is cancelled there", async () => {
    const budget = new ByteBudget(5 * mebibyte);
    const { calls, processor } = held();
    await using caller = callerOf(processor, {}, { budget });
    const cancel = new AbortController();
    const first = caller.call(attemptOf(), requestOf(), never);
    const second = caller.call(attemptOf(), requestOf(), cancel.signal);
    cancel.abort();
    expect((await rejection(second)).code).to.equal("Cancelled");
    calls[0]?.answer();
    await first;
    expect([calls.length, budget.waiting, budget.freeBytes]).to.deep.equal([1, 0, 5 * mebibyte]);
  });
});

describe("call.ts: disposal", () => {
  it("waits for its calls, refuses new ones, then disposes the processor once", async () => {
    const { calls, processor } = held();
    const caller = callerOf(processor);
    const call = caller.call(attemptOf(), requestOf("last"), never);
    const disposal = caller[Symbol.asyncDispose]();
    expect((await rejection(caller.call(attemptOf(), requestOf(), never))).code).to.equal("Unavailable");
    expect(processor.disposals).to.equal(0);
    calls[0]?.answer();
    expect(await textOf(await call)).to.equal("last");
    await disposal;
    await caller[Symbol.asyncDispose]();
    expect(processor.disposals).to.equal(1);
  });

  it("aborts what is left after its drain time, those that wait too", async () => {
    const ports = new ManualPorts();
    const { calls, processor } = held();
    const caller = callerOf(processor, { maxConcurrency: 1 }, { ports, drainMs: 1000 });
    const both = [0, 1].map(() => rejection(caller.call(attemptOf({ timeoutMs: 60_000 }), requestOf(), never)));
    const disposal = caller[Symbol.asyncDispose]();
    ports.advance(1000);
    expect((await Promise.all(both)).map(({ code }) => code)).to.deep.equal(["Unavailable", "Unavailable"]);
    calls[0]?.answer();
    await disposal;
    expect(processor.disposals).to.equal(1);
  });
});
