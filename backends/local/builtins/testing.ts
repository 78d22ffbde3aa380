import { sleep } from "../../../engine/clock.ts";
import type { AuthorRequest } from "../author.ts";
import type { Builtin } from "./builtin.ts";

/** A call that sleeps keeps its place and its part of the byte budget: long enough to test any timeout or cancellation with. */
const maxSleepMs = 60_000;

const echo: Builtin = {
  name: "echo",
  summary: "Gives the payload back as it came.",
  options: {},
  prepare: () => echoed,
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
    log: { type: "string", description: "What it logs before." },
  },
  prepare(options) {
    const error = {
      code: options.text("code"),
      message: options.text("message"),
      retryable: options.flag("retryable"),
    };
    const attempts = options.has("attempts") ? options.integer("attempts") : Number.POSITIVE_INFINITY;
    return (request, context) => {
      if (options.has("log")) context.log(options.text("log"));
      return context.attempt <= attempts ? { error } : echoed(request);
    };
  },
  example: { options: { code: "Unripe" }, input: "mill", error: "Unripe" },
};

const pause: Builtin = {
  name: "test.sleep",
  summary: "Waits, then gives the payload back as it came.",
  options: {
    ms: { type: "integer", description: "How long, in milliseconds.", default: 1000, minimum: 0, maximum: maxSleepMs },
    log: { type: "string", description: "What it logs before." },
  },
  prepare(options, ports) {
    const delayMs = options.integer("ms");
    return async (request, context) => {
      if (options.has("log")) context.log(options.text("log"));
      await sleep(delayMs, ports.scheduler, context.signal);
      return echoed(request);
    };
  },
  maxInlineBytes: Number.POSITIVE_INFINITY,
  example: { options: { ms: 1 }, input: "mill", output: "mill" },
};

function echoed({ payload, contentType }: AuthorRequest): { payload: Uint8Array; contentType: string } {
  return { payload, contentType };
}

export const testBuiltins: readonly Builtin[] = [echo, fail, pause];
