import type { Execution, StepRow } from "../../../controller/api/types.ts";

const at = (second: number): string => `2026-11-28T02:00:${String(second).padStart(2, "0")}.000Z`;

/** A run in the middle of its way that shows all there is to show. */
const rows: readonly StepRow[] = [
  { name: "clean", state: "Succeeded", attempts: 1, startTime: at(1), durationMs: 12 },
  { name: "count", state: "Succeeded", reason: "Cached", attempts: 0 },
  {
    name: "find-the-most-interesting-sentences",
    state: "Failed",
    attempts: 3,
    startTime: at(1),
    durationMs: 4_300,
    error: {
      code: "ProcessorFailed",
      kind: "Processor",
      processorCode: "NoSentence",
      message:
        "the text has no sentence that is longer than 3 words; it begins with “Fellow-Citizens”, and then it ends",
    },
  },
  {
    name: "pages",
    state: "Running",
    attempts: 1,
    startTime: at(2),
    items: {
      total: 10_000,
      succeeded: 812,
      failed: 1,
      done: "0-812",
      failures: [{ index: 813, code: "Unavailable", message: "connect ECONNREFUSED" }],
    },
  },
  { name: "publish/render", state: "Succeeded", attempts: 1, startTime: at(2), durationMs: 1_500 },
  {
    name: "publish/upload",
    state: "Retrying",
    attempts: 2,
    startTime: at(4),
    error: { code: "DeadlineExceeded", kind: "Processor", message: "no answer within 1000 ms\nsent 12 bytes" },
  },
  { name: "publish", state: "Running", attempts: 1, startTime: at(2) },
  { name: "report", state: "Skipped", reason: "UpstreamFailed" },
  { name: "archive", state: "Cancelled", reason: "FailFast", attempts: 1, startTime: at(5), durationMs: 500 },
  { name: "notify", state: "Waiting" },
];

/** On the clock of {@link inspected}: ten seconds after its start. */
export const inspectedAtMs = Date.parse(at(10));

export const inspected: Execution = {
  apiVersion: "millrace.dev/v1alpha1",
  kind: "Execution",
  metadata: { name: "article-x7k2p", namespace: "team", uid: "5b1e7d1e-0000-4000-8000-000000000000" },
  spec: {
    pipeline: "article",
    parameters: [
      { name: "language", value: "de" },
      { name: "top", value: 10 },
    ],
    input: {
      text: "Fellow-Citizens of the Senate and House of Representatives: among the vicissitudes incident to life",
    },
    priority: 5,
    suspend: false,
    cancel: "None",
    retryFrom: { execution: "article-abcde" },
  },
  status: {
    phase: "Running",
    conditions: [
      {
        type: "Succeeded",
        status: "Unknown",
        lastTransitionTime: at(0),
        reason: "Running",
        message: "Running pages (813 of 10000 items), publish/upload",
      },
    ],
    progress: "6/10",
    startTime: at(0),
    active: { beforeMs: 60_000, since: at(0) },
    pipelineRevision: "article-7c9f1e2a3b4c5d6e",
    owner: { replica: "millrace-6d5f9c7b8-x2k4q", epoch: 2 },
    steps: rows,
    outputs: [{ name: "words", value: { json: { the: 12 }, contentType: "application/json" } }],
  },
};
