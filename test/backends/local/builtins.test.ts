import { readFileSync } from "node:fs";
import { Ajv } from "ajv";
import { expect } from "chai";
import fc from "fast-check";
import { createLocalBackend } from "../../../backends/local/backend.ts";
import type { BuiltinExample } from "../../../backends/local/builtins/builtin.ts";
import { builtinCatalogue, builtinOptionsSchema } from "../../../backends/local/builtins/catalogue.ts";
import { Options } from "../../../backends/local/builtins/options.ts";
import { Refusal } from "../../../backends/local/builtins/refusal.ts";
import { systemPorts } from "../../../engine/clock.ts";
import { BytesPayload, digestOf, type Json, type JsonObject, textPayload } from "../../../engine/payload.ts";
import type { ProcessorResponse } from "../../../engine/processor.ts";
import { attemptOf, callerOf, never, rejection, requestOf, specOf, textOf } from "../support.ts";

const backend = createLocalBackend({ version: "1.0.0", ports: systemPorts, maxWorkers: 2 });

async function call(name: string, input: unknown, options: JsonObject = {}): Promise<ProcessorResponse> {
  const processor = await backend.load(specOf({ kind: "Builtin", name }, name), never);
  await using caller = callerOf(processor);
  const request = input instanceof Uint8Array ? binaryRequest(input, options) : requestOf(input, options);
  return caller.call(attemptOf(), request, never);
}

function binaryRequest(bytes: Uint8Array, options: JsonObject) {
  return { payload: new BytesPayload(bytes, "application/octet-stream"), metadata: {}, options };
}

async function text(name: string, input: unknown, options: JsonObject = {}): Promise<string> {
  return textOf(await call(name, input, options));
}

/** The code of a declared failure, and its message. */
async function failure(name: string, input: unknown, options: JsonObject = {}): Promise<string> {
  const response = await call(name, input, options);
  if (response.ok) throw new Error(`${name} was expected to fail`);
  return `${response.error.code}: ${response.error.message}`;
}

async function outcomeOf(name: string, example: BuiltinExample): Promise<BuiltinExample> {
  const response = await call(name, example.input, example.options ?? {});
  if (!response.ok) return { input: example.input, error: response.error.code };
  const written = await textOf(response);
  const output: Json = response.payload.contentType === "application/json" ? JSON.parse(written) : written;
  const metadata = Object.keys(response.metadata).length === 0 ? {} : { metadata: response.metadata };
  return { input: example.input, output, ...metadata };
}

describe("the digest of a built-in", () => {
  const load = async (version: string, name: string) => {
    await using other = createLocalBackend({ version, ports: systemPorts });
    const { digests } = await other.load(specOf({ kind: "Builtin", name }), never);
    return digests;
  };

  it("is the same for the same name and version of Millrace, and another for any other", async () => {
    const [digest, ...more] = await load("1.0.0", "echo");
    expect([digest, more]).to.deep.equal([digestOf(Buffer.from("millrace 1.0.0 echo")), []]);
    expect(await load("1.0.0", "echo")).to.deep.equal([digest]);
    expect(await load("1.0.1", "echo")).not.to.include(digest);
    expect(await load("1.0.0", "text.trim")).not.to.include(digest);
  });
});

describe("built-ins", function () {
  this.timeout(30_000);
  after(() => backend[Symbol.asyncDispose]());

  for (const builtin of builtinCatalogue.values()) {
    it(`${builtin.name} does what its example says`, async () => {
      const { options: _options, ...expected } = builtin.example;
      expect(await outcomeOf(builtin.name, builtin.example)).to.deep.equal(expected);
    });
  }

  it("are refused by a name that is not there, and the message has those that are near", async () => {
    const error = await rejection(backend.load(specOf({ kind: "Builtin", name: "text.upper" }), never));
    expect(error.code).to.equal("NotFound");
    expect(error.message).to.include("text.uppercase").and.to.not.include("hash.md5");
  });

  it("have only what is of use beside them for tests: the conformance suite's reference is not among them", () => {
    const testing = [...builtinCatalogue.keys()].filter((name) => name.startsWith("test."));
    expect(testing).to.deep.equal(["test.fail", "test.sleep"]);
  });

  const cases: readonly [string, unknown, JsonObject, string][] = [
    ["text.split", "a\n\nb\n", { skipEmpty: true }, '["a","b"]'],
    ["text.split", "", {}, '[""]'],
    ["text.split", "abc", { separator: "" }, '["a","b","c"]'],
    ["text.join", [], {}, ""],
    ["text.join", "[12345678901234567890, true]", { separator: "," }, "12345678901234567890,true"],
    ["text.count", "", {}, '{"bytes":0,"characters":0,"words":0,"lines":0}'],
    ["text.count", "🌍\u00a0a\tb", {}, '{"bytes":9,"characters":5,"words":3,"lines":1}'],
    ["text.replace", "a.b.c", { pattern: ".", replacement: "$1", literal: true }, "a$1b$1c"],
    ["text.replace", "abc", { pattern: "", replacement: "-" }, "-a-b-c-"],
    ["text.replace", "Mill mill", { pattern: "mill", replacement: "$$$0", ignoreCase: true }, "$Mill $mill"],
    ["text.replace", "ab", { pattern: "(x)?a", replacement: "[$1]" }, "[]b"],
    ["text.extract", "a1 b2", { pattern: "\\w\\d" }, '["a1","b2"]'],
    ["text.extract", "a1 b2", { pattern: "(\\w)(\\d)" }, '[["a","1"],["b","2"]]'],
    ["text.extract", "a1 b2", { pattern: "\\w(\\d)", all: false }, '"1"'],
    ["text.extract", "none", { pattern: "\\d", all: false }, "null"],
    ["text.template", { a: { b: "<&>" } }, { template: "{{a.b}}{{! no }}{{a.c}}{{x}}" }, "<&>"],
    ["text.template", { list: ["x", 2, true] }, { template: "{{#list}}({{.}}){{/list}}" }, "(x)(2)(true)"],
    ["text.template", { a: "", b: 0, c: {} }, { template: "{{#a}}a{{/a}}{{#b}}b{{/b}}{{#c}}c{{/c}}" }, "abc"],
    ["text.template", { n: "out", list: [{ n: "in" }, {}] }, { template: "{{#list}}{{n}} {{/list}}" }, "in out "],
    [
      "text.template",
      { l: [1, 2] },
      { template: "a\n  {{#l}} \n- {{.}}\n{{/l}}\r\n{{! no }}\n{{.}} {{#l}}x{{/l}}\n{{#l}}\n{{/l}}" },
      'a\n- 1\n- 2\n{"l":[1,2]} xx\n',
    ],
    ["text.template", { o: { a: 1 } }, { template: "{{o}} {{ o.a }} { }}" }, '{"a":1} 1 { }}'],
    ["json.merge", { a: [1], b: null }, { with: { a: [2], c: {} } }, '{"a":[2],"b":null,"c":{}}'],
    ["json.merge", [], {}, "{}"],
    ["json.pick", { "a/b": { "~": [1, 2] } }, { pointer: "/a~1b/~0/1" }, "2"],
    ["json.pick", { a: 1 }, { pointer: "" }, '{"a":1}'],
    ["json.pick", [1], { pointer: "/01", optional: true }, "null"],
    ["json.pick", {}, { pointers: { x: "/toString" }, optional: true }, '{"x":null}'],
    ["json.set", { a: 1 }, { pointer: "", value: [0] }, "[0]"],
    ["json.set", [1, 2], { pointer: "/0", value: "x" }, '["x",2]'],
    ["json.set", {}, { pointer: "/a/b", value: null }, '{"a":{"b":null}}'],
    ["json.stringify", "[1,2]", { indent: 0 }, "[1,2]"],
    ["hash.md5", "", { encoding: "base64" }, "1B2M2Y8AsgTpgAmY7PhCfg=="],
    ["encode.base64", Uint8Array.of(0xfb, 0xff), { variant: "url" }, "-_8"],
    ["decode.base64", "-_8", {}, Buffer.of(0xfb, 0xff).toString()],
    ["test.fail", "later", { attempts: 0 }, "later"],
  ];
  for (const [name, input, options, output] of cases) {
    it(`${name} makes ${JSON.stringify(output)} of ${JSON.stringify(input)} with ${JSON.stringify(options)}`, async () => {
      expect(await text(name, input, options)).to.equal(output);
    });
  }

  const refusals: readonly [string, unknown, JsonObject, RegExp][] = [
    ["text.uppercase", "a", { top: 1 }, /unknown option "top"; there are none/],
    ["text.split", "a", { separator: 1 }, /option separator is 1; it must be a string/],
    ["text.split", "a", { trim: "yes" }, /it must be true or false/],
    ["text.template", "{}", {}, /option template is missing/],
    ["hash.sha256", "a", { encoding: "octal" }, /one of hex, base64/],
    ["json.stringify", "1", { indent: 11 }, /from 0 to 10/],
    ["json.stringify", "1", { indent: 1.5 }, /an integer/],
    ["test.sleep", "a", { ms: 60_001 }, /from 0 to 60000/],
    ["text.uppercase", Uint8Array.of(0xff), {}, /not UTF-8/],
    ["json.parse", "{a: 1}", {}, /not JSON/],
    ["json.merge", "[1]", {}, /no object/],
    ["json.pick", "{}", {}, /pointer or pointers/],
    ["json.pick", "{}", { pointer: "a" }, /no JSON Pointer/],
    ["json.pick", "{}", { pointer: "/a" }, /no value at "\/a"/],
    ["json.set", "[1]", { pointer: "/5", value: 1 }, /no index/],
    ["json.set", '{"a": 1}', { pointer: "/a/b", value: 1 }, /no object or list/],
    ["text.join", "{}", {}, /no JSON list/],
    ["text.join", "[{}]", {}, /item 0/],
    ["text.replace", "a", { pattern: "(" }, /option pattern/],
    ["text.replace", "a", { pattern: "(a)\\1" }, /option pattern/],
    ["text.replace", "a", { pattern: "a", replacement: "$2" }, /\$2 is no group/],
    ["text.template", "{}", { template: "{{#a}}" }, /not closed/],
    ["text.template", "{}", { template: "{{/a}}" }, /closes no open section/],
    ["text.template", "{}", { template: "{{> partial}}" }, /no partials/],
    ["decode.base64", "!!", {}, /not base64/],
    ["decode.hex", "abc", {}, /hexadecimal/],
    ["decode.url", "%zz", {}, /percent-encoded/],
  ];
  for (const [name, input, options, message] of refusals) {
    it(`${name} refuses ${JSON.stringify(input)} with ${JSON.stringify(options)}`, async () => {
      expect(await failure(name, input, options))
        .to.match(/^InvalidInput: /)
        .and.to.match(message);
    });
  }
});

describe("built-ins on hostile input", function () {
  this.timeout(30_000);
  let started: ReturnType<typeof createLocalBackend>;
  before(() => {
    started = createLocalBackend({ version: "1.0.0", ports: systemPorts, maxWorkers: 2 });
  });
  after(() => started[Symbol.asyncDispose]());

  const on = async (name: string, input: string, options: JsonObject = {}): Promise<ProcessorResponse> => {
    await using caller = callerOf(await started.load(specOf({ kind: "Builtin", name }, name), never));
    return caller.call(attemptOf(), { payload: textPayload(input), metadata: {}, options }, never);
  };

  it("take __proto__ and constructor for keys like any other", async () => {
    const polluting = '{"__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": true}}}';
    for (const name of ["json.merge", "json.sort-keys", "json.parse"]) await on(name, polluting);
    await on("json.set", "{}", { pointer: "/__proto__/polluted", value: true });
    await on("json.merge", "{}", { with: JSON.parse(polluting) as JsonObject });
    expect(({} as { readonly polluted?: unknown }).polluted).to.equal(undefined);
    const merged = await textOf(await on("json.merge", polluting));
    expect(JSON.parse(merged)).to.have.own.property("__proto__");
  });

  it("render no property that is not the data's own, and call no function", async () => {
    const template =
      "[{{constructor}}{{constructor.constructor}}{{list.length}}{{text.length}}{{#constructor}}x{{/constructor}}]";
    expect(await textOf(await on("text.template", '{"list": [1], "text": "a"}', { template }))).to.equal("[]");
  });

  it("stop a template that multiplies", async () => {
    const depth = 12;
    const template = `${"{{#a}}".repeat(depth)}x${"{{/a}}".repeat(depth)}`;
    const response = await on("text.template", '{"a": [1,2,3,4,5,6,7,8,9,10]}', { template });
    expect(!response.ok && response.error.code).to.equal("InvalidInput");
  });

  it("refuse JSON that is nested too deeply, and go on", async () => {
    const deep = `${"[".repeat(20_000)}${"]".repeat(20_000)}`;
    const response = await on("json.sort-keys", deep);
    expect(!response.ok && response.error.code).to.equal("InvalidInput");
    expect((await on("json.sort-keys", "[]")).ok).to.equal(true);
  });

  it("keep a number as it was written where a double would change it", async () => {
    const ids = '{"id":9007199254740993,"big":1e400,"small":0.1}';
    expect(await textOf(await on("json.parse", ids))).to.equal(ids);
    expect(await textOf(await on("json.pick", ids, { pointer: "/id" }))).to.equal("9007199254740993");
    expect(await textOf(await on("json.merge", ids, { with: { id: 1 } }))).to.equal('{"id":1,"big":1e400,"small":0.1}');
  });

  it("search in linear time, off this thread when the payload is large", async () => {
    const response = await on("text.replace", `${"a".repeat(100_000)}b`, { pattern: "(a+)+$", replacement: "x" });
    expect(await textOf(response)).to.have.length(100_001);
    expect(started.pools?.().get("local-workers")?.size).to.be.greaterThan(0);
  });

  it("give the same in a worker as in this thread", async () => {
    const word = "Grüße und Küsse, ";
    const small = await textOf(await on("text.uppercase", word));
    const large = await textOf(await on("text.uppercase", word.repeat(20_000)));
    expect(large === small.repeat(20_000)).to.equal(true);
    const refused = await on("text.uppercase", "a".repeat(300_000), { top: 1 });
    expect(!refused.ok && refused.error.code).to.equal("InvalidInput");
  });
});

describe("the options of built-ins", () => {
  const values = fc.oneof(fc.string(), fc.integer({ min: -20, max: 20 }), fc.double(), fc.boolean(), fc.jsonValue());

  it("are described by a JSON Schema that says what the built-in says", () => {
    const ajv = new Ajv();
    for (const { name, options } of builtinCatalogue.values()) {
      const validate = ajv.compile(builtinOptionsSchema(name) as object);
      const given = fc.record(
        { ...Object.fromEntries(Object.keys(options).map((option) => [option, values])), unknown: values },
        { requiredKeys: [] },
      );
      fc.assert(
        fc.property(given, (value) => {
          expect(accepts(options, JSON.parse(JSON.stringify(value)) as JsonObject)).to.equal(
            validate(JSON.parse(JSON.stringify(value))),
          );
        }),
        { numRuns: 200 },
      );
    }
  });

  function accepts(specs: ConstructorParameters<typeof Options>[0], given: JsonObject): boolean {
    try {
      return new Options(specs, given) instanceof Options;
    } catch (error) {
      if (error instanceof Refusal) return false;
      throw error;
    }
  }
});

describe("docs/builtins.md", () => {
  const page = readFileSync(new URL("../../../docs/builtins.md", import.meta.url), "utf8");
  const sections = [...page.matchAll(/^### `([^`]+)`\n([\s\S]*?)(?=^###? |(?![\s\S]))/gm)];

  it("has a section for every built-in, and no other", () => {
    expect(sections.map(([, name]) => name)).to.have.members([...builtinCatalogue.keys()]);
  });

  for (const [, name = "", section = ""] of sections) {
    it(`says of ${name} what the catalogue says, with its example`, () => {
      const builtin = builtinCatalogue.get(name);
      const options = [...section.matchAll(/^\| `(\w+)` +\|/gm)].map(([, option]) => option);
      expect(section).to.include(builtin?.summary);
      expect(options).to.deep.equal(Object.keys(builtin?.options ?? {}));
      expect(JSON.parse(/```json\n([\s\S]*?)```/.exec(section)?.[1] ?? "null")).to.deep.equal(builtin?.example);
    });
  }
});
