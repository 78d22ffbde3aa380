// The reference processor of backends/conformance/README.md as an ES module.

const echo = ({ payload, contentType }) => ({ payload, contentType });

const behaviours = new Map([
  ["echo", echo],
  [
    "uppercase",
    ({ payload, contentType }) => ({
      payload: payload.map((byte) => (byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte)),
      contentType,
    }),
  ],
  [
    "analyze",
    ({ payload, contentType }) => ({
      payload: "ignored",
      contentType: "text/plain",
      metadata: { bytes: String(payload.byteLength), type: contentType },
    }),
  ],
  ["metadata", (request) => ({ ...echo(request), metadata: { echo: request.metadata["up.note"] } })],
  ["options", ({ options }) => ({ json: options })],
  [
    "secret",
    (request, { secrets: { token = "" } }) => ({
      ...echo(request),
      metadata: { length: String(Buffer.byteLength(token)), last: token.slice(-1) },
    }),
  ],
  [
    "item",
    (request, { item }) => ({ ...echo(request), metadata: { item: item === undefined ? "none" : String(item) } }),
  ],
  [
    "log",
    (request, { log, secrets }) => {
      log("first line\nsecond line");
      log(`the token is ${secrets.token}`);
      log("Grüße, 世界");
      return echo(request);
    },
  ],
  [
    "log-flood",
    (request, { log }) => {
      for (let line = 0; line < 100; line += 1) log("x".repeat(1000));
      return echo(request);
    },
  ],
  [
    "secret-failure",
    (_request, { log, secrets }) => {
      log(`tried with ${secrets.token}`);
      return { error: { code: "Unauthorized", message: `refused the token ${secrets.token}` } };
    },
  ],
  ["fail", () => ({ error: { code: "Unripe", message: "the melon is not ripe" } })],
  ["invalid", () => ({ error: { code: "InvalidInput", message: "a melon was expected" } })],
  [
    "flaky",
    (request, { attempt }) =>
      attempt <= request.options.failures
        ? { error: { code: "Busy", message: "try again", retryable: true } }
        : echo(request),
  ],
  [
    "slow",
    (_request, { signal }) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("aborted")))),
  ],
  [
    "crash",
    () => {
      throw new Error("the reference processor was asked to crash");
    },
  ],
  ["oversize", ({ options }) => ({ payload: "x".repeat(options.bytes), contentType: "text/plain" })],
  ["oversize-metadata", (request) => ({ ...echo(request), metadata: { big: "x".repeat(9000) } })],
]);

const unknown = () => ({ error: { code: "InvalidInput", message: "unknown behaviour" } });

export function process(request, context) {
  return (behaviours.get(request.options.behaviour) ?? unknown)(request, context);
}
