import { expect } from "chai";
import fc from "fast-check";
import { schemaType } from "../../../engine/compile/schema-types.ts";
import type { ExpressionSite } from "../../../engine/expressions/expression-site.ts";
import { ExpressionCompiler, executionInput } from "../../../engine/expressions/expressions.ts";
import { parseJson } from "../../../engine/expressions/json-values.ts";
import type { Json, JsonObject } from "../../../engine/payload.ts";
import { facts, pipeline, planOf, problemsOf, step } from "../../support/pipelines.ts";

const document: JsonObject = {
  type: "object",
  additionalProperties: false,
  required: ["title", "pages"],
  properties: {
    title: { type: "string" },
    words: { type: "integer" },
    ratio: { type: "number" },
    draft: { type: "boolean" },
    owner: { type: ["string", "null"] },
    state: { enum: ["open", "closed"] },
    pages: {
      type: "array",
      items: { type: "object", properties: { url: { type: "string" } }, additionalProperties: false },
    },
    counts: { type: "object", additionalProperties: { type: "integer" } },
    more: { type: "object", properties: { known: { type: "boolean" } } },
    matched: { type: "object", patternProperties: { "^x-": {} }, additionalProperties: false },
    elsewhere: { $ref: "#/$defs/x" },
    either: { anyOf: [{ type: "string" }, { type: "integer" }] },
    nothing: { type: "string", nullable: true },
  },
};

function site(schema: JsonObject, result: ExpressionSite["result"]): ExpressionSite {
  return {
    field: "steps[0].input",
    frame: executionInput,
    step: "own",
    steps: new Map(),
    visibility: () => "Visible",
    parameters: [],
    result,
    variables: "Run",
    types: new Map([["input", schemaType(schema)]]),
  };
}

function faults(source: string, result: ExpressionSite["result"] = "any", schema = document): string | undefined {
  const compiled = new ExpressionCompiler().compile(source, site(schema, result));
  return compiled.ok ? undefined : compiled.faults.map(({ message, mend }) => `${message} | ${mend}`).join("\n");
}

describe("expressions: what a schema rules out", () => {
  const refusals: readonly [source: string, says: string, result?: ExpressionSite["result"]][] = [
    ["input.titel", "input cannot have property titel: its schema excludes it | write title"],
    ['input["titel"].size()', "write title"],
    ["input.pages[0].ulr", "input.pages[0] cannot have property ulr: its schema excludes it | there are url"],
    ["input.pages.map(p, p.ulr)", "p cannot have property ulr"],
    ["input.pages.filter(p, has(p.url)).map(p, p.ulr)", "p cannot have property ulr"],
    ["cel.bind(p, input.pages[0], p.ulr)", "p cannot have property ulr"],
    ["has(input.titel.x)", "input cannot have property titel"],
    ["input.title.text", "input.title is a string, which has no property text"],
    ["input.pages.url", "input.pages is a list, which has no property url"],
    ["input.words + 'x'", "`+` is not there for these: input.words is a number, and 'x' is a string"],
    ["input.title + input.words", "input.title is a string, and input.words is a number"],
    ["input.title - input.state", "`-` is not there"],
    ["input.title < 3", "`<` is not there"],
    ["input.counts.a + input.title", "`+` is not there"],
    ["'x' in input.words", "`in` is not there"],
    ["-input.title", "what follows `-` must be a number, and input.title is a string"],
    ["!input.words", "what follows `!` must be a bool"],
    ["input.title ? 1 : 2", "a condition before `?` must be a bool"],
    ["input.draft && input.title", "each side of `&&` must be a bool"],
    ["input.words.contains('x')", "contains() is there for strings, and input.words is a number"],
    ["input.words.map(x, x)", "map() goes through a list or a map"],
    ["input.pages.filter(p, p.url)", "the condition of filter() must be a bool"],
    ["input.title", "it gives a string | write a condition", "bool"],
    ["input.words", "it gives a number", "bool"],
    ["input.owner", "it gives null or a string", "bool"],
    ["input.draft ? input.title : input.words", "it gives a number or a string", "bool"],
    ["input.counts", "it gives a map", "list"],
    ["input.pages", "it gives a list", "map"],
  ];
  for (const [source, says, result] of refusals) {
    it(`refuses ${source}${result === undefined ? "" : ` as a ${result}`}`, () => {
      expect(faults(source, result)).to.contain(says);
    });
  }

  const accepted: readonly [source: string, result?: ExpressionSite["result"]][] = [
    ["has(input.titel)"],
    ["has(input.draft) && input.draft", "bool"],
    ["input.words * 2.0"],
    ["input.words + 2"],
    ["input.ratio < 1 && input.words < 1.5"],
    ["input.title == 3"],
    ["input.owner + 'x'"],
    ["input.owner == null ? 'none' : input.owner"],
    ["input.counts.anything + 1"],
    ["input.counts.map(k, k + '=')"],
    ["input.more.unknown.deep"],
    ["input.matched['x-a']"],
    ["input.elsewhere.a.b", "bool"],
    ["input.either + 'x'"],
    ["input.either", "bool"],
    ["input.nothing + 'x'"],
    ["input.pages.map(p, p.url).join(',')", "string"],
    ["input.pages", "list"],
    ["input.pages.filter(p, p.url != '')", "list"],
    ["{'a': input.words}", "map"],
    ["input.more.known", "bool"],
    ["input[execution.name]", "bool"],
    ["size(input.title) + size(input.pages) + size(input.counts)"],
    ["input.title in input.pages.map(p, p.url)"],
    ["timestamp(input.title) - duration('1h')"],
    ["type(input.title) == string"],
  ];
  for (const [source, result] of accepted) {
    it(`takes ${source}${result === undefined ? "" : ` as a ${result}`}`, () => {
      expect(faults(source, result)).to.equal(undefined);
    });
  }

  it("stays quick where types share their parts", () => {
    const twice = (x: string) => `execution.name == '' ? ${x} : execution.name == 'a' ? ${x} : {'title': 'b'}`;
    const levels = 16;
    let source = `x${levels}.title.size()`;
    for (let level = levels; level > 0; level--) source = `cel.bind(x${level}, ${twice(`x${level - 1}`)}, ${source})`;
    const startMs = performance.now();
    expect(faults(`cel.bind(x0, input, ${source})`)).to.equal(undefined);
    expect(performance.now() - startMs).to.be.below(200);
  });

  it("never refuses what gives a value for an input of the schema", () => {
    const compiler = new ExpressionCompiler();
    let ran = 0;
    let refused = 0;
    fc.assert(
      fc.property(
        fc.record({ a: fc.jsonValue({ maxDepth: 2 }), b: fc.jsonValue({ maxDepth: 2 }) }),
        strictSource,
        (json, source) => {
          const value = json as Json;
          const bare = compiler.compile(source, { ...site({}, "any"), types: new Map() });
          if (!bare.ok) return;
          try {
            const input = parseJson(JSON.stringify(value));
            bare.expression.evaluate({ input, parameters: null, steps: null, execution: new Map([["name", "run"]]) });
          } catch {
            if (faults(source, "any", exactly(value)) !== undefined) refused++;
            return;
          }
          ran++;
          expect(faults(source, "any", exactly(value)), `${source} of ${JSON.stringify(value)}`).to.equal(undefined);
        },
      ),
      { numRuns: 2_000 },
    );
    expect(ran).to.be.above(100);
    expect(refused).to.be.above(100);
  });
});

/** Expressions of which every part is evaluated, whatever the values: what is not, may be wrong and run. */
const strictSource = fc.letrec<{ term: string; sum: string }>((tie) => ({
  term: fc.oneof(
    { maxDepth: 2 },
    fc.constantFrom(
      "input.a",
      "input.b",
      "input.a.x",
      "input.b[0]",
      "input.c",
      "1",
      "2.5",
      "'s'",
      "true",
      "null",
      "execution.name",
    ),
    tie("sum"),
  ),
  sum: fc.oneof(
    fc
      .tuple(tie("term"), fc.constantFrom("+", "-", "*", "<", ">=", "==", "in"), tie("term"))
      .map(([a, op, b]) => `(${a} ${op} ${b})`),
    tie("term").map((a) => `size(${a})`),
    tie("term").map((a) => `${a}.contains('s')`),
    tie("term").map((a) => `(!${a})`),
    tie("term").map((a) => `(-${a})`),
    tie("term").map((a) => `[${a}][0]`),
    tie("term").map((a) => `{'k': ${a}}.k`),
    tie("term").map((a) => `cel.bind(v, ${a}, v)`),
    tie("term").map((a) => `[1].map(i, ${a})`),
    tie("term").map((a) => `string(${a})`),
  ),
})).term;

/** The narrowest schema of a value. */
function exactly(json: Json): JsonObject {
  if (json === null) return { type: "null" };
  if (Array.isArray(json))
    return { type: "array", ...(json.length === 1 && json[0] !== undefined ? { items: exactly(json[0]) } : {}) };
  switch (typeof json) {
    case "object":
      return {
        type: "object",
        additionalProperties: false,
        properties: Object.fromEntries(Object.entries(json).map(([key, value]) => [key, exactly(value as Json)])),
      };
    case "number":
      return { type: Number.isInteger(json) ? "integer" : "number" };
    default:
      return { type: typeof json };
  }
}

describe("expressions: whose schemas count", () => {
  const page: JsonObject = { type: "object", properties: { url: { type: "string" } }, additionalProperties: false };
  const known = new Map([
    [
      "page",
      facts("page", {
        outputSchema: page,
        metadataSchema: { type: "object", properties: { words: { type: "integer" } }, additionalProperties: false },
      }),
    ],
    ["pages", facts("pages", { outputSchema: { type: "array", items: page } })],
    ["look", facts("look", { intent: "Analyze", outputSchema: { type: "string" } })],
    ["any", facts("any")],
  ]);
  const use = (name: string, processor: string, dependsOn: readonly string[] = [], more = {}) =>
    step(name, dependsOn, { processor, ...more });
  const says = (definition: Parameters<typeof problemsOf>[0], pipelines = new Map()) =>
    problemsOf(definition, known, pipelines)
      .map(({ path, message }) => `${path} ${message}`)
      .join("\n");

  it("takes a Processor's for its step's output and metadata, and text for each key", () => {
    expect(says(pipeline([use("p", "page"), use("b", "any", ["p"], { input: "steps.p.output.ulr" })]))).to.contain(
      "steps.p.output cannot have property ulr",
    );
    expect(says(pipeline([use("p", "page"), use("b", "any", ["p"], { input: "steps.p.metadata.word" })]))).to.contain(
      "cannot have property word",
    );
    expect(
      says(pipeline([use("p", "page"), use("b", "any", ["p"], { input: "steps.p.metadata.words + 1" })])),
    ).to.contain("`+` is not there");
    planOf(pipeline([use("p", "page"), use("b", "any", ["p"], { input: "int(steps.p.metadata.words) + 1" })]), known);
  });

  it("looks through an Analyze step to the payload that passes", () => {
    const steps = [use("p", "page"), use("l", "look", ["p"])];
    expect(says(pipeline([...steps, use("b", "any", ["l"], { input: "steps.l.output.ulr" })]))).to.contain("ulr");
    planOf(
      pipeline([
        use("p", "page"),
        use("l", "look", ["p"], { input: "'own'" }),
        use("b", "any", ["l"], { input: "steps.l.output.x" }),
      ]),
      known,
    );
  });

  it("knows a fan-out's items and list", () => {
    const steps = [
      use("all", "pages"),
      use("each", "page", ["all"], { forEach: "steps.all.output", input: "item.url" }),
    ];
    planOf(pipeline([...steps, use("b", "any", ["each"], { input: "steps.each.output.map(p, p.url)" })]), known);
    expect(
      says(
        pipeline([
          use("all", "pages"),
          use("each", "page", ["all"], { forEach: "steps.all.output", input: "item.ulr + string(index)" }),
        ]),
      ),
    ).to.contain("item cannot have property ulr");
    expect(says(pipeline([...steps, use("b", "any", ["each"], { input: "steps.each.output.url" })]))).to.contain(
      "steps.each.output is a list",
    );
    expect(says(pipeline([use("p", "page"), use("each", "any", ["p"], { forEach: "steps.p.output" })]))).to.contain(
      "it gives a map",
    );
  });

  it("expects null where a failure is ignored", () => {
    const ignoring = use("p", "page", [], { onFailure: "Ignore" });
    planOf(
      pipeline([ignoring, use("b", "any", ["p"], { input: "steps.p.output == null ? 'none' : steps.p.output.url" })]),
      known,
    );
    expect(says(pipeline([ignoring, use("b", "any", ["p"], { when: "steps.p.output" })]))).to.contain(
      "it gives null or a map",
    );
    const each = use("each", "page", [], { forEach: "input", onFailure: "Ignore" });
    expect(says(pipeline([each, use("b", "any", ["each"], { when: "steps.each.output[0]" })]))).to.contain(
      "it gives null or a map",
    );
    const list = use("all", "pages", [], { onFailure: "Ignore" });
    planOf(pipeline([list, use("b", "any", ["all"], { forEach: "steps.all.output" })]), known);
  });

  it("takes those of the input and the parameters, each Pipeline its own", () => {
    const inner = pipeline([use("x", "any", [], { input: "input.ulr" })], { name: "inner", inputSchema: page });
    const { processor: _, ...rest } = step("call");
    const outer = pipeline([{ ...rest, pipeline: "inner" }], { inputSchema: { type: "string" } });
    expect(says(outer, new Map([["inner", inner]]))).to.contain("input cannot have property ulr");
    const typed = pipeline([use("x", "any", [], { when: "parameters.top" })], {
      parameters: [{ name: "top", schema: { type: "integer" } }],
    });
    expect(says(typed)).to.contain("it gives a number");
  });

  it("refuses a parameter of a kind that an inlined Pipeline does not take", () => {
    const inner = pipeline([use("x", "any")], {
      name: "inner",
      parameters: [{ name: "top", schema: { type: "integer" } }],
    });
    const { processor: _, ...rest } = step("call");
    const outer = (value: string) => pipeline([{ ...rest, pipeline: "inner", parameters: [{ name: "top", value }] }]);
    expect(says(outer("'three'"), new Map([["inner", inner]]))).to.contain(
      "steps[0].parameters[0].value Step call gives the parameter top a string, which must be a number",
    );
    planOf(outer("3"), known, new Map([["inner", inner]]));
  });
});
