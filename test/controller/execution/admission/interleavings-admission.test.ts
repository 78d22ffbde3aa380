import { expect } from "chai";
import fc from "fast-check";
import type { ConcurrencyRule } from "../../../../controller/catalog.ts";
import { textPayload } from "../../../../engine/payload.ts";
import { VirtualTime } from "../../runtime/fakes.ts";
import { busy, FakeApi, unreachable } from "../fake-api.ts";
import { chain, compiled, condition, Stage, type Work } from "../stage.ts";

const limit = 2;
const names = ["e0", "e1", "e2", "e3", "e4", "e5"] as const;
const name = fc.constantFrom(...names);

/** What happens to the Executions of one Pipeline, in the order given. */
const happenings = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ what: fc.constant("Pass" as const), ms: fc.nat(900) }) },
    { weight: 6, arbitrary: fc.record({ what: fc.constant("Create" as const), name, suspend: fc.boolean() }) },
    { weight: 2, arbitrary: fc.record({ what: fc.constant("Suspend" as const), name, suspend: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant("Cancel" as const), name }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant("Delete" as const), name }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant("Check" as const) }) },
    { weight: 2, arbitrary: fc.record({ what: fc.constant("Crash" as const) }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant("Stop" as const) }) },
  ),
  { minLength: 6, maxLength: 30 },
);

type Story = typeof happenings extends fc.Arbitrary<infer T> ? T : never;

const faults = fc.array(fc.constantFrom("None", "None", "None", "Before", "After", "Busy"), { maxLength: 30 });

/** The Executions, the controllers one after another, and who is at work in the one that lives. */
class Play {
  readonly api = new FakeApi();
  readonly time = new VirtualTime();
  readonly stages: Stage[] = [];
  readonly #pipeline;
  #working = new Map<string, number>();

  constructor(concurrency: ConcurrencyRule, troubles: readonly string[]) {
    this.#pipeline = compiled(chain("a", "b"), { concurrency });
    let fault = 0;
    this.api.fault = () => {
      const kind = troubles[fault++];
      if (kind === undefined || kind === "None") return undefined;
      if (kind === "Busy") return { when: "Before", error: busy() };
      return { when: kind === "Before" ? "Before" : "After", error: unreachable() };
    };
  }

  get stage(): Stage {
    return this.stages.at(-1) as Stage;
  }

  /** The one before does nothing more. */
  next(): void {
    const working = new Map<string, number>();
    this.#working = working;
    const stage = new Stage({ api: this.api, time: this.time, replica: `replica-${this.stages.length}` });
    stage.work = this.#work(working);
    stage.revisions.set("article-1", this.#pipeline);
    stage.pipeline(this.#pipeline);
    this.stages.push(stage);
  }

  /** The Pipeline is edited: it is being checked, and then says what it said before. */
  check(): void {
    const state = { ready: false, reason: "Pending", message: "it is being checked" } as const;
    this.stage.pipelines.set("team", "article", { uid: "p", generation: 2, state });
    this.stage.pipeline(this.#pipeline);
  }

  async end(): Promise<void> {
    for (const { metadata, spec } of this.api.executions()) {
      if (spec.suspend) this.api.edit(metadata.name, { suspend: false });
    }
    // What was deleted last is not seen yet.
    await this.stage.settle();
    const isOver = () => this.api.executions().every(({ status }) => status?.completionTime !== undefined);
    for (let round = 0; round < 60 && !isOver(); round++) await this.stage.pass(3_000);
    const unfinished = this.api.executions().filter(({ status }) => status?.completionTime === undefined);
    expect(unfinished.map(({ metadata, status }) => [metadata.name, status])).to.deep.equal([]);
    // A run whose last write was done, but not answered, holds its place until it has asked.
    const isIdle = () => this.stage.controller.load.running === 0;
    for (let round = 0; round < 10 && !isIdle(); round++) await this.stage.pass(3_000);
    expect(this.stage.controller.load).to.deep.equal({ running: 0, waiting: 0 });
    for (const stage of this.stages) await stage[Symbol.asyncDispose]();
  }

  #work(working: Map<string, number>): Work {
    return async ({ execution, stepName }, _request, signal) => {
      working.set(execution.uid, (working.get(execution.uid) ?? 0) + 1);
      if (working === this.#working) expect(working.size, "no more run than the limit says").to.be.at.most(limit);
      try {
        await new Promise<void>((resolve, reject) => {
          this.time.ports.scheduler.after(600, resolve);
          signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        });
      } finally {
        const left = (working.get(execution.uid) ?? 1) - 1;
        if (left === 0) working.delete(execution.uid);
        else working.set(execution.uid, left);
      }
      return { ok: true, payload: textPayload(stepName), metadata: {} };
    };
  }
}

async function happen(play: Play, story: Story): Promise<void> {
  const { api } = play;
  play.next();
  for (const event of story) {
    await play.stage.settle();
    const known = "name" in event && api.objects.has(`executions/${event.name}`);
    if (event.what === "Pass") await play.stage.pass(event.ms);
    else if (event.what === "Check") play.check();
    else if (event.what === "Crash" || event.what === "Stop") {
      if (event.what === "Crash") play.stage.crash();
      else await play.stage[Symbol.asyncDispose]();
      play.next();
    } else if (event.what === "Create") {
      if (!known) api.put(event.name, { pipeline: "article", suspend: event.suspend });
    } else if (known) {
      if (event.what === "Suspend") api.edit(event.name, { suspend: event.suspend });
      else if (event.what === "Cancel") api.edit(event.name, { cancel: "Immediate" });
      else api.remove(event.name);
    }
  }
}

describe("the Executions of a Pipeline with a limit, through any interleaving of pauses, crashes, faults and time", () => {
  it("never run in greater number than the limit says, and all end", async function () {
    this.timeout(120_000);
    await fc.assert(
      fc.asyncProperty(happenings, faults, async (story, troubles) => {
        const play = new Play({ limit, policy: "Queue" }, troubles);
        await happen(play, story);
        await play.end();
        for (const { metadata, spec, status } of play.api.executions()) {
          const expected = spec.cancel === "None" ? ["Succeeded"] : ["Succeeded", "Cancelled"];
          expect(expected, metadata.name).to.include(status?.phase);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("end for the newest alone where newer ones replace them", async function () {
    this.timeout(120_000);
    await fc.assert(
      fc.asyncProperty(happenings, faults, async (story, troubles) => {
        const play = new Play({ limit, policy: "Replace" }, troubles);
        await happen(play, story);
        await play.end();
        for (const execution of play.api.executions()) {
          const reason = condition(execution.status, "Succeeded")?.reason;
          expect(["Succeeded", "Cancelled", "Replaced"]).to.include(reason);
        }
      }),
      { numRuns: 40 },
    );
  });
});
