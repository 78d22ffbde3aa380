import { expect } from "chai";
import { MillraceError } from "../../../engine/errors.ts";
import { maxCost } from "../../../engine/expressions/cost.ts";
import type { ExpressionSite } from "../../../engine/expressions/expression-site.ts";
import type { Expression } from "../../../engine/expressions/expressions.ts";
import { ExpressionCompiler, executionInput, maxExpressionLength } from "../../../engine/expressions/expressions.ts";
import type { Value } from "../../../engine/expressions/json-values.ts";
import { encode, parseJson } from "../../../engine/expressions/json-values.ts";

const steps = new Map([
  ["first", 0],
  ["html-to-text", 1],
  ["later", 2],
]);

function site(more: Partial<ExpressionSite> = {}): ExpressionSite {
  return {
    field: "steps[2].input",
    frame: executionInput,
    step: "own",
    steps,
    visibility: (step) => (step < 2 ? "Visible" : "NotBefore"),
    parameters: ["lang"],
    result: "any",
    variables: "Run",
    ...more,
  };
}

function compiled(source: string, more: Partial<ExpressionSite> = {}): Expression {
  const result = new ExpressionCompiler().compile(source, site(more));
  if (!result.ok) throw new Error(result.faults.map((fault) => fault.message).join("; "));
  return result.expression;
}

function faultOf(source: string, more: Partial<ExpressionSite> = {}): string {
  const result = new ExpressionCompiler().compile(source, site(more));
  if (result.ok) throw new Error(`accepted: ${source}`);
  return result.faults.map((fault) => `${fault.message} | ${fault.mend}`).join("\n");
}

function evaluate(source: string, json = "null"): Value {
  const input = parseJson(json);
  const shown = new Map<unknown, Value>([
    ["output", input],
    ["metadata", new Map([["words", "3"]])],
  ]);
  const visible = new Map<unknown, Value>([
    ["first", shown],
    ["html-to-text", new Map([["metadata", new Map()]])],
  ]);
  return compiled(source).evaluate({
    input,
    steps: visible,
    parameters: new Map([["lang", "de"]]),
    execution: new Map([["name", "run"]]),
  });
}

/** The cost limit is what stops these: they would take minutes or gigabytes. */
function costOf(source: string, json = "null"): MillraceError {
  try {
    evaluate(source, json);
  } catch (error) {
    if (error instanceof MillraceError) return error;
    throw error;
  }
  throw new Error(`${source} came to an end`);
}

describe("expressions: values", () => {
  const table: readonly [source: string, json: string, value: unknown][] = [
    ["input.a + 1", '{"a": 2}', 3n],
    ["input.a * 2.0", '{"a": 1.5}', 3],
    ["input.a * 2.0", '{"a": 1.0}', 2],
    ["input.a == 9223372036854775807", '{"a": 9223372036854775807}', true],
    ["input[1].b", '[1, {"b": "x"}]', "x"],
    ["size(input) == 2 && 'b' in input", '{"a": 1, "b": 2}', true],
    ["input.filter(x, x > 1).map(x, x * 10)", "[1, 2, 3]", [20n, 30n]],
    ["input.exists(k, k == 'a')", '{"a": 1}', true],
    ["input + [3]", "[1, 2]", [1n, 2n, 3n]],
    ["input == {'a': [1, {'b': 2}]}", '{"a": [1, {"b": 2}]}', true],
    ["steps.first.metadata.words", "1", "3"],
    ["has(steps.first.output)", "1", true],
    ['has(steps["html-to-text"].output)', "1", false],
    ["parameters.lang + '/' + execution.name", "1", "de/run"],
    ["cel.bind(x, input.a, x + x)", '{"a": 2}', 4n],
    ["input.constructor", '{"constructor": "c"}', "c"],
    ["input.constructor.name", '{"constructor": {"name": 5}}', 5n],
    ["'toString' in input", "{}", false],
    ["input.split(',').join('-')", '"a,b"', "a-b"],
    ["'aaa'.matches('^a+$')", "1", true],
    ["'aab'.matches('a$')", "1", false],
  ];
  for (const [source, json, value] of table) {
    it(`takes ${source} of ${json} for ${typeof value === "bigint" ? `${value}` : String(value)}`, () => {
      expect(evaluate(source, json)).to.deep.equal(value);
    });
  }

  it("keeps hostile keys as data, in decoded JSON as in map literals", () => {
    const value = evaluate("{'__proto__': input.__proto__x, 'constructor': 1}", '{"__proto__x": 2}') as Map<
      unknown,
      unknown
    >;
    expect([...value]).to.deep.equal([
      ["__proto__", 2n],
      ["constructor", 1n],
    ]);
    expect(evaluate("input['__proto__'].polluted", '{"__proto__": {"polluted": true}}')).to.equal(true);
    expect(({} as Record<string, unknown>).polluted).to.equal(undefined);
  });

  it("writes timestamps, durations and unsigned integers as JSON", () => {
    const source =
      "[timestamp('2026-01-02T03:04:05Z'), duration('1h0.5s'), duration('-1.25s'), duration('3ns'), uint(7)]";
    expect(new TextDecoder().decode(encode(evaluate(source)).bytes)).to.equal(
      '["2026-01-02T03:04:05Z","3600.5s","-1.25s","0.000000003s",7]',
    );
    expect(() => encode(evaluate("[type(1)]"))).to.throw(MillraceError, "no JSON form");
  });

  it("names a failing expression's field", () => {
    expect(() => evaluate("input.missing", "{}")).to.throw(
      MillraceError,
      "steps[2].input failed: No such key: missing",
    );
  });

  it("refuses a condition that gives no bool when it runs", () => {
    const when = compiled("input", { result: "bool" });
    expect(() => when.evaluate({ input: 1n, steps: null, parameters: null, execution: null })).to.throw(
      MillraceError,
      "must give true or false",
    );
  });
});

describe("expressions: references", () => {
  it("finds whose payloads it looks into", () => {
    const expression = compiled("[input.a, steps.first.output, steps['html-to-text'].metadata.x]");
    expect(expression.payloads).to.deep.equal([executionInput, 0]);
    expect(expression.steps).to.deep.equal([0, 1]);
  });

  it("knows an expression that is only a reference", () => {
    expect(compiled("steps.first.output").passes).to.equal(0);
    expect(compiled('steps["html-to-text"].output').passes).to.equal(1);
    expect(compiled("input").passes).to.equal(executionInput);
    expect(compiled("input.a").passes).to.equal(undefined);
    expect(compiled("steps.first.output.a").passes).to.equal(undefined);
    expect(compiled("steps.first.metadata").passes).to.equal(undefined);
  });

  const refusals: readonly [source: string, says: string][] = [
    ["steps.fist.output", "write first"],
    ["steps.later.output", "add later to dependsOn"],
    ["steps.first", "write steps.first.output or steps.first.metadata"],
    ["steps.first.result", "write steps.first.output or steps.first.metadata"],
    ["steps[input.name].output", "constant name"],
    ["steps.map(s, s)", "constant name"],
    ["steps.html-to-text.output", 'write steps["html-to-text"]'],
    ["parameters.lnag", "write lang"],
    ["execution.id", "there are name, namespace, uid"],
    ["foo + 1", "Unknown variable: foo"],
    ["input.", "Expected IDENTIFIER"],
    ["1 + 'a'", "no such overload"],
    ["[1].map(input, input)", "choose another name"],
    ["'a'.matches('(')", "the pattern of matches() cannot be used"],
    ["b'{}'.json()", "json() is not available"],
    ["optional.of(1).hasValue()", "optional types are not available"],
    ["x".repeat(maxExpressionLength + 1), "write at most"],
  ];
  for (const [source, says] of refusals) {
    it(`refuses ${source.slice(0, 40)} and says what would be right`, () => {
      expect(faultOf(source)).to.contain(says);
    });
  }

  it("refuses a condition that can give no bool", () => {
    expect(faultOf("1 + 1", { result: "bool" })).to.contain("it gives int");
  });
});

describe("expressions: the cost limit", () => {
  const list = "[1,1,1,1,1,1,1,1,1,1]";
  const nested = (depth: number): string => (depth === 0 ? "1" : `${list}.map(x${depth}, ${nested(depth - 1)})`);
  const doubling = (times: number, start: string, op: (x: string) => string): string => {
    let body = `x${times}`;
    for (let i = times; i > 0; i--) body = `cel.bind(x${i}, ${op(i === 1 ? start : `x${i - 1}`)}, ${body})`;
    return body;
  };
  const bigText = JSON.stringify("a".repeat(1_000_000));
  const bigList = `[${"1,".repeat(199_999)}1]`;

  const bombs: readonly [name: string, source: string, json?: string][] = [
    ["nested loops", nested(8)],
    ["nested loops over data", "input.map(x, input.map(y, x + y))", bigList],
    ["nested quantifiers", "input.all(x, input.all(y, x == y))", bigList],
    [
      "quantifiers that swallow errors",
      "input.exists(x, x.foo) || input.exists(x, x.foo) || input.exists(x, x.foo)",
      bigList,
    ],
    ["an `or` that swallows errors", "input.map(x, x.foo || x.bar || true)", bigList],
    ["an `or` around what is too dear", "input.all(x, input.all(y, x == y)) || true", bigList],
    ["string doubling", doubling(30, "'aaaaaaaa'", (x) => `${x} + ${x}`)],
    ["list doubling", doubling(30, "[1]", (x) => `${x} + ${x}`)],
    ["bytes doubling", doubling(30, "b'aaaaaaaa'", (x) => `${x} + ${x}`)],
    [
      "comparing what shares its parts",
      `${doubling(24, "[1]", (x) => `[${x}, ${x}]`)} == ${doubling(24, "[1]", (x) => `[${x}, ${x}]`)}`,
    ],
    ["membership in a loop", "input.map(x, x in input)", bigList],
    [
      "a search that V8 does in quadratic time",
      "input.contains(input.substring(0, 400000) + 'b' + input.substring(0, 400000))",
      bigText,
    ],
    ["a search from the end", "input.lastIndexOf('b' + input.substring(0, 400000))", bigText],
    ["splitting in a loop", "[1,2,3,4,5,6,7,8,9].map(x, input.split(''))", bigText],
    ["joining in a loop", "[input,input,input,input,input,input].map(x, [x,x,x].join(x))", bigText],
    ["a pattern of many states", "input.matches('(a?){500}a{500}$')", bigText],
    ["time zones in a loop", "input.map(x, timestamp('2026-01-01T00:00:00Z').getHours('Europe/Berlin'))", bigList],
  ];
  for (const [name, source, json] of bombs) {
    it(`stops ${name}`, () => {
      const error = costOf(source, json);
      expect(error.code).to.equal("InvalidInput");
      expect(error.message).to.contain(`${maxCost}`);
    }).timeout(20_000);
  }

  it("matches in linear time what makes a backtracking engine hang", () => {
    expect(evaluate("input.matches('^(a+)+$')", JSON.stringify(`${"a".repeat(5_000)}b`))).to.equal(false);
  });

  it("refuses a duration that would be read in cubic time", () => {
    expect(() => evaluate("duration(input)", JSON.stringify("1".repeat(100_000)))).to.throw(
      MillraceError,
      "at most 64 characters",
    );
  });

  it("counts what a fan-out's item costs like all else", () => {
    const expression = compiled("item.map(x, item.map(y, x + y))", { variables: "Item" });
    const item = parseJson(bigList);
    const variables = { input: null, steps: null, parameters: null, execution: null, item, index: 0n };
    expect(() => expression.evaluate(variables)).to.throw(MillraceError, `${maxCost}`);
  });

  it("serves the next evaluation after one that cost too much", () => {
    const expression = compiled("input.map(x, input.map(y, x + y))");
    const variables = (input: Value) => ({ input, steps: null, parameters: null, execution: null });
    expect(() => expression.evaluate(variables(parseJson(bigList)))).to.throw(MillraceError);
    expect(expression.evaluate(variables([1n]))).to.deep.equal([[2n]]);
  });

  it("lets real work through: a thousand words filtered, measured and joined", () => {
    const words = JSON.stringify(Array.from({ length: 1_000 }, () => "lorem"));
    expect(
      evaluate("input.filter(w, w.size() > 3 && w.matches('^[a-z]+$')).map(w, w.upperAscii()).join(' ')", words),
    ).to.have.length(5_999);
  });
});
