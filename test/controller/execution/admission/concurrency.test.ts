import { expect } from "chai";
import type { ConcurrencyRule } from "../../../../controller/catalog.ts";
import type { FakeApi } from "../fake-api.ts";
import { chain, compiled, condition, Stage, succeed, type Work } from "../stage.ts";

/** Work that each Execution's own gate holds up. */
function gates(): { readonly work: Work; open(...names: readonly string[]): void; readonly running: Set<string> } {
  const opened = new Map<string, PromiseWithResolvers<void>>();
  const running = new Set<string>();
  const gateOf = (name: string) => {
    const gate = opened.get(name) ?? Promise.withResolvers<void>();
    opened.set(name, gate);
    return gate;
  };
  const work: Work = async (attempt, request, signal) => {
    const { name } = attempt.execution;
    running.add(name);
    const aborted = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    try {
      await Promise.race([gateOf(name).promise, aborted]);
      return await succeed(attempt, request, signal);
    } finally {
      running.delete(name);
    }
  };
  return { work, running, open: (...names) => void names.map((name) => gateOf(name).resolve()) };
}

function limited(concurrency: ConcurrencyRule) {
  return compiled(chain("clean"), { concurrency });
}

function phases(api: FakeApi): Readonly<Record<string, string | undefined>> {
  return Object.fromEntries(api.executions().map(({ metadata, status }) => [metadata.name, status?.phase]));
}

const reasonOf = (api: FakeApi, name: string) => condition(api.execution(name).status, "Succeeded")?.reason;
const messageOf = (api: FakeApi, name: string) => condition(api.execution(name).status, "Succeeded")?.message;

describe("a Pipeline's concurrency: Queue", () => {
  it("runs as many as the limit says, and the others by priority and age", async () => {
    await using stage = new Stage();
    const held = gates();
    stage.work = held.work;
    stage.pipeline(limited({ limit: 2, policy: "Queue" }));
    for (const name of ["a", "b", "c", "d"]) {
      stage.api.put(name, { pipeline: "article" });
      await stage.pass(1_000);
    }
    stage.api.put("urgent", { pipeline: "article", priority: 5 });
    await stage.pass(1_000);
    expect([...held.running]).to.deep.equal(["a", "b"]);
    expect(phases(stage.api)).to.deep.equal({ a: "Running", b: "Running", c: "Queued", d: "Queued", urgent: "Queued" });
    expect(reasonOf(stage.api, "d")).to.equal("Queued");
    expect(messageOf(stage.api, "d")).to.equal(
      'Waits for a place: Pipeline "article" runs 2 at a time (concurrency.limit); 1 is before it',
    );
    expect(stage.controller.queued).to.deep.equal({ Pipeline: 3, Namespace: 0, Process: 0 });
    held.open("a");
    await stage.settle();
    expect([...held.running]).to.deep.equal(["b", "urgent"]);
    held.open("b", "urgent");
    await stage.settle();
    expect([...held.running]).to.deep.equal(["c", "d"]);
    held.open("c", "d");
    await stage.settle();
    expect(new Set(Object.values(phases(stage.api)))).to.deep.equal(new Set(["Succeeded"]));
    expect(stage.api.execution("d").status?.queuedSince).to.equal(undefined);
  });

  it("says nothing of a wait shorter than 250 ms, and little of a long one", async () => {
    await using stage = new Stage();
    const held = gates();
    stage.work = held.work;
    stage.pipeline(limited({ limit: 1, policy: "Queue" }));
    const names = Array.from({ length: 6 }, (_, index) => `e${index}`);
    for (const name of names) stage.api.put(name, { pipeline: "article" });
    await stage.settle();
    await stage.pass(200);
    held.open("e0");
    await stage.settle();
    expect(stage.api.writes, "the outcome of the first").to.equal(1);
    await stage.pass(300);
    const queued = stage.api.statuses.filter(({ phase }) => phase === "Queued");
    expect(queued).to.have.length(4);
    held.open("e1", "e2", "e3");
    await stage.settle();
    await stage.pass(50_000);
    expect(stage.api.statuses.filter(({ phase }) => phase === "Queued")).to.have.length(4);
    await stage.pass(11_000);
    expect(messageOf(stage.api, "e5"), "its position is told anew after a minute").to.include("it is the next");
    expect(stage.api.statuses.filter(({ phase }) => phase === "Queued")).to.have.length(5);
  });

  it("does not hold up Executions of other Pipelines, and inline ones", async () => {
    await using stage = new Stage();
    const held = gates();
    stage.work = held.work;
    stage.pipeline(limited({ limit: 1, policy: "Queue" }));
    stage.pipeline(compiled(chain("clean")), "team", "free");
    stage.api.put("a", { pipeline: "article" });
    stage.api.put("b", { pipeline: "article" });
    stage.api.put("c", { pipeline: "free" });
    await stage.settle();
    expect([...held.running]).to.deep.equal(["a", "c"]);
  });

  it("fails with QueueTimeout what has waited for too long, counted from when it was queued, through a restart", async () => {
    const first = new Stage();
    const held = gates();
    first.work = held.work;
    const pipeline = limited({ limit: 1, policy: "Queue", queueTimeoutMs: 60_000 });
    first.pipeline(pipeline);
    first.api.put("a", { pipeline: "article" });
    await first.pass(1_000);
    first.api.put("b", { pipeline: "article", suspend: true });
    await first.pass(100_000);
    first.api.edit("b", { suspend: false });
    await first.pass(40_000);
    expect(phases(first.api)).to.deep.equal({ a: "Running", b: "Queued" });
    first.crash();
    await using second = new Stage({ api: first.api, time: first.time, replica: "replica-b" });
    second.work = held.work;
    second.revisions.set("article-1", pipeline);
    second.pipeline(pipeline);
    await second.settle();
    await second.pass(19_000);
    expect(phases(second.api)).to.deep.equal({ a: "Running", b: "Queued" });
    await second.pass(1_500);
    expect(phases(second.api)).to.deep.equal({ a: "Running", b: "Failed" });
    expect(reasonOf(second.api, "b")).to.equal("QueueTimeout");
    expect(second.api.execution("b").status?.queuedSince).to.equal(undefined);
    await first[Symbol.asyncDispose]();
  });

  it("takes an edit for what waits, and keeps the limit while the edited Pipeline is being checked", async () => {
    await using stage = new Stage();
    const held = gates();
    stage.work = held.work;
    stage.pipeline(limited({ limit: 1, policy: "Queue" }));
    for (const name of ["a", "b", "c"]) stage.api.put(name, { pipeline: "article" });
    await stage.pass(1_000);
    const state = { ready: false, reason: "Pending", message: "it is being checked" } as const;
    stage.pipelines.set("team", "article", { uid: "p", generation: 2, state });
    stage.pipeline(limited({ limit: 1, policy: "Queue" }));
    await stage.settle();
    expect([...held.running]).to.deep.equal(["a"]);
    stage.pipeline(limited({ limit: 1, policy: "Queue" }));
    await stage.settle();
    expect([...held.running], "what was a moment's gets no place").to.deep.equal(["a"]);
    stage.pipeline(limited({ limit: 2, policy: "Queue" }));
    await stage.settle();
    expect([...held.running]).to.deep.equal(["a", "b"]);
    stage.pipeline(limited({ limit: 2, policy: "Queue", queueTimeoutMs: 500 }));
    await stage.settle();
    expect(reasonOf(stage.api, "c")).to.equal("QueueTimeout");
  });

  it("deletes what never started after the ttl that its Pipeline has now", async () => {
    await using stage = new Stage();
    stage.work = gates().work;
    stage.pipeline({ ...limited({ limit: 1, policy: "Forbid" }), ttlSecondsAfterFinished: 5 });
    for (const name of ["a", "b"]) stage.api.put(name, { pipeline: "article" });
    await stage.pass(1_000);
    expect(phases(stage.api)).to.deep.equal({ a: "Running", b: "Failed" });
    await stage.pass(6_000);
    expect(phases(stage.api)).to.deep.equal({ a: "Running" });
  });

  it("resumes what ran before a restart, beyond a lowered limit too, before it starts anything new", async () => {
    const first = new Stage();
    const held = gates();
    first.work = held.work;
    const pipeline = compiled(chain("clean"));
    first.pipeline(pipeline);
    // It is looked at before the others.
    first.api.put("a-new", { pipeline: "article", priority: 9, suspend: true });
    for (const name of ["x", "y"]) first.api.put(name, { pipeline: "article" });
    await first.pass(1_000);
    first.crash();
    first.api.edit("a-new", { suspend: false });
    await using second = new Stage({ api: first.api, time: first.time, replica: "replica-b" });
    second.work = held.work;
    second.revisions.set("article-1", pipeline);
    second.pipeline(limited({ limit: 1, policy: "Queue" }));
    held.running.clear();
    await second.pass(1_000);
    expect([...held.running]).to.deep.equal(["x", "y"]);
    expect(phases(second.api)).to.include({ "a-new": "Queued" });
    held.open("x");
    await second.settle();
    expect([...held.running], "one still runs").to.deep.equal(["y"]);
    held.open("y");
    await second.settle();
    expect([...held.running]).to.deep.equal(["a-new"]);
    await first[Symbol.asyncDispose]();
  });

  it("gives the place of a deleted, waiting or running, Execution to the next", async () => {
    await using stage = new Stage();
    const held = gates();
    stage.work = held.work;
    stage.pipeline(limited({ limit: 1, policy: "Queue" }));
    for (const name of ["a", "b", "c"]) stage.api.put(name, { pipeline: "article" });
    await stage.pass(1_000);
    stage.api.remove("b");
    await stage.settle();
    stage.api.remove("a");
    await stage.settle();
    expect([...held.running]).to.deep.equal(["c"]);
  });
});

describe("a limit for each namespace", () => {
  it("queues what is beyond it, of whatever Pipeline, and lets other namespaces be", async () => {
    await using stage = new Stage({ maxPerNamespace: 1 });
    const held = gates();
    stage.work = held.work;
    stage.pipeline(compiled(chain("clean")));
    stage.pipeline(compiled(chain("clean")), "team", "second");
    stage.pipeline(compiled(chain("clean")), "other");
    stage.api.put("a", { pipeline: "article" });
    stage.api.put("b", { pipeline: "second" });
    stage.api.put("c", { pipeline: "article" }, undefined, "other");
    await stage.pass(1_000);
    expect([...held.running]).to.deep.equal(["a", "c"]);
    expect(messageOf(stage.api, "b")).to.equal(
      'Waits for a place: namespace "team" runs 1 at a time (--max-executions-per-namespace); it is the next',
    );
    held.open("a");
    await stage.settle();
    expect([...held.running]).to.deep.equal(["c", "b"]);
  });
});

describe("a Pipeline's concurrency: Forbid", () => {
  it("fails one that comes while the limit is reached, and names one that runs", async () => {
    await using stage = new Stage();
    const held = gates();
    stage.work = held.work;
    stage.pipeline(limited({ limit: 1, policy: "Forbid" }));
    stage.api.put("a", { pipeline: "article" });
    await stage.settle();
    stage.api.put("b", { pipeline: "article" });
    await stage.settle();
    expect(phases(stage.api)).to.include({ b: "Failed" });
    expect(reasonOf(stage.api, "b")).to.equal("ConcurrencyForbidden");
    expect(messageOf(stage.api, "b")).to.include('Execution "a" is running');
    expect(stage.events).to.deep.include({
      type: "Warning",
      reason: "ConcurrencyForbidden",
      message: messageOf(stage.api, "b"),
    });
    held.open("a");
    await stage.settle();
    stage.api.put("c", { pipeline: "article" });
    await stage.settle();
    expect([...held.running]).to.deep.equal(["c"]);
  });

  it("fails what waited in the queue when the policy becomes Forbid", async () => {
    await using stage = new Stage();
    stage.work = gates().work;
    stage.pipeline(limited({ limit: 1, policy: "Queue" }));
    for (const name of ["a", "b"]) stage.api.put(name, { pipeline: "article" });
    await stage.pass(1_000);
    stage.pipeline(limited({ limit: 1, policy: "Forbid" }));
    await stage.settle();
    expect(reasonOf(stage.api, "b")).to.equal("ConcurrencyForbidden");
    expect(phases(stage.api)).to.include({ a: "Running" });
  });
});

describe("a Pipeline's concurrency: Replace", () => {
  it("cancels the oldest in favour of a newer one, whether it runs or waits", async () => {
    await using stage = new Stage();
    const held = gates();
    stage.work = held.work;
    stage.pipeline(limited({ limit: 2, policy: "Replace" }));
    for (const name of ["a", "b", "c"]) {
      stage.api.put(name, { pipeline: "article" });
      await stage.pass(1_000);
    }
    expect([...held.running]).to.deep.equal(["b", "c"]);
    expect(phases(stage.api)).to.include({ a: "Cancelled" });
    expect(reasonOf(stage.api, "a")).to.equal("Replaced");
    expect(messageOf(stage.api, "a")).to.equal('Replaced by the newer Execution "c" (concurrency.policy: Replace)');
    expect(stage.api.execution("a").status?.steps?.map(({ state }) => state)).to.deep.equal(["Cancelled"]);
    expect(stage.events.map(({ reason }) => reason)).to.include("Replaced");
  });

  it("leaves a suspended one alone, and does not count it", async () => {
    await using stage = new Stage();
    const held = gates();
    stage.work = held.work;
    stage.pipeline(limited({ limit: 1, policy: "Replace" }));
    stage.api.put("a", { pipeline: "article" });
    await stage.pass(1_000);
    stage.api.put("b", { pipeline: "article", suspend: true });
    await stage.pass(1_000);
    expect(phases(stage.api)).to.deep.equal({ a: "Running", b: "Suspended" });
    stage.api.edit("b", { suspend: false });
    await stage.pass(1_000);
    expect(phases(stage.api)).to.deep.equal({ a: "Cancelled", b: "Running" });
  });

  it("forgets nothing in a crash: what the newest replace ends after the restart", async () => {
    const first = new Stage();
    const held = gates();
    first.work = held.work;
    const pipeline = limited({ limit: 1, policy: "Replace" });
    first.pipeline(pipeline);
    first.api.put("a", { pipeline: "article" });
    await first.pass(1_000);
    first.crash();
    await first.time.advance(1_000);
    first.api.put("b", { pipeline: "article" });
    await first.time.advance(1_000);
    first.api.put("c", { pipeline: "article" });
    await using second = new Stage({ api: first.api, time: first.time, replica: "replica-b" });
    second.work = held.work;
    second.revisions.set("article-1", pipeline);
    second.pipeline(pipeline);
    held.running.clear();
    await second.pass(1_000);
    expect([...held.running]).to.deep.equal(["c"]);
    expect(phases(second.api)).to.deep.equal({ a: "Cancelled", b: "Cancelled", c: "Running" });
    expect(reasonOf(second.api, "a")).to.equal("Replaced");
    expect(held.running.has("a"), "it is not run again").to.equal(false);
    await first[Symbol.asyncDispose]();
  });

  it("applies to what runs when the policy becomes Replace", async () => {
    await using stage = new Stage();
    const held = gates();
    stage.work = held.work;
    stage.pipeline(compiled(chain("clean")));
    for (const name of ["a", "b", "c"]) {
      stage.api.put(name, { pipeline: "article" });
      await stage.pass(1_000);
    }
    stage.pipeline(limited({ limit: 1, policy: "Replace" }));
    await stage.settle();
    expect(phases(stage.api)).to.deep.equal({ a: "Cancelled", b: "Cancelled", c: "Running" });
  });
});
