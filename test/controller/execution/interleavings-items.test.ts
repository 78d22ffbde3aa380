import { expect } from "chai";
import fc from "fast-check";
import type { FanOutRow } from "../../../controller/api/types.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { textPayload } from "../../../engine/payload.ts";
import type { Delivery, StepDefinition } from "../../../engine/pipeline.ts";
import { LiveRuns } from "./run/live-runs.ts";
import { compiled, type Work } from "./stage.ts";

const happenings = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ what: fc.constant("Pass" as const), ms: fc.nat(600) }) },
    { weight: 2, arbitrary: fc.record({ what: fc.constant("Crash" as const) }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant("Leave" as const) }) },
    { weight: 2, arbitrary: fc.record({ what: fc.constant("Suspend" as const) }) },
  ),
  { maxLength: 10 },
);

/** How long each attempt takes and whether it fails, one by one. */
const attempts = fc.array(fc.record({ ms: fc.nat(300), fails: fc.nat(7) }), { minLength: 20, maxLength: 20 });

const total = 8;

const steps: readonly StepDefinition[] = [
  { name: "list", processor: "work", dependsOn: [], options: {}, onFailure: "Ignore" },
  {
    name: "pages",
    processor: "work",
    dependsOn: ["list"],
    options: {},
    forEach: "[0, 1, 2, 3, 4, 5, 6, 7]",
    maxParallel: 3,
    onFailure: "Ignore",
  },
];

/** The indices that `done` tells. */
function indices({ done = "" }: FanOutRow): readonly number[] {
  return done
    .split(",")
    .filter((range) => range !== "")
    .flatMap((range) => {
      const [first = "", last = first] = range.split("-");
      return Array.from({ length: Number(last) - Number(first) + 1 }, (_, offset) => Number(first) + offset);
    });
}

/** Whether it is recorded that the work has ended. */
function isRecorded(runs: LiveRuns, stepName: string, item: number | undefined): boolean {
  const row = runs.status().steps?.find(({ name }) => name === stepName);
  if (item !== undefined) return row?.items !== undefined && indices(row.items).includes(item);
  return !["Waiting", "Running", "Retrying", undefined].includes(row?.state);
}

describe("a fan-out through any interleaving of crashes, departures, pauses and time", () => {
  for (const delivery of ["AtLeastOnce", "AtMostOnce"] satisfies Delivery[]) {
    it(`runs no recorded item again, ends, and counts each item once (${delivery})`, async function () {
      this.timeout(60_000);
      await fc.assert(
        fc.asyncProperty(happenings, attempts, async (story, plan) => {
          await using runs = await LiveRuns.begin();
          const retry = { limit: delivery === "AtMostOnce" ? 0 : 1 };
          const pipeline = compiled(
            steps.map((step) => ({ ...step, retry })),
            {},
            { facts: { delivery } },
          );
          const repeated: string[] = [];
          runs.work = scripted(runs, plan, repeated);
          let run = await runs.start(pipeline);
          const goOn = async () => {
            if (runs.status().completionTime === undefined) run = await runs.goOn(pipeline);
          };
          for (const event of story) {
            if (event.what === "Pass") await runs.advance(event.ms);
            else if (event.what === "Crash") {
              await runs.crash(run);
              runs.forgive();
              await goOn();
            } else {
              if (event.what === "Leave") run.leave();
              else run.observe({ ...runs.execution(), spec: { ...runs.execution().spec, suspend: true } });
              await runs.finish(run);
              await goOn();
            }
          }
          await runs.finish(run);
          expect(repeated, "nothing that is recorded is run again").to.deep.equal([]);
          expectEnded(runs, delivery);
        }),
        { numRuns: 15 },
      );
    });
  }

  function scripted(
    runs: LiveRuns,
    plan: readonly { readonly ms: number; readonly fails: number }[],
    repeated: string[],
  ): Work {
    let attempt = 0;
    return async (call, _request, signal) => {
      if (isRecorded(runs, call.stepName, call.item)) repeated.push(call.idempotencyKey);
      const { ms, fails } = plan[attempt++ % plan.length] ?? { ms: 0, fails: 7 };
      await new Promise<void>((resolve, reject) => {
        runs.time.ports.scheduler.after(ms, resolve);
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
      if (fails === 0) throw new MillraceError("Unavailable", "scripted");
      return { ok: true, payload: textPayload(`${call.stepName} ${call.item}`), metadata: {} };
    };
  }

  function expectEnded(runs: LiveRuns, delivery: Delivery): void {
    const { phase, steps: rows = [], output } = runs.status();
    expect(phase, JSON.stringify(runs.status())).to.equal("Succeeded");
    const { succeeded = 0, failed = 0, done } = rows[1]?.items ?? {};
    expect([succeeded + failed, done]).to.deep.equal([total, "0-7"]);
    const list = output?.json as readonly unknown[];
    expect(list.filter((value) => value !== null)).to.have.length(succeeded);
    if (delivery === "AtLeastOnce") return;
    const works = new Set(runs.calls.map((call) => call.split("#")[0]));
    expect(works.size, "nothing is started twice").to.equal(runs.calls.length);
  }
});
