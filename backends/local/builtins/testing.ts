import { sleep } from "../../../engine/clock.ts";
import type { AuthorContext, AuthorRequest, AuthorResponse } from "../author.ts";
import type { Builtin } from "./builtin.ts";
import type { Options } from "./options.ts";

const echo: Builtin = {
  name: "echo",
  summary: "Gives the payload back as it came.",
  options: {},
  prepare: () => (request) => ({ payload: request.payload, contentType: request.contentType }),
  maxInlineBytes: Number.POSITIVE_INFINITY,
  example: { input: "mill", output: "mill" },
};

const fail: Builtin = {
  name: "test.fail",
  summary: "Declares a failure: always, or for the first attempts only.",
  options: {
    code: { type: "string", description: "The failure's code.", default: "Failed" },
    message: { type: "string", description: "Its message.", default: "test.fail was asked to fail" },
    retryable: { type: "boolean", description: "Whether another attempt is worth it.", default: false },
    attempts: { type: "integer", description: "How many attempts fail; later ones echo. Absent: all.", minimum: 0 },
  },
  prepare(options) {
    const error = {
      code: options.text("code"),
      message: options.text("message"),
      retryable: options.flag("retryable"),
    };
    const attempts = options.has("attempts") ? options.integer("attempts") : Number.POSITIVE_INFINITY;
    return (request, context) => (context.attempt <= attempts ? { error } : echoed(request));
  },
  example: { options: { code: "Unripe" }, input: "mill", error: "Unripe" },
};

const pause: Builtin = {
  name: "test.sleep",
  summary: "Waits, then gives the payload back as it came.",
  options: {
    ms: { type: "integer", description: "How long, in milliseconds.", default: 1000, minimum: 0, maximum: 3_600_000 },
  },
  prepare(options, ports) {
    const delayMs = options.integer("ms");
    return async (request, context) => {
      await sleep(delayMs, ports.scheduler, context.signal);
      return echoed(request);
    };
  },
  maxInlineBytes: Number.POSITIVE_INFINITY,
  example: { options: { ms: 1 }, input: "mill", output: "mill" },
};

const reference: Builtin = {
  name: "test.reference",
  summary: "The reference processor of the conformance suite (backends/conformance/README.md).",
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

export const testBuiltins: readonly Builtin[] = [echo, fail, pause, reference];
