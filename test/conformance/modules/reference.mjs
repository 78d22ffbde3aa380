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
