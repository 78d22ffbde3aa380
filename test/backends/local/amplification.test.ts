import { expect } from "chai";
import fc from "fast-check";
import { createLocalBackend } from "../../../backends/local/backend.ts";
import { overflow } from "../../../backends/local/builtin-processor.ts";
import { BoundedOutput, OutputOverflow, WorkOverflow } from "../../../backends/local/builtins/bounded-output.ts";
import { builtinCatalogue } from "../../../backends/local/builtins/catalogue.ts";
import { systemPorts } from "../../../engine/clock.ts";
import { type JsonObject, textPayload } from "../../../engine/payload.ts";
import type { ProcessorResponse } from "../../../engine/processor.ts";
import { attemptOf, callerOf, limits, never, rejection, specOf, textOf } from "../support.ts";

const kibibyte = 1024;

/** Longer than any of this takes on a busy machine, shorter than a test's own timeout. */
const patient = attemptOf({ timeoutMs: 20_000 });

describe("built-ins that make much of little", function () {
  this.timeout(30_000);
  let backend: ReturnType<typeof createLocalBackend>;
  beforeEach(() => {
    backend = createLocalBackend({ version: "1.0.0", ports: systemPorts, maxWorkers: 1 });
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  const workers = () => backend.pools?.().get("local-workers")?.size ?? 0;

  async function call(
    name: string,
    input: string,
    options: JsonObject = {},
    maxOutputBytes = limits.maxOutputBytes,
  ): Promise<ProcessorResponse> {
    const spec = { ...specOf({ kind: "Builtin", name }, name), limits: { ...limits, maxOutputBytes } };
    await using caller = callerOf(await backend.load(spec, never), { maxOutputBytes });
    return caller.call(patient, { payload: textPayload(input), metadata: {}, options }, never);
  }

  const big = "x".repeat(12 * kibibyte);
  const list = (item: string, length: number) => `[${Array(length).fill(item).join(",")}]`;
  const nested = (depth: number, inner: string) => `${"[".repeat(depth)}${inner}${"]".repeat(depth)}`;

  /** What would come: from six megabytes up to some gigabytes. */
  const amplifying: readonly [string, string, JsonObject][] = [
    ["text.template", `{"a": ${list("1", 2000)}, "b": "${big}"}`, { template: `{{#a}}${"{{b}}".repeat(150)}{{/a}}` }],
    ["text.template", `{"a": ${list("1", 2000)}, "b": ["${big}"]}`, { template: "{{#a}}{{b}}{{/a}}" }],
    ["text.join", list("1", 130_000), { separator: "-".repeat(4000) }],
    ["text.replace", "a".repeat(4000), { pattern: "a", replacement: "-".repeat(4000) }],
    ["text.replace", "a".repeat(4000), { pattern: ".", replacement: "$0".repeat(1500) }],
    ["text.extract", "a".repeat(10_000), { pattern: `${"(".repeat(500)}.*${")".repeat(500)}` }],
    ["text.split", "\u0001".repeat(1_000_000), { separator: "" }],
    ["json.pick", `"${big}"`, { pointers: Object.fromEntries(Array.from({ length: 400 }, (_, n) => [n, ""])) }],
    ["json.stringify", nested(2000, list("1", 100_000)), { indent: 10 }],
    ["encode.hex", "x".repeat(3_000_000), {}],
    ["encode.base64", "x".repeat(4_000_000), {}],
  ];
  for (const [name, input, options] of amplifying) {
    it(`${name} stops at the limit: ${input.length} bytes with ${JSON.stringify(options).slice(0, 60)}`, async () => {
      const error = await rejection(call(name, input, options));
      expect(error.code).to.equal("PayloadTooLarge");
      const [, bytes, limit] = /^the output of .*: at least (\d+) bytes, over the limit of (\d+) bytes/.exec(
        error.message,
      ) ?? ["", "", ""];
      expect(Number(limit)).to.equal(limits.maxOutputBytes);
      // What it had come to when it was stopped, not what would have come: one piece more than it might.
      const isKnownBefore = name.startsWith("encode.");
      expect(Number(bytes)).to.be.below(isKnownBefore ? 6_000_001 : limits.maxOutputBytes + 16 * kibibyte);
    });
  }

  it("say so in this thread as well, where the limit is small", async () => {
    const error = await rejection(call("text.join", list("1", 100), { separator: "-".repeat(100) }, 1000));
    expect([error.code, error.message]).to.deep.equal([
      "PayloadTooLarge",
      "the output of text.join: at least 1010 bytes, over the limit of 1000 bytes (maxOutputSize)",
    ]);
    expect(workers()).to.equal(0);
  });

  it("count bytes and not letters", async () => {
    const options = { separator: "ü".repeat(10) };
    expect(await textOf(await call("text.join", list("1", 50), options, 1030))).to.have.length(540);
    expect((await rejection(call("text.join", list("1", 50), options, 1029))).message).to.include(
      "at least 1030 bytes",
    );
  });

  it("give in a worker thread what is more than this one should wait for, and is allowed", async () => {
    const template = "{{#a}}{{b}}{{/a}}";
    const response = await call("text.template", `{"a": ${list("1", 100)}, "b": "${big}"}`, { template });
    expect((await textOf(response)) === big.repeat(100)).to.equal(true);
    expect(workers()).to.equal(1);
  });

  it("need no worker for what is small", async () => {
    for (const { name, example } of builtinCatalogue.values()) {
      const input = typeof example.input === "string" ? example.input : JSON.stringify(example.input);
      await call(name, input, example.options);
    }
    expect(workers()).to.equal(0);
  });

  /** Small in and out, and long in between. */
  const laborious: readonly [string, string, JsonObject][] = [
    ["text.replace", "b".repeat(2000), { pattern: "(a{1000}b)?".repeat(20), replacement: "" }],
    ["text.extract", "a", { pattern: "\\pL{1000}" }],
    ["text.extract", "b".repeat(4000), { pattern: `^${"a?".repeat(300)}$` }],
    [
      "text.template",
      `{"a": ${list("1", 100)}}`,
      { template: `{{#a}}${"{{^x}}".repeat(150)}{{none}}${"{{/x}}".repeat(150)}{{/a}}` },
    ],
    ["json.sort-keys", list("1234567890123456789", 2000), {}],
  ];
  for (const [name, input, options] of laborious) {
    it(`${name} works in a worker thread on ${input.length} bytes with ${JSON.stringify(options).slice(0, 60)}`, async () => {
      expect((await call(name, input, options)).ok).to.equal(true);
      expect(workers()).to.equal(1);
    });
  }

  it("take a pattern too dear to compile to a worker before it is compiled, where the deadline holds", async () => {
    const response = await call("text.extract", "", { pattern: "(\\pL{1000})?".repeat(8), all: false });
    expect(await textOf(response)).to.equal(JSON.stringify([...Array(8).fill(null)]));
    expect(workers()).to.equal(1);
  });

  it("read hexadecimal digits of any length, and take no stack for them", async () => {
    const maxBytes = 16 * 1024 * kibibyte;
    const spec = {
      ...specOf({ kind: "Builtin", name: "decode.hex" }),
      limits: { ...limits, maxOutputBytes: maxBytes },
    };
    await using caller = callerOf(await backend.load(spec, never), {
      maxInputBytes: maxBytes,
      maxOutputBytes: maxBytes,
    });
    const payload = textPayload("61".repeat(maxBytes / 2));
    const response = await caller.call(patient, { payload, metadata: {}, options: {} }, never);
    expect(response.ok && response.payload.size).to.equal(maxBytes / 2);
  });

  it("merge any number of objects into a large one in linear time", async () => {
    const keys = Object.fromEntries(Array.from({ length: 20_000 }, (_, n) => [`key-${n}`, { n }]));
    const input = `[${JSON.stringify(keys)}${",{}".repeat(40_000)},{"key-7":{"m":1}}]`;
    const merged = JSON.parse(await textOf(await call("json.merge", input))) as JsonObject;
    expect(Object.keys(merged)).to.have.length(20_000);
    expect(merged["key-7"]).to.deep.equal({ n: 7, m: 1 });
  });

  it("read a template in linear time, whatever white space is in it", async () => {
    const template = `{{${" ".repeat(4000)}`;
    expect(await textOf(await call("text.template", "{}", { template }))).to.equal(template);
    expect(
      await textOf(await call("text.template", '{"a": 1}', { template: `{{ \t a${" ".repeat(3000)}}}` })),
    ).to.equal("1");
  });

  it("indent as JSON.stringify does", async () => {
    const processor = await backend.load(specOf({ kind: "Builtin", name: "json.stringify" }), never);
    await using caller = callerOf(processor);
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), fc.integer({ min: 0, max: 10 }), async (value, indent) => {
        const payload = textPayload(JSON.stringify(value));
        const response = await caller.call(patient, { payload, metadata: {}, options: { indent } }, never);
        expect(await textOf(response)).to.equal(JSON.stringify(JSON.parse(JSON.stringify(value)), null, indent));
      }),
      { numRuns: 200 },
    );
  });
});

describe("a bounded output", () => {
  it("takes what is just its limit, and nothing more", () => {
    const output = new BoundedOutput(4);
    output.put("ab");
    output.put("ü");
    expect(output.text).to.equal("abü");
    output.put("");
    expect(() => output.put("cd")).to.throw(OutputOverflow, "5 bytes");
  });

  it("finds at the end what letters of several bytes come to", () => {
    const output = new BoundedOutput(4);
    output.put("üüü");
    expect(() => output.text).to.throw(OutputOverflow, "6 bytes");
  });

  it("refuses what is announced before it is there", () => {
    expect(() => new BoundedOutput(4).claim(5)).to.throw(OutputOverflow);
  });

  it("counts work apart from bytes, also of what is empty", () => {
    const output = new BoundedOutput(4, 2);
    output.put("");
    output.work(1);
    expect(() => output.put("")).to.throw(WorkOverflow);
  });

  it("is what a string that is too long is told as, and not as nesting", () => {
    const long = () => "x".repeat(2 ** 29).length;
    let thrown: unknown;
    try {
      long();
    } catch (error) {
      thrown = error;
    }
    expect(overflow(thrown)).to.be.instanceOf(OutputOverflow);
    expect(overflow(new RangeError("Maximum call stack size exceeded"))).to.equal(undefined);
  });
});
