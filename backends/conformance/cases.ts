import type { ErrorKind } from "../../engine/errors.ts";
import type { Metadata } from "../../engine/metadata.ts";
import type { JsonObject } from "../../engine/payload.ts";
import type { Intent } from "../../engine/processor.ts";
import { logLineOverheadBytes, maxLogBytes } from "../step-log.ts";

/** What is asked of the reference processor, and what must come out. */
export interface ConformanceCase {
  /** A sentence. */
  readonly name: string;
  readonly intent: Intent;
  readonly options: JsonObject;
  readonly input: ConformancePayload;
  /** The request's metadata, as if it came from a step before. */
  readonly metadata: Metadata;
  /** By name, as `spec.secrets` would give them. */
  readonly secrets: Readonly<Record<string, string>>;
  /** Which item of a fan-out the step is called for; absent: there is none. */
  readonly item?: number;
  readonly timeoutMs: number;
  readonly maxInputBytes: number;
  readonly maxOutputBytes: number;
  readonly retryLimit: number;
  /** Cancels the run so long after its start, in milliseconds. */
  readonly cancelAfterMs?: number;
  readonly expected: ConformanceRow;
  /** Whether the error's message is the same on every backend, or the backend's own. */
  readonly message: "Same" | "Own";
}

export interface ConformancePayload {
  readonly bytes: Uint8Array;
  readonly contentType: string;
}

/**
 * What the answers to a case tell of, beside the payload and the choice of a behaviour: a contract between host and processor may be
 * unable to say it.
 */
export type ConformanceNeed =
  | "Options"
  | "ContentType"
  | "Metadata"
  | "Secrets"
  | "Context"
  | "Failures"
  | "Log"
  | "Time";

/** By behaviour; what is not here needs nothing. The README beside this file has the same table. */
export const conformanceNeeds: Readonly<Record<string, readonly ConformanceNeed[]>> = {
  analyze: ["ContentType", "Metadata"],
  metadata: ["Metadata"],
  options: ["Options", "ContentType"],
  secret: ["Secrets", "Metadata"],
  item: ["Context", "Metadata"],
  log: ["Log", "Secrets"],
  "log-flood": ["Log"],
  "secret-failure": ["Log", "Secrets", "Failures"],
  slow: ["Time"],
  fail: ["Failures"],
  invalid: ["Failures"],
  flaky: ["Options", "Context", "Failures"],
  "oversize-metadata": ["Metadata"],
  // There is no such behaviour, which is the answer.
  sing: ["Failures"],
};

/** What an Execution's status says of its only step, apart from times and `processor`, and its log. */
export interface ConformanceRow {
  /** Of the whole run. */
  readonly outcome: "Succeeded" | "Failed" | "Cancelled";
  readonly state: "Succeeded" | "Failed" | "Cancelled" | "Skipped";
  readonly attempts: number;
  readonly reason?: string;
  readonly output?: ConformancePayload;
  readonly metadata?: Metadata;
  readonly error?: ConformanceError;
  /** What all attempts logged, line by line, without the timestamps. */
  readonly log: readonly string[];
}

export interface ConformanceError {
  readonly code: string;
  readonly kind: ErrorKind;
  readonly processorCode?: string;
  /** Absent in a case's expectation: any. */
  readonly message?: string;
}

/** The name that the reference processor is loaded by. */
export const referenceName = "reference";

const mebibyte = 1024 * 1024;
const plain = "text/plain; charset=utf-8";
const hello = text("Hello, Grüße, 世界");
const succeeded = { outcome: "Succeeded", state: "Succeeded", attempts: 1, log: [] } as const;
const failed = { outcome: "Failed", state: "Failed", attempts: 1, log: [] } as const;

function text(value: string): ConformancePayload {
  return { bytes: new TextEncoder().encode(value), contentType: plain };
}

function binary(length: number, contentType = "application/octet-stream"): ConformancePayload {
  return { bytes: Uint8Array.from({ length }, (_, index) => (index * 31) % 256), contentType };
}

function uppercased(payload: ConformancePayload): ConformancePayload {
  const bytes = payload.bytes.map((byte) => (byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte));
  return { bytes, contentType: payload.contentType };
}

type CaseParts = Pick<ConformanceCase, "name" | "options" | "expected"> & Partial<ConformanceCase>;

function conformanceCase(parts: CaseParts): ConformanceCase {
  return {
    intent: "Transform",
    input: hello,
    metadata: {},
    secrets: {},
    timeoutMs: 10_000,
    maxInputBytes: 4 * mebibyte,
    maxOutputBytes: 4 * mebibyte,
    retryLimit: 0,
    message: "Same",
    ...parts,
  };
}

function echo(name: string, input: ConformancePayload): ConformanceCase {
  return conformanceCase({
    name,
    options: { behaviour: "echo" },
    input,
    expected: { ...succeeded, output: input, metadata: {} },
  });
}

function metadataCase(name: string, note: string): ConformanceCase {
  return conformanceCase({
    name,
    options: { behaviour: "metadata" },
    metadata: { "up.note": note, "up.other": "1" },
    expected: { ...succeeded, output: hello, metadata: { echo: note } },
  });
}

const payloads: readonly ConformanceCase[] = [
  echo("gives a text back as it came", hello),
  echo("gives an empty payload back", { bytes: new Uint8Array(0), contentType: plain }),
  echo("gives bytes of every value back", binary(1024)),
  echo("gives 1 MiB back", binary(mebibyte)),
  echo("gives a content type with parameters back", binary(16, 'application/vnd.acme+json; v=2; name="a b"')),
  conformanceCase({
    name: "transforms the payload",
    options: { behaviour: "uppercase" },
    expected: { ...succeeded, output: uppercased(hello), metadata: {} },
  }),
  conformanceCase({
    name: "passes the payload of an Analyze processor through, whatever it answers",
    intent: "Analyze",
    options: { behaviour: "analyze" },
    expected: {
      ...succeeded,
      output: hello,
      metadata: { bytes: String(hello.bytes.byteLength), type: plain },
    },
  }),
];

const nested = {
  behaviour: "options",
  nested: { list: [1, true, null, "x"], name: "Grüße" },
  integer: 9007199254740991,
};

const contexts: readonly ConformanceCase[] = [
  metadataCase("gives metadata in and out", "ripe since 2026-11-23"),
  metadataCase("gives metadata in any script", "Grüße – 世界 🌍 100%"),
  conformanceCase({
    name: "gives the options as they are",
    options: nested,
    expected: {
      ...succeeded,
      output: { bytes: new TextEncoder().encode(JSON.stringify(nested)), contentType: "application/json" },
      metadata: {},
    },
  }),
];

const busy = { code: "ProcessorFailed", kind: "Processor", processorCode: "Busy" } as const;

const failures: readonly ConformanceCase[] = [
  conformanceCase({
    name: "records a declared failure with its own code and message, and does not retry it",
    options: { behaviour: "fail" },
    retryLimit: 2,
    expected: { ...failed, error: { code: "ProcessorFailed", kind: "Processor", processorCode: "Unripe" } },
  }),
  conformanceCase({
    name: "takes a declared InvalidInput as the code of that name",
    options: { behaviour: "invalid" },
    retryLimit: 2,
    expected: { ...failed, error: { code: "InvalidInput", kind: "User", processorCode: "InvalidInput" } },
  }),
  conformanceCase({
    name: "retries a retryable failure by the attempt's number until it succeeds",
    options: { behaviour: "flaky", failures: 2 },
    retryLimit: 3,
    expected: { ...succeeded, attempts: 3, output: hello, metadata: {} },
  }),
  conformanceCase({
    name: "gives a retryable failure up when its retries are used up",
    options: { behaviour: "flaky", failures: 9 },
    retryLimit: 1,
    expected: { ...failed, attempts: 2, error: busy },
  }),
  conformanceCase({
    name: "calls a processor that dies crashed, and tries again",
    options: { behaviour: "crash" },
    retryLimit: 1,
    message: "Own",
    expected: { ...failed, attempts: 2, error: { code: "ProcessorCrashed", kind: "Processor" } },
  }),
  echo("answers again after a crash", hello),
];

const tooLarge = { code: "PayloadTooLarge", kind: "User" } as const;

const limits: readonly ConformanceCase[] = [
  conformanceCase({
    name: "ends a processor that is too slow at its deadline",
    options: { behaviour: "slow" },
    timeoutMs: 300,
    expected: { ...failed, error: { code: "DeadlineExceeded", kind: "Processor" } },
  }),
  conformanceCase({
    name: "cancels a running processor",
    options: { behaviour: "slow" },
    cancelAfterMs: 200,
    expected: { outcome: "Cancelled", state: "Cancelled", attempts: 1, reason: "Cancelled", log: [] },
  }),
  echo("answers again after a deadline and a cancellation", hello),
  conformanceCase({
    name: "refuses an output over its limit",
    options: { behaviour: "oversize", bytes: 65_537 },
    maxOutputBytes: 65_536,
    retryLimit: 2,
    message: "Own",
    expected: { ...failed, error: tooLarge },
  }),
  conformanceCase({
    name: "takes an output of just its limit",
    options: { behaviour: "oversize", bytes: 65_536 },
    input: { ...hello, contentType: "text/plain" },
    maxOutputBytes: 65_536,
    expected: {
      ...succeeded,
      output: { bytes: new Uint8Array(65_536).fill(0x78), contentType: "text/plain" },
      metadata: {},
    },
  }),
  conformanceCase({
    name: "refuses an input over its limit",
    options: { behaviour: "echo" },
    input: binary(1025),
    maxInputBytes: 1024,
    retryLimit: 2,
    expected: { ...failed, error: tooLarge },
  }),
  conformanceCase({
    name: "refuses metadata over its limit",
    options: { behaviour: "oversize-metadata" },
    retryLimit: 2,
    message: "Own",
    expected: { ...failed, error: tooLarge },
  }),
  conformanceCase({
    name: "records an unknown behaviour as refused input",
    options: { behaviour: "sing" },
    expected: { ...failed, error: { code: "InvalidInput", kind: "User", processorCode: "InvalidInput" } },
  }),
];

const token = "s3cr3t Grüße %/+";
const secrets = { token, other: "not this one" };

const secretCases: readonly ConformanceCase[] = [
  conformanceCase({
    name: "gives a secret by its name",
    options: { behaviour: "secret" },
    secrets,
    expected: {
      ...succeeded,
      output: hello,
      metadata: { length: String(Buffer.byteLength(token)), last: token.slice(-1) },
    },
  }),
  conformanceCase({
    name: "gives a secret of many lines, and one that is long",
    options: { behaviour: "secret" },
    secrets: { token: `-----BEGIN-----\n${"line of the key\n".repeat(300)}`.concat("end"), other: "" },
    expected: { ...succeeded, output: hello, metadata: { length: "4819", last: "d" } },
  }),
  conformanceCase({
    name: "masks a secret in the log and in the message of a failure",
    options: { behaviour: "secret-failure" },
    secrets,
    expected: {
      ...failed,
      error: {
        code: "ProcessorFailed",
        kind: "Processor",
        processorCode: "Unauthorized",
        message: "refused the token ***",
      },
      log: ["tried with ***"],
    },
  }),
];

const logCases: readonly ConformanceCase[] = [
  conformanceCase({
    name: "says which item of a fan-out a call is for",
    options: { behaviour: "item" },
    item: 0,
    expected: { ...succeeded, output: hello, metadata: { item: "0" } },
  }),
  conformanceCase({
    name: "says nothing of an item where there is no fan-out",
    options: { behaviour: "item" },
    expected: { ...succeeded, output: hello, metadata: { item: "none" } },
  }),
  conformanceCase({
    name: "takes the log line by line, with secrets masked",
    options: { behaviour: "log" },
    secrets,
    expected: {
      ...succeeded,
      output: hello,
      metadata: {},
      log: ["first line", "second line", "the token is ***", "Grüße, 世界"],
    },
  }),
  conformanceCase({
    name: "keeps the log of a call that logs too much up to its limit, and says how much was cut",
    options: { behaviour: "log-flood" },
    expected: { ...succeeded, output: hello, metadata: {}, log: flooded(100, 1000) },
  }),
];

/** What is left of so many lines of so many bytes: as many whole ones as there is room for, a part, and the mark. */
function flooded(lines: number, bytes: number): string[] {
  const line = "x".repeat(bytes);
  const whole = Math.floor(maxLogBytes / (bytes + logLineOverheadBytes));
  const rest = maxLogBytes - whole * (bytes + logLineOverheadBytes) - logLineOverheadBytes;
  const part = rest > 0 ? [line.slice(0, rest)] : [];
  const cut = (lines - whole) * bytes - Math.max(0, rest);
  return [...Array.from({ length: whole }, () => line), ...part, `[log cut: ${cut} more bytes]`];
}

/** In the order in which they are run: a crash or a deadline must not spoil what follows. */
export const conformanceCases: readonly ConformanceCase[] = [
  ...payloads,
  ...contexts,
  ...secretCases,
  ...logCases,
  ...failures,
  ...limits,
];

/** What can be given back in the milliseconds that a call has which holds everybody up. */
const maxQuickBytes = 256 * 1024;

/** The cases for a processor whose contract has no way to say what is in `lacks`, as the README's table has it. */
export function casesWithout(lacks: readonly ConformanceNeed[]): readonly ConformanceCase[] {
  return conformanceCases.filter((one) => {
    const behaviour = behaviourOf(one);
    const needed = Object.hasOwn(conformanceNeeds, behaviour) ? conformanceNeeds[behaviour] : [];
    if (lacks.includes("Time") && one.input.bytes.byteLength > maxQuickBytes) return false;
    return !needed?.some((need) => lacks.includes(need));
  });
}

/** The reference processor's behaviour that a case asks for. */
export function behaviourOf({ options }: ConformanceCase): string {
  return typeof options.behaviour === "string" ? options.behaviour : "";
}
