import type { Backend } from "../../backends/backend.ts";
import { referenceName } from "../../backends/conformance/cases.ts";
import type { AuthorContext, AuthorRequest, AuthorResponse } from "../../backends/local/author.ts";
import { BuiltinProcessor } from "../../backends/local/builtin-processor.ts";
import type { Builtin } from "../../backends/local/builtins/builtin.ts";
import type { Options } from "../../backends/local/builtins/options.ts";
import { WorkerPool, workerEntry } from "../../backends/worker-pool.ts";
import { systemPorts } from "../../engine/clock.ts";

/** A backend whose only processor is the reference, run as every built-in is. */
export function referenceBackend(): Backend {
  const pool = new WorkerPool({
    name: "reference",
    entry: workerEntry(import.meta.resolve("../../backends/local/backend.ts"), "module-worker"),
    ports: systemPorts,
    maxWorkers: 1,
    abortGraceMs: 100,
  });
  return {
    kind: "Local",
    load: (spec) => Promise.resolve(new BuiltinProcessor(spec, reference, pool, systemPorts, "sha256:reference")),
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  };
}

/** What `backends/conformance/README.md` describes, as a built-in that no catalogue has. */
const reference: Builtin = {
  name: referenceName,
  summary: "The reference processor of the conformance suite.",
  options: {
    behaviour: { type: "string", description: "What it does.", required: true },
    failures: { type: "integer", description: "Of flaky: how many attempts fail.", default: 0 },
    bytes: {
      type: "integer",
      description: "Of oversize: how many bytes.",
      default: 0,
      minimum: 0,
      maximum: 67_108_864,
    },
    nested: { type: "any", description: "Of options: given back." },
    integer: { type: "integer", description: "Of options: given back." },
  },
  prepare(options) {
    const behaviour = behaviours[options.text("behaviour")] ?? unknownBehaviour;
    return (request, context) => behaviour(request, context, options);
  },
  // A worker would look for it in the catalogue.
  maxInlineBytes: Number.POSITIVE_INFINITY,
  example: { options: { behaviour: "uppercase" }, input: "mill", output: "MILL" },
};

type Behaviour = (
  request: AuthorRequest,
  context: AuthorContext,
  options: Options,
) => AuthorResponse | Promise<AuthorResponse>;

const behaviours: Readonly<Record<string, Behaviour>> = {
  __proto__: null as never,
  echo: echoed,
  uppercase: ({ payload, contentType }) => ({ payload: payload.map(upper), contentType }),
  analyze: ({ payload, contentType }) => ({
    payload: "ignored",
    contentType: "text/plain",
    metadata: { bytes: String(payload.byteLength), type: contentType },
  }),
  metadata: (request) => ({ ...echoed(request), metadata: { echo: request.metadata["up.note"] ?? "" } }),
  options: ({ options }) => ({ json: options }),
  secret: (request, { secrets: { token = "" } }) => ({
    ...echoed(request),
    metadata: { length: String(Buffer.byteLength(token)), last: token.slice(-1) },
  }),
  item: (request, { item }) => ({
    ...echoed(request),
    metadata: { item: item === undefined ? "none" : String(item) },
  }),
  log: (request, { log, secrets }) => {
    log("first line\nsecond line");
    log(`the token is ${secrets.token}`);
    log("Grüße, 世界");
    return echoed(request);
  },
  "log-flood": (request, { log }) => {
    for (let line = 0; line < 100; line += 1) log("x".repeat(1000));
    return echoed(request);
  },
  "secret-failure": (_request, { log, secrets }) => {
    log(`tried with ${secrets.token}`);
    return { error: { code: "Unauthorized", message: `refused the token ${secrets.token}` } };
  },
  fail: () => ({ error: { code: "Unripe", message: "the melon is not ripe" } }),
  invalid: () => ({ error: { code: "InvalidInput", message: "a melon was expected" } }),
  flaky: (request, context, options) =>
    context.attempt <= options.integer("failures")
      ? { error: { code: "Busy", message: "try again", retryable: true } }
      : echoed(request),
  slow: (_request, context) => untilAborted(context.signal),
  crash: () => {
    throw new Error("the reference processor was asked to crash");
  },
  oversize: (_request, _context, options) => ({
    payload: new Uint8Array(options.integer("bytes")).fill(0x78),
    contentType: "text/plain",
  }),
  "oversize-metadata": (request) => ({ ...echoed(request), metadata: { big: "x".repeat(9000) } }),
};

const unknownBehaviour: Behaviour = () => ({ error: { code: "InvalidInput", message: "unknown behaviour" } });

function echoed({ payload, contentType }: AuthorRequest): { payload: Uint8Array; contentType: string } {
  return { payload, contentType };
}

function upper(byte: number): number {
  return byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte;
}

function untilAborted(signal: AbortSignal): Promise<AuthorResponse> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
