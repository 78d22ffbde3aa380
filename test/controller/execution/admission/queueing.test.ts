import { expect } from "chai";
import type { Execution, ExecutionStatus } from "../../../../controller/api/types.ts";
import { decideQueued, type QueueFacts } from "../../../../controller/execution/admission/queueing.ts";
import { conditionsFor } from "../../../../controller/execution/status.ts";

const nowMs = Date.parse("2026-01-01T01:00:00Z");
const minuteMs = 60_000;
const ofPipeline = { of: "Pipeline", limit: 2, before: 3 } as const;
const ofNamespace = { of: "Namespace", limit: 9, before: 0 } as const;
const pipelineText = 'Waits for a place: Pipeline "article" runs 2 at a time (concurrency.limit)';
const namespaceText = 'Waits for a place: namespace "team" runs 9 at a time (--max-executions-per-namespace)';
const owner = { replica: "dead", epoch: 1 };
const hourly = { limit: 2, policy: "Queue", queueTimeoutMs: 60 * minuteMs } as const;
const forbid = { limit: 2, policy: "Forbid" } as const;

/** As it is once `message` was written. */
function queued(message: string, more: ExecutionStatus = {}): ExecutionStatus {
  const queuedSince = new Date(nowMs - 30 * minuteMs).toISOString();
  return {
    phase: "Queued",
    queuedSince,
    conditions: conditionsFor({ phase: "Queued", message }, 1, [], nowMs),
    ...more,
  };
}

function facts(status: ExecutionStatus, more: Partial<QueueFacts> = {}): QueueFacts {
  const execution: Execution = {
    apiVersion: "millrace.dev/v1alpha1",
    kind: "Execution",
    metadata: { name: "one", namespace: "team", generation: 1 },
    spec: { pipeline: "article", priority: 0, suspend: false, cancel: "None" },
    status,
  };
  return { execution, sinceMs: nowMs - 1_000, waiting: 4, nowMs, ...more };
}

const table: readonly (readonly [string, QueueFacts, Readonly<Record<string, unknown>>])[] = [
  ["to write nothing while only its turn keeps it", facts({ phase: "Pending" }), { action: "Wait" }],
  [
    "to say no more that it is suspended, when only its turn keeps it",
    facts({ phase: "Suspended" }),
    {
      action: "Say",
      verdict: { phase: "Pending", reason: "Pending", message: "Waits for its turn in the controller" },
    },
  ],
  [
    "to write nothing within 250 ms",
    facts({ phase: "Pending" }, { sinceMs: nowMs - 100, full: ofPipeline }),
    { action: "Wait", againAtMs: nowMs + 150 },
  ],
  [
    "to say which Pipeline's limit keeps it, and how many are before it",
    facts({ phase: "Pending" }, { full: ofPipeline }),
    {
      action: "Say",
      verdict: { phase: "Queued", message: `${pipelineText}; 3 are before it` },
      queuedSinceMs: nowMs - 1_000,
      againAtMs: nowMs + minuteMs,
    },
  ],
  [
    "to say that its namespace's limit keeps it",
    facts({ phase: "Pending" }, { full: ofNamespace }),
    {
      action: "Say",
      verdict: { phase: "Queued", message: `${namespaceText}; it is the next` },
      queuedSinceMs: nowMs - 1_000,
      againAtMs: nowMs + minuteMs,
    },
  ],
  [
    "to leave it at that for a minute, whatever its position is by now",
    facts(queued(`${pipelineText}; 5 are before it`), { full: ofPipeline, saidAtMs: nowMs - 59_000 }),
    { action: "Wait", againAtMs: nowMs + 1_000 },
  ],
  [
    "to tell its position anew after a minute",
    facts(queued(`${pipelineText}; 5 are before it`), { full: ofPipeline, saidAtMs: nowMs - minuteMs }),
    {
      action: "Say",
      verdict: { phase: "Queued", message: `${pipelineText}; 3 are before it` },
      queuedSinceMs: nowMs - 30 * minuteMs,
      againAtMs: nowMs + minuteMs,
    },
  ],
  [
    "to tell it more seldom where many wait",
    facts(queued(`${pipelineText}; 5 are before it`), {
      full: ofPipeline,
      saidAtMs: nowMs - minuteMs,
      waiting: 6_000,
    }),
    { action: "Wait", againAtMs: nowMs + 9 * minuteMs },
  ],
  [
    "to say at once that another limit keeps it now",
    facts(queued(`${pipelineText}; 5 are before it`), { full: ofNamespace, saidAtMs: nowMs - 1_000 }),
    {
      action: "Say",
      verdict: { phase: "Queued", message: `${namespaceText}; it is the next` },
      queuedSinceMs: nowMs - 30 * minuteMs,
      againAtMs: nowMs + minuteMs,
    },
  ],
  [
    "to look again when its time in the queue is over",
    facts(queued(`${pipelineText}; 5 are before it`), {
      full: ofPipeline,
      saidAtMs: nowMs,
      rule: { ...hourly, queueTimeoutMs: 30 * minuteMs + 5_000 },
    }),
    { action: "Wait", againAtMs: nowMs + 5_000 },
  ],
  [
    "to look again at the end of a queueTimeout that is shorter than what is reported",
    facts({ phase: "Pending" }, { sinceMs: nowMs, full: ofPipeline, rule: { ...hourly, queueTimeoutMs: 100 } }),
    { action: "Wait", againAtMs: nowMs + 100 },
  ],
  [
    "to fail it when its time in the queue is over, counted from when it was queued",
    facts(queued("m"), { full: ofPipeline, rule: { ...hourly, queueTimeoutMs: 30 * minuteMs } }),
    { action: "Conclude", phase: "Failed", reason: "QueueTimeout" },
  ],
  [
    "to fail it at the queueTimeout also while its namespace's limit keeps it",
    facts(queued("m"), { full: ofNamespace, rule: { ...hourly, queueTimeoutMs: minuteMs } }),
    { action: "Conclude", phase: "Failed", reason: "QueueTimeout" },
  ],
  [
    "to let one that had begun wait on beyond the queueTimeout",
    facts(queued("m", { owner }), { full: ofPipeline, rule: { ...hourly, queueTimeoutMs: 1 }, saidAtMs: nowMs }),
    { action: "Say" },
  ],
  [
    "to refuse it at once where the Pipeline forbids",
    facts({ phase: "Pending" }, { sinceMs: nowMs, full: ofPipeline, rule: forbid, runs: "zero" }),
    {
      action: "Conclude",
      phase: "Failed",
      reason: "ConcurrencyForbidden",
      message:
        'Pipeline "article" allows 2 at a time (concurrency.policy: Forbid), and Execution "zero" is running; create it when that has ended',
    },
  ],
  [
    "to let one that had begun wait where the Pipeline forbids",
    facts({ phase: "Suspended", owner }, { full: ofPipeline, rule: forbid }),
    { action: "Say" },
  ],
  [
    "to queue for the namespace's limit where the Pipeline forbids a second one",
    facts({ phase: "Pending" }, { full: ofNamespace, rule: forbid }),
    { action: "Say" },
  ],
];

describe("the decision about an Execution without a place", () => {
  for (const [title, given, expected] of table) {
    it(`is ${title}`, () => {
      expect(decideQueued(given)).to.deep.include(expected);
    });
  }

  it("is to say so again after an edit of the spec, which the status must say it has seen", () => {
    const said = facts(queued(`${pipelineText}; 3 are before it`), { full: ofPipeline, saidAtMs: nowMs });
    const metadata = { ...said.execution.metadata, generation: 2 };
    expect(decideQueued({ ...said, execution: { ...said.execution, metadata } })).to.include({ action: "Say" });
  });
});
