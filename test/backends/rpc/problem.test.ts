import { expect } from "chai";
import { type FailedAnswer, readFailure } from "../../../backends/rpc/problem.ts";
import { noSecrets } from "../../../backends/secrets.ts";

function answerOf(document: unknown, more: Partial<FailedAnswer> = {}): FailedAnswer {
  return {
    status: 422,
    contentType: "application/problem+json; charset=utf-8",
    body: Buffer.from(JSON.stringify(document)),
    retryAfterMs: undefined,
    secrets: noSecrets,
    ...more,
  };
}

describe("a problem document", () => {
  const rows = [
    [
      "its code before its type",
      { code: "A", type: "https://x.dev/b", detail: "d" },
      { code: "A", message: "d", retryable: false },
    ],
    [
      "the last segment of its type",
      { type: "https://x.dev/p/too-long/", title: "t" },
      { code: "too-long", message: "t", retryable: false },
    ],
    [
      "the fragment of its type",
      { type: "https://x.dev/p#quota", detail: "d", title: "t" },
      { code: "quota", message: "d", retryable: false },
    ],
    [
      "the name in a URN",
      { type: "urn:problem:quota" },
      { code: "quota", message: "HTTP status 422", retryable: false },
    ],
    [
      "its own word on retrying",
      { code: "A", detail: "d", retryable: true },
      { code: "A", message: "d", retryable: true },
    ],
    [
      "no word on retrying that is not a boolean",
      { code: "A", detail: "d", retryable: "yes" },
      { code: "A", message: "d", retryable: false },
    ],
  ] as const;
  for (const [what, document, declared] of rows) {
    it(`declares a failure by ${what}`, () => {
      expect(readFailure(answerOf(document)).declared).to.deep.equal(declared);
    });
  }

  for (const document of [
    {},
    { type: "about:blank", title: "Not Found", detail: "d" },
    { code: "" },
    { code: 7 },
    { type: 7 },
    { type: "" },
    { type: "//" },
  ]) {
    it(`says no more than the status as ${JSON.stringify(document)}`, () => {
      expect(readFailure(answerOf(document)).declared).to.equal(undefined);
    });
  }

  it("is worth another attempt where its status, or Retry-After, says so and itself nothing", () => {
    const retryable = (more: Partial<FailedAnswer>) => readFailure(answerOf({ code: "A" }, more)).declared?.retryable;
    expect([429, 502, 503, 504].map((status) => retryable({ status }))).to.deep.equal([true, true, true, true]);
    expect([400, 404, 413, 500].map((status) => retryable({ status }))).to.deep.equal([false, false, false, false]);
    expect(retryable({ status: 500, retryAfterMs: 10 })).to.equal(true);
  });

  it("is not looked for in JSON of another type", () => {
    expect(readFailure(answerOf({ code: "A" }, { contentType: "application/json" }))).to.deep.equal({ excerpt: "" });
  });

  it("cannot reach a prototype", () => {
    const body = Buffer.from('{"__proto__": {"code": "A"}, "detail": "d"}');
    expect(readFailure(answerOf({}, { body })).declared).to.equal(undefined);
  });
});

describe("a text that comes with a failure", () => {
  it("is quoted in one line, shortened", () => {
    const body = Buffer.from(`a\r\n\tb ${"c".repeat(300)}`);
    expect(readFailure(answerOf({}, { body, contentType: "text/plain" })).excerpt).to.match(/^a b c{252}…$/);
  });
});
