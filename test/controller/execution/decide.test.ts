import { expect } from "chai";
import type { Execution } from "../../../controller/api/types.ts";
import { decide, type Facts, inlineFacts, type PipelineFacts } from "../../../controller/execution/decide.ts";
import { chain, compiled } from "./stage.ts";

const pipeline = compiled(chain("a"));
const ready: PipelineFacts = { kind: "Ready", pipeline };
const nowMs = Date.parse("2026-01-01T00:01:00Z");
const finished = {
  observedGeneration: 1,
  completionTime: "2026-01-01T00:00:00Z",
  conditions: [
    { type: "Complete", status: "True", reason: "Succeeded", message: "", lastTransitionTime: "2026-01-01T00:00:00Z" },
  ],
} as const;

function execution(more: Partial<Execution> = {}, meta: Partial<Execution["metadata"]> = {}): Execution {
  const metadata = { name: "one", namespace: "team", uid: "u", generation: 1, ...meta };
  return {
    apiVersion: "millrace.dev/v1alpha1",
    kind: "Execution",
    metadata,
    spec: { pipeline: "p", priority: 0, suspend: false, cancel: "None" },
    ...more,
  };
}

function facts(more: Partial<Facts> = {}): Facts {
  return { execution: execution(), isLive: false, isStopping: false, pipeline: ready, nowMs, ...more };
}

const cancelled = { spec: { pipeline: "p", priority: 0, suspend: false, cancel: "Immediate" } } as const;
const owner = { replica: "dead", epoch: 2 };
const spec = (more: Partial<Execution["spec"]>): Pick<Execution, "spec"> => ({
  spec: { pipeline: "p", priority: 0, suspend: false, cancel: "None", ...more },
});
const began = { status: { owner, phase: "Running", progress: "1/3" } } as const;
const startTime = "2026-01-01T00:00:00Z";
/** It waits for a Processor, and its Pipeline's timeout is 60 s. */
const waitingWith = (status: Execution["status"]): Facts =>
  facts({
    execution: execution({ status: { owner, startTime, ...status } }),
    pipeline: { kind: "NotReady", name: "p", reason: "r", message: "m", timeoutMs: 60_000 },
  });

const table: readonly (readonly [string, Facts, Readonly<Record<string, unknown>>])[] = [
  ["nothing for one that is gone", facts({ execution: undefined }), { action: "None", why: "Gone" }],
  [
    "nothing for one that is being deleted",
    facts({ execution: execution({}, { deletionTimestamp: "2026-01-01T00:00:00Z" }) }),
    { action: "None", why: "BeingDeleted" },
  ],
  ["to tell the run that is live", facts({ isLive: true }), { action: "Observe" }],
  [
    "to tell a live run of its cancellation too",
    facts({ isLive: true, execution: execution(cancelled) }),
    { action: "Observe" },
  ],
  [
    "to end a live run in favour of a newer one",
    facts({ isLive: true, replacedBy: "two" }),
    { action: "Replace", message: 'Replaced by the newer Execution "two" (concurrency.policy: Replace)' },
  ],
  [
    "to end one that does not run in favour of a newer one",
    facts({ execution: execution(began), replacedBy: "two" }),
    { action: "Conclude", phase: "Cancelled", reason: "Replaced" },
  ],
  [
    "to end one that waits for its Pipeline in favour of a newer one",
    facts({ pipeline: { kind: "Missing", name: "p" }, replacedBy: "two" }),
    { action: "Conclude", phase: "Cancelled", reason: "Replaced" },
  ],
  [
    "nothing for a finished one that a newer one would have replaced",
    facts({ execution: execution({ status: finished }), replacedBy: "two" }),
    { action: "None", why: "Settled" },
  ],
  [
    "to suspend one that has not begun",
    facts({ execution: execution(spec({ suspend: true })) }),
    {
      action: "Suspend",
      message: "Suspended by spec.suspend before it began; set it to false, and the run starts",
    },
  ],
  [
    "to suspend one whose controller died",
    facts({ execution: execution({ ...began, ...spec({ suspend: true }) }) }),
    {
      action: "Suspend",
      message: "Suspended by spec.suspend, 1/3 steps have ended; set it to false, and the run goes on",
    },
  ],
  [
    "to tell a live run that it is to be suspended",
    facts({ isLive: true, execution: execution(spec({ suspend: true })) }),
    { action: "Observe" },
  ],
  [
    "to cancel a suspended one at once",
    facts({ execution: execution({ ...began, ...spec({ suspend: true, cancel: "Immediate" }) }) }),
    { action: "Conclude", phase: "Cancelled", reason: "Cancelled" },
  ],
  [
    "to let a suspended one go on to its end when it is cancelled gracefully",
    facts({ execution: execution({ ...began, ...spec({ suspend: true, cancel: "Graceful" }) }) }),
    { action: "Resume", cancel: "Graceful" },
  ],
  [
    "to let an interrupted one go on to its end when it is cancelled gracefully",
    facts({ execution: execution({ ...began, ...spec({ cancel: "Graceful" }) }) }),
    { action: "Resume", cancel: "Graceful" },
  ],
  [
    "to cancel gracefully at once what has not begun",
    facts({ execution: execution(spec({ cancel: "Graceful" })) }),
    { action: "Conclude", phase: "Cancelled", reason: "Cancelled" },
  ],
  [
    "to tell a live run that it is to be cancelled gracefully",
    facts({ isLive: true, execution: execution(spec({ cancel: "Graceful" })) }),
    { action: "Observe" },
  ],
  [
    "to keep a suspended one that was taken over too often until it is resumed",
    facts({ execution: execution({ status: { owner: { ...owner, takeovers: 5 } }, ...spec({ suspend: true }) }) }),
    { action: "Suspend" },
  ],
  [
    "to wait on while the time that a run was running is within its timeout",
    waitingWith({ active: { beforeMs: 10_000, since: "2026-01-01T00:00:30Z" } }),
    { action: "Wait", overAtMs: nowMs + 20_000 },
  ],
  [
    "to end a waiting run at its timeout",
    waitingWith({ active: { beforeMs: 30_000, since: "2026-01-01T00:00:30Z" } }),
    { action: "Conclude", phase: "Failed", reason: "PipelineTimeout" },
  ],
  [
    "to end a waiting run at its timeout by its start, where no more is recorded",
    waitingWith({}),
    { action: "Conclude", phase: "Failed", reason: "PipelineTimeout" },
  ],
  ["nothing new while stopping", facts({ isStopping: true }), { action: "None", why: "Stopping" }],
  [
    "to record a cancellation before the start",
    facts({ execution: execution(cancelled) }),
    { action: "Conclude", phase: "Cancelled" },
  ],
  ["to start", facts(), { action: "Start" }],
  ["to resume what is recorded", facts({ execution: execution({ status: { owner } }) }), { action: "Resume" }],
  [
    "to give up after five take-overs",
    facts({ execution: execution({ status: { owner: { ...owner, takeovers: 5 } } }) }),
    { action: "Conclude", phase: "Failed", reason: "CrashLoop" },
  ],
  [
    "to try a fifth time",
    facts({ execution: execution({ status: { owner: { ...owner, takeovers: 4 } } }) }),
    { action: "Resume" },
  ],
  [
    "to wait for a Pipeline that is missing",
    facts({ pipeline: { kind: "Missing", name: "p" } }),
    { action: "Wait", reason: "PipelineNotFound" },
  ],
  [
    "to wait for a Pipeline that is not ready",
    facts({ pipeline: { kind: "NotReady", name: "p", reason: "Cycle", message: "a → a" } }),
    { action: "Wait", reason: "PipelineNotReady" },
  ],
  [
    "to wait for a Processor",
    facts({ pipeline: { kind: "Ready", pipeline, waitingFor: { processor: "work", why: "fetching" } } }),
    { action: "Wait", reason: "ProcessorNotReady" },
  ],
  [
    "to fail an inline spec that is wrong in itself",
    facts({ pipeline: { kind: "Invalid", message: "a → a" } }),
    { action: "Conclude", phase: "Failed", reason: "InvalidInput" },
  ],
  [
    "to fail a run whose revision is lost",
    facts({ pipeline: { kind: "RevisionLost", reason: "NotFound", message: "gone" } }),
    { action: "Conclude", phase: "Failed", reason: "NotFound" },
  ],
  [
    "nothing for a finished one without a ttl",
    facts({ execution: execution({ status: finished }) }),
    { action: "None", why: "Settled" },
  ],
  [
    "to acknowledge an edit of a finished one, before its ttl",
    facts({ execution: execution({ status: finished }, { generation: 3 }), ttlSeconds: 0 }),
    { action: "Acknowledge", generation: 3 },
  ],
  [
    "to look again when the ttl is over",
    facts({ execution: execution({ status: finished }), ttlSeconds: 61 }),
    { action: "Expire", atMs: nowMs + 1_000 },
  ],
  [
    "to delete when the ttl is over",
    facts({ execution: execution({ status: finished }), ttlSeconds: 60 }),
    { action: "Delete" },
  ],
  [
    "to delete an expired one also while stopping",
    facts({ execution: execution({ status: finished }), ttlSeconds: 1, isStopping: true }),
    { action: "Delete" },
  ],
];

describe("the decision about an Execution", () => {
  it("is to wait without an end while a run that was suspended does not run again", () => {
    expect(decide(waitingWith({ active: { beforeMs: 59_000 } })))
      .to.include({ action: "Wait" })
      .and.not.have.property("overAtMs");
  });

  for (const [title, given, expected] of table) {
    it(`is ${title}`, () => {
      expect(decide(given)).to.include(expected);
    });
  }

  it("is to end a run of an inline spec at its timeout, also while it waits to go on", () => {
    const state = { ready: false, reason: "ProcessorNotFound", message: "m" } as const;
    const began = execution({ status: { owner, startTime: "2026-01-01T00:00:00Z" } });
    const decided = (timeout: string) => decide(facts({ execution: began, pipeline: inlineFacts({ timeout }, state) }));
    expect(decided("60s")).to.include({ action: "Conclude", reason: "PipelineTimeout" });
    expect(decided("61s")).to.include({ action: "Wait", overAtMs: nowMs + 1_000 });
  });

  it("tells an inline spec's own faults from those that a Processor may mend", () => {
    const fact = (reason: string) => inlineFacts({}, { ready: false, reason, message: "m" }).kind;
    expect(["Cycle", "StepNotFound", "DuplicateStep", "InvalidExpression"].map(fact)).to.deep.equal(
      Array(4).fill("Invalid"),
    );
    expect(["ProcessorNotFound", "InvalidOptions", "AmbiguousPayload"].map(fact)).to.deep.equal(
      Array(3).fill("NotReady"),
    );
  });
});
