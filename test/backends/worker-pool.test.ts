import { expect } from "chai";
import { WorkerPool, type WorkerPoolOptions, workerEntry } from "../../backends/worker-pool.ts";
import { systemPorts } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import { never, rejection } from "./support.ts";
import type { TestJob } from "./worker-entry.ts";

function poolOf(changes: Partial<WorkerPoolOptions> = {}): WorkerPool {
  return new WorkerPool({
    name: "tests",
    entry: workerEntry(import.meta.url, "worker-entry"),
    ports: systemPorts,
    maxWorkers: 2,
    ...changes,
  });
}

function run(pool: WorkerPool, job: TestJob, signal: AbortSignal = never, key?: string): Promise<unknown> {
  return pool.run({ body: job }, signal, key === undefined ? {} : { key });
}

/** Aborts with a DeadlineExceeded, as call.ts does. */
function deadline(ms: number): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(new MillraceError("DeadlineExceeded", "too slow")), ms);
  return controller.signal;
}

describe("the pool of worker threads", function () {
  this.timeout(30_000);

  it("runs a job in a worker that knows no environment", async () => {
    await using pool = poolOf();
    expect(await run(pool, "echo")).to.equal("echo");
    expect(await run(pool, "env")).to.deep.equal({ env: {}, argv: 2 });
  });

  it("terminates a worker that spins when its job is aborted; its neighbours go on and the next job has a fresh one", async () => {
    await using pool = poolOf();
    const spinning = rejection(run(pool, "spin", deadline(200)));
    for (let jobs = 0; jobs < 20; jobs += 1) expect(await run(pool, "echo")).to.equal("echo");
    expect((await spinning).code).to.equal("DeadlineExceeded");
    expect(await Promise.all([run(pool, "echo"), run(pool, "echo")])).to.deep.equal(["echo", "echo"]);
  });

  it("gives a worker that listens to its signal the time to stop, and keeps it", async () => {
    await using pool = poolOf({ maxWorkers: 1, abortGraceMs: 5000 });
    await run(pool, "echo");
    const error = await rejection(run(pool, "wait", deadline(50)));
    expect(error.code).to.equal("DeadlineExceeded");
    expect(pool.stats).to.include({ size: 1, inUse: 0 });
    expect(await run(pool, "echo")).to.equal("echo");
  });

  const deaths: readonly [TestJob, string][] = [
    ["exit", "ProcessorCrashed"],
    ["throw", "ProcessorCrashed"],
    ["reject-later", "ProcessorCrashed"],
    ["grow", "SandboxViolation"],
  ];
  for (const [job, code] of deaths) {
    it(`says ${code} of a worker whose job is to ${job}, and goes on`, async () => {
      await using pool = poolOf({ maxWorkers: 1, resourceLimits: { maxOldGenerationSizeMb: 24 } });
      expect((await rejection(run(pool, job))).code).to.equal(code);
      expect(await run(pool, "echo")).to.equal("echo");
    });
  }

  it("drops what a worker prints, however much it is", async () => {
    await using pool = poolOf();
    expect(await run(pool, "print")).to.equal("printed");
  });

  it("takes no answer but that of the job", async () => {
    await using pool = poolOf();
    expect(await run(pool, "forge")).to.equal("real");
  });

  it("says Unavailable to everybody who waits when no worker can be started", async () => {
    await using pool = poolOf({ entry: new URL("./no-such-entry.ts", import.meta.url) });
    const codes = await Promise.all([1, 2, 3].map(async () => (await rejection(run(pool, "echo"))).code));
    expect(codes).to.deep.equal(["Unavailable", "Unavailable", "Unavailable"]);
    expect(pool.stats.size).to.equal(0);
  });

  it("says Internal of a job that cannot be posted, and the worker goes on", async () => {
    await using pool = poolOf({ maxWorkers: 1 });
    expect((await rejection(pool.run({ body: () => "functions cannot be cloned" }, never))).code).to.equal("Internal");
    expect(await run(pool, "echo")).to.equal("echo");
  });

  it("makes a job only when a worker takes it", async () => {
    await using pool = poolOf({ maxWorkers: 1, spares: 0 });
    const cancel = new AbortController();
    const holding = run(pool, "wait", deadline(300)).catch(() => "over");
    let made = 0;
    const waiting = pool.run(() => {
      made += 1;
      return { body: "echo" };
    }, cancel.signal);
    cancel.abort(new MillraceError("Cancelled", "no longer wanted"));
    expect((await rejection(waiting)).code).to.equal("Cancelled");
    expect(made).to.equal(0);
    await holding;
  });

  it("has no worker left when it is disposed, not even a spinning one", async () => {
    const pool = poolOf();
    const spinning = rejection(run(pool, "spin", deadline(100)));
    await run(pool, "echo");
    await spinning;
    await pool[Symbol.asyncDispose]();
    expect(pool.stats).to.include({ size: 0, inUse: 0, waiting: 0 });
    expect(process.getActiveResourcesInfo()).to.not.include("MessagePort");
  });

  it("hands on what a job logs, of a million lines a few thousand and how much the others were", async () => {
    let messages = 0;
    let bytes = 0;
    const log = (text: string, cutBytes: number) => {
      messages += 1;
      bytes += Buffer.byteLength(text) + cutBytes;
    };
    await using pool = poolOf();
    expect(await pool.run({ body: "log" }, never, { log })).to.equal("logged");
    expect(messages).to.be.within(3000, 6000);
    expect(bytes).to.equal(2_000_000);
  });
});
