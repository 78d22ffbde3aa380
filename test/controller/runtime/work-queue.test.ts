import { expect } from "chai";
import fc from "fast-check";
import { ApiError } from "../../../controller/api/client.ts";
import type { Logger } from "../../../controller/runtime/logger.ts";
import type { ObjectKey } from "../../../controller/runtime/object-key.ts";
import { WorkQueue } from "../../../controller/runtime/work-queue.ts";
import { type Reconciler, runWorkers } from "../../../controller/runtime/worker.ts";
import { silentLogger, turn, until, VirtualTime } from "./fakes.ts";

const keys = ["ns/a", "ns/b", "ns/c"] as const satisfies readonly ObjectKey[];

const namespaceOf = (key: ObjectKey) => key.slice(0, key.indexOf("/"));
const keysOf = (...namespaces: readonly string[]) =>
  namespaces.flatMap((namespace) => [0, 1, 2, 3, 4].map((index) => `${namespace}/${index}` as ObjectKey));
const changing = keysOf("one", "two", "three");
/** What comes to be ready by the queue's own timers, and so in no order that the test knows. */
const delayed = keysOf("delayed");

/** Workers that hold what they were handed until they are told to finish, and what must be so of it all. */
class Crew {
  readonly time = new VirtualTime();
  readonly queue = new WorkQueue({ name: "test", ports: this.time.ports });
  readonly held: ObjectKey[] = [];
  readonly #workers: number;
  /** Changes of a key that no reconcile began after. */
  readonly #unseen = new Set<ObjectKey>();
  /** Of each namespace, in the order in which they must be handed out. */
  readonly #lines = new Map<string, ObjectKey[]>();
  readonly #problems: string[] = [];

  constructor(workers: number) {
    this.#workers = workers;
    for (let count = 0; count < workers; count++) this.#take();
  }

  get unseen(): ObjectKey[] {
    return [...this.#unseen];
  }

  change(key: ObjectKey): void {
    this.#unseen.add(key);
    if (!this.held.includes(key)) this.#queueUp(key);
    this.queue.add(key);
  }

  changeLater(key: ObjectKey, ms: number): void {
    this.#unseen.add(key);
    this.queue.addAfter(key, ms);
  }

  finish(which: number): void {
    const [key] = this.held.splice(which % Math.max(1, this.held.length), 1);
    if (key === undefined) return;
    if (this.#unseen.has(key)) this.#queueUp(key);
    this.queue.done(key);
    this.#take();
  }

  /** Once all that can be handed out is. */
  async check(): Promise<void> {
    await turn();
    expect(this.#problems).to.deep.equal([]);
    const free = this.#workers - this.held.length;
    for (const namespace of ["one", "two", "three", "delayed"]) {
      const held = this.held.filter((key) => namespaceOf(key) === namespace).length;
      expect(held).to.be.at.most(Math.ceil(this.#workers / 2));
      const waits = this.#lines.get(namespace)?.length ?? 0;
      if (waits > 0) expect(held, `${namespace} waits, ${free} are free`).to.be.at.least(free);
    }
  }

  #queueUp(key: ObjectKey): void {
    if (delayed.includes(key)) return;
    const line = this.#lines.get(namespaceOf(key)) ?? [];
    if (!line.includes(key)) line.push(key);
    this.#lines.set(namespaceOf(key), line);
  }

  #take(): void {
    void this.queue.take().then((key = "the queue/was closed") => {
      if (this.held.includes(key)) this.#problems.push(`${key} is held by two`);
      this.held.push(key);
      this.#unseen.delete(key);
      const first = delayed.includes(key) ? key : this.#lines.get(namespaceOf(key))?.shift();
      if (first !== key) this.#problems.push(`${key} was handed out before ${first}`);
    });
  }
}

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

  it("hands keys out by turns of their namespaces, and in order within each", async () => {
    const queue = new WorkQueue({ name: "test", ports: new VirtualTime().ports });
    for (const key of ["one/a", "one/b", "one/c", "two/a", "two/b"] as const) queue.add(key);
    const order: (ObjectKey | undefined)[] = [];
    for (let taken = 0; taken < 5; taken++) {
      const key = await queue.take();
      order.push(key);
      queue.done(key ?? "no/key");
    }
    expect(order).to.deep.equal(["one/a", "two/a", "one/b", "two/b", "one/c"]);
  });

  it("never hands a key to two at once, loses no change and keeps order and bounds, whatever happens", async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("change" as const), key: fc.constantFrom(...changing) }),
      fc.record({ do: fc.constant("later" as const), key: fc.constantFrom(...delayed), ms: fc.nat(50) }),
      fc.record({ do: fc.constant("done" as const), which: fc.nat(10) }),
      fc.record({ do: fc.constant("advance" as const), ms: fc.nat(40) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 9 }), fc.array(step, { maxLength: 80 }), async (workers, steps) => {
        const crew = new Crew(workers);
        for (const each of steps) {
          if (each.do === "change") crew.change(each.key);
          else if (each.do === "later") crew.changeLater(each.key, each.ms);
          else if (each.do === "done") crew.finish(each.which);
          else await crew.time.advance(each.ms);
          await crew.check();
        }
        await crew.time.advance(100);
        while (crew.held.length > 0) {
          crew.finish(0);
          await crew.check();
        }
        expect(crew.unseen).to.deep.equal([]);
      }),
      { numRuns: 300 },
    );
  });
});

describe("the workers", () => {
  const conflict = new ApiError({ code: 409, reason: "Conflict", message: "the object has been modified" });

  function setUp(reconcile: Reconciler["reconcile"], logger: Logger = silentLogger) {
    const time = new VirtualTime();
    const queue = new WorkQueue({ name: "test", ports: time.ports });
    const common = { queue, clock: time.ports.clock, logger, concurrency: 4 };
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

  it("leave workers for other namespaces, however many keys of one hold theirs for ever", async () => {
    const started: ObjectKey[] = [];
    const { queue, workers } = setUp((key, signal) => {
      started.push(key);
      if (key.startsWith("neighbour/")) return Promise.resolve({});
      return new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      });
    });
    for (let index = 0; index < 64; index++) queue.add(`dead/${index}`);
    await turn();
    queue.add("neighbour/words");
    queue.add("neighbour/numbers");
    await turn();
    expect(started).to.deep.equal(["dead/0", "dead/1", "neighbour/words", "neighbour/numbers"]);
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
