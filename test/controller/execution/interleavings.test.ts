import { expect } from "chai";
import fc from "fast-check";
import type { ExecutionStatus, StepRow } from "../../../controller/api/types.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { textPayload } from "../../../engine/payload.ts";
import { VirtualTime } from "../runtime/fakes.ts";
import { busy, FakeApi, unreachable } from "./fake-api.ts";
import { chain, compiled, Stage, type Work } from "./stage.ts";

/** What happens to the one Execution, in the order given. */
const happenings = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ what: fc.constant("Pass" as const), ms: fc.nat(400) }) },
    { weight: 2, arbitrary: fc.record({ what: fc.constant("Label" as const) }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant("Cancel" as const) }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant("CancelGracefully" as const) }) },
    { weight: 2, arbitrary: fc.record({ what: fc.constant("Suspend" as const), suspend: fc.boolean() }) },
    { weight: 2, arbitrary: fc.record({ what: fc.constant("Crash" as const) }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant("Stop" as const) }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant("Replace" as const), ms: fc.nat(400) }) },
  ),
  { maxLength: 14 },
);

/** What befalls the next calls of the API, one by one. */
const faults = fc.array(fc.constantFrom("None", "None", "Before", "After", "Busy"), { maxLength: 20 });

/** How long each attempt takes and whether it fails, one by one. */
const attempts = fc.array(fc.record({ ms: fc.nat(300), fails: fc.nat(9) }), { minLength: 30, maxLength: 30 });

const allowed = {
  Waiting: ["Waiting", "Running", "Retrying", "Succeeded", "Failed", "Skipped", "Cancelled"],
  Running: ["Running", "Retrying", "Succeeded", "Failed", "Cancelled"],
  Retrying: ["Running", "Retrying", "Succeeded", "Failed", "Cancelled"],
  Succeeded: ["Succeeded"],
  Failed: ["Failed"],
  Skipped: ["Skipped"],
  Cancelled: ["Cancelled"],
} as const satisfies Record<StepRow["state"], readonly StepRow["state"][]>;

const conditions: Readonly<Record<string, string>> = {
  Pending: "Ready=Unknown Reconciling=True Succeeded=Unknown",
  Queued: "Ready=Unknown Reconciling=True Succeeded=Unknown",
  Running: "Ready=Unknown Reconciling=True Succeeded=Unknown",
  Suspended: "Ready=Unknown Reconciling=True Succeeded=Unknown",
  Succeeded: "Complete=True Ready=True Succeeded=True",
  Failed: "Complete=True Ready=False Stalled=True Succeeded=False",
  Cancelled: "Complete=True Ready=False Stalled=True Succeeded=False",
};

function expectLegal(statuses: readonly ExecutionStatus[]): void {
  for (const [index, status] of statuses.entries()) {
    const said = (status.conditions ?? []).map(({ type, status: value }) => `${type}=${value}`).sort();
    expect(said.join(" ")).to.equal(conditions[status.phase ?? ""]);
    const before = statuses[index - 1];
    if (before === undefined) continue;
    if (before.completionTime !== undefined) {
      expect(withoutGeneration(status), "an outcome never changes").to.deep.equal(withoutGeneration(before));
    }
    expect(status.owner?.epoch ?? 0).to.be.at.least(before.owner?.epoch ?? 0);
    for (const row of status.steps ?? []) {
      const was = before.steps?.find(({ name }) => name === row.name);
      if (was !== undefined) expect(allowed[was.state], `${was.state} → ${row.state}`).to.include(row.state);
      if (was?.state === "Succeeded") expect(row, "a recorded success never changes").to.deep.equal(was);
    }
  }
}

/** An edit of the spec after the end is acknowledged, and changes nothing else. */
function withoutGeneration(status: ExecutionStatus): unknown {
  return JSON.parse(
    JSON.stringify(status, (key, value: unknown) => (key === "observedGeneration" ? undefined : value)),
  );
}

/** Of the steps of a run that was in the store when it ended, `last` has run, unless nothing has, or it was aborted. */
function expectFinally(status: ExecutionStatus | undefined): void {
  const message = status?.conditions?.find(({ type }) => type === "Succeeded")?.message ?? "";
  if (!message.includes("Graceful") || message.includes("before it began")) return;
  const last = status?.steps?.find(({ name }) => name === "last");
  expect(last?.state, JSON.stringify(status)).to.equal("Succeeded");
}

describe("an Execution through any interleaving of crashes, pauses, conflicts, replacements, faults and time", () => {
  it("has legal statuses only, repeats no recorded success, and ends", async function () {
    this.timeout(60_000);
    await fc.assert(
      fc.asyncProperty(happenings, faults, attempts, async (story, troubles, plan) => {
        const api = new FakeApi();
        const time = new VirtualTime();
        const calls: string[] = [];
        let fault = 0;
        api.fault = () => {
          const kind = troubles[fault++];
          if (kind === undefined || kind === "None") return undefined;
          if (kind === "Busy") return { when: "Before", error: busy() };
          return { when: kind, error: unreachable() };
        };
        const pipeline = compiled(chain("a", "b", "c"), {}, { definition: { finally: chain("last") } });
        let attempt = 0;
        const work: Work = async (call, _request, signal) => {
          const { metadata, status } = api.execution("one");
          const recorded = metadata.uid === call.execution.uid ? status?.steps : [];
          const row = recorded?.find(({ name }) => name === call.stepName);
          expect(row?.state, "a recorded success is not run again").to.not.equal("Succeeded");
          const { ms, fails } = plan[attempt++ % plan.length] ?? { ms: 0, fails: 9 };
          await new Promise<void>((resolve, reject) => {
            time.ports.scheduler.after(ms, resolve);
            signal.addEventListener("abort", () => reject(signal.reason), { once: true });
          });
          if (fails === 0 && call.stepName !== "last") throw new MillraceError("Unavailable", "scripted");
          return { ok: true, payload: textPayload(call.stepName), metadata: {} };
        };
        const stages: Stage[] = [];
        const next = (): Stage => {
          const stage = new Stage({ api, time, calls, replica: `replica-${stages.length}` });
          stage.work = work;
          stage.revisions.set("article-1", pipeline);
          stage.pipeline(pipeline);
          stages.push(stage);
          if (api.objects.has("executions/one")) api.label("one");
          return stage;
        };
        let stage = next();
        api.put("one", { pipeline: "article" });
        for (const event of story) {
          await stage.settle();
          if (event.what === "Pass") await stage.advance(event.ms);
          else if (event.what === "Label") api.label("one");
          else if (event.what === "Cancel") api.edit("one", { cancel: "Immediate" });
          else if (event.what === "Suspend") api.edit("one", { suspend: event.suspend });
          else if (event.what === "CancelGracefully") {
            if (api.execution("one").spec.cancel === "None") api.edit("one", { cancel: "Graceful" });
          } else if (event.what === "Replace") {
            expectLegal(api.statuses);
            api.statuses.length = 0;
            api.remove("one");
            api.put("one", { pipeline: "article" });
            // The key waits in the queue while whatever runs goes on.
            await time.advance(event.ms);
          } else {
            if (event.what === "Crash") stage.crash();
            else await stage[Symbol.asyncDispose]();
            stage = next();
          }
        }
        api.edit("one", { suspend: false });
        for (let round = 0; round < 40 && api.execution("one").status?.completionTime === undefined; round++) {
          await stage.advance(5_000);
        }
        expectLegal(api.statuses);
        const { status } = api.execution("one");
        expect(status?.completionTime, JSON.stringify(status)).to.not.equal(undefined);
        expectFinally(status);
        for (const key of calls) expect(key).to.match(/^uid-one-[0-9]+\/([abc]|last)$/);
        await stage[Symbol.asyncDispose]();
        for (const each of stages) await each[Symbol.asyncDispose]();
      }),
      { numRuns: 150 },
    );
  });
});
