import { expect } from "chai";
import fc from "fast-check";
import { ApiError } from "../../../controller/api/client.ts";
import type { Logger } from "../../../controller/runtime/logger.ts";
import type { ObjectKey } from "../../../controller/runtime/object-key.ts";
import { WorkQueue } from "../../../controller/runtime/work-queue.ts";
import { type Reconciler, runWorkers } from "../../../controller/runtime/worker.ts";
import { silentLogger, turn, until, VirtualTime } from "./fakes.ts";

const keys = ["ns/a", "ns/b", "ns/c"] as const satisfies readonly ObjectKey[];

describe("the work queue", () => {
  it("hands a key out once however often it is added, and once more when it is added while held", async () => {
    const queue = new WorkQueue({ name: "test", ports: new VirtualTime().ports });
    queue.add("ns/a");
    queue.add("ns/a");
    expect(queue.depth).to.equal(1);
    expect(await queue.take()).to.equal("ns/a");
    queue.add("ns/a");
    queue.add("ns/a");
    expect(queue.depth).to.equal(0);
    queue.done("ns/a");
    expect(await queue.take()).to.equal("ns/a");
    queue.done("ns/a");
    expect(queue.depth).to.equal(0);
  });

  it("backs a key off from 5 ms up to 1000 s, and starts over once it is well", async () => {
    const time = new VirtualTime();
    const queue = new WorkQueue({ name: "test", ports: time.ports });
    const delays: number[] = [];
    const retry = async () => {
      queue.retry("ns/a");
      delays.push(...time.delays);
      await time.advance(1_000_000);
      queue.done((await queue.take()) ?? "ns/none");
    };
    for (let i = 0; i < 20; i++) await retry();
    queue.forget("ns/a");
    await retry();
    expect(delays.slice(0, 4)).to.deep.equal([5, 10, 20, 40]);
    expect(delays[19]).to.equal(1_000_000);
    expect(delays[20]).to.equal(5);
  });

  it("keeps the earliest of several delays of a key", async () => {
    const time = new VirtualTime();
    const queue = new WorkQueue({ name: "test", ports: time.ports });
    queue.addAfter("ns/a", 1_000);
    queue.addAfter("ns/a", 100);
    queue.addAfter("ns/a", 5_000);
    expect(queue.delayed).to.equal(1);
    await time.advance(99);
    expect(queue.depth).to.equal(0);
    await time.advance(1);
    expect(queue.depth).to.equal(1);
    await time.advance(10_000);
    expect(queue.depth).to.equal(1);
  });

  it("refuses a key that is given back without having been taken", () => {
    const queue = new WorkQueue({ name: "test", ports: new VirtualTime().ports });
    expect(() => queue.done("ns/a")).to.throw("ns/a");
  });

  it("releases who waits when it is closed, and leaves no timers", async () => {
    const time = new VirtualTime();
    const queue = new WorkQueue({ name: "test", ports: time.ports });
    queue.addAfter("ns/a", 1_000);
    const waiting = queue.take();
    queue.close();
    expect(await waiting).to.equal(undefined);
    expect(await queue.take()).to.equal(undefined);
    expect(time.delays).to.deep.equal([]);
  });

  it("never hands a key to two at once and loses no change, whatever happens in whatever order", async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("change" as const), key: fc.constantFrom(...keys) }),
      fc.record({ do: fc.constant("later" as const), key: fc.constantFrom(...keys), ms: fc.nat(50) }),
      fc.record({ do: fc.constant("take" as const) }),
      fc.record({ do: fc.constant("done" as const), which: fc.nat(5) }),
      fc.record({ do: fc.constant("advance" as const), ms: fc.nat(40) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const time = new VirtualTime();
        const queue = new WorkQueue({ name: "test", ports: time.ports });
        const held: ObjectKey[] = [];
        /** Changes of a key, and how many of them its last reconcile could see. */
        const changed = new Map<ObjectKey, number>();
        const seen = new Map<ObjectKey, number>();
        const take = async () => {
          if (queue.depth === 0) return;
          const key = await queue.take();
          if (key === undefined) throw new Error("closed");
          expect(held).to.not.include(key);
          held.push(key);
          seen.set(key, changed.get(key) ?? 0);
        };
        const giveBack = (index: number) => {
          const key = held.splice(index, 1)[0];
          if (key !== undefined) queue.done(key);
        };
        for (const each of steps) {
          if (each.do === "change") {
            changed.set(each.key, (changed.get(each.key) ?? 0) + 1);
            queue.add(each.key);
          } else if (each.do === "later") queue.addAfter(each.key, each.ms);
          else if (each.do === "take") await take();
          else if (each.do === "done") giveBack(each.which % Math.max(1, held.length));
          else await time.advance(each.ms);
        }
        await time.advance(100);
        while (held.length > 0 || queue.depth > 0) {
          await take();
          giveBack(0);
        }
        for (const [key, count] of changed) expect(seen.get(key)).to.equal(count);
      }),
      { numRuns: 200 },
    );
  });
});

describe("the workers", () => {
  const conflict = new ApiError({ code: 409, reason: "Conflict", message: "the object has been modified" });

  function setUp(reconcile: Reconciler["reconcile"], logger: Logger = silentLogger) {
    const time = new VirtualTime();
    const queue = new WorkQueue({ name: "test", ports: time.ports });
    const common = { queue, clock: time.ports.clock, logger, concurrency: 2 };
    return { time, queue, workers: runWorkers({ ...common, reconciler: { reconcile } }) };
  }

  it("reconcile as many keys at once as they are, and again after what the reconciler asks", async () => {
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    const started: ObjectKey[] = [];
    const { time, queue, workers } = setUp(async (key) => {
      started.push(key);
      await gate;
      return { requeueAfterMs: 1_000 };
    });
    for (const key of keys) queue.add(key);
    await until(() => started.length === 2);
    await turn();
    expect(started).to.deep.equal(["ns/a", "ns/b"]);
    open();
    await until(() => started.length === 3 && queue.delayed === 3);
    await time.advance(1_000);
    await until(() => started.length === 6);
    await workers[Symbol.asyncDispose]();
  });

  it("requeue a conflict silently, and log and retry any other error", async () => {
    const logged: unknown[] = [];
    const logger: Logger = { ...silentLogger, error: (fields) => void logged.push(fields.err) };
    const errors: Error[] = [conflict, new Error("broken")];
    let reconciles = 0;
    const { time, queue, workers } = setUp(async () => {
      reconciles++;
      const error = errors.shift();
      if (error) throw error;
      return {};
    }, logger);
    queue.add("ns/a");
    await time.scheduled((delayMs) => delayMs === 5);
    expect(logged).to.deep.equal([]);
    await time.advance(5);
    await time.scheduled((delayMs) => delayMs === 10);
    expect(logged).to.have.length(1);
    await time.advance(10);
    await until(() => reconciles === 3);
    await workers[Symbol.asyncDispose]();
  });

  it("finish what is under way when they drain, and abort it when patience ends", async () => {
    const aborted: unknown[] = [];
    const { queue, workers } = setUp(
      (_key, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            aborted.push(signal.reason);
            reject(signal.reason as Error);
          });
        }),
    );
    queue.add("ns/a");
    await turn();
    const impatience = new AbortController();
    let drained = false;
    const draining = workers.drain(impatience.signal).then(() => {
      drained = true;
    });
    await turn();
    expect(drained).to.equal(false);
    expect(aborted).to.deep.equal([]);
    impatience.abort(new Error("second signal"));
    await draining;
    expect(aborted).to.deep.equal([impatience.signal.reason]);
  });
});
