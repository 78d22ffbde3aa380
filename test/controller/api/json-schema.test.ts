import { expect } from "chai";
import { SchemaCompiler } from "../../../controller/api/json-schema.ts";
import { schemaBounds } from "../../../controller/api/json-schema-bounds.ts";
import type { Json, JsonObject } from "../../../engine/payload.ts";

function violations(schema: JsonObject, value: Json, report?: "First" | "All") {
  const compiled = new SchemaCompiler().compile(schema, "optionsSchema", report);
  if (!compiled.ok) throw new Error(compiled.violation.message);
  return compiled.check(value, "options");
}

function refusal(schema: JsonObject) {
  const compiled = new SchemaCompiler().compile(schema, "optionsSchema");
  if (compiled.ok) throw new Error("the schema was taken");
  return compiled.violation;
}

describe("a value against a JSON Schema", () => {
  it("has nothing against it when it is right", () => {
    expect(
      violations({ type: "object", required: ["top"], properties: { top: { type: "integer" } } }, { top: 3 }),
    ).to.deep.equal([]);
  });

  const rows: readonly [string, JsonObject, Json, string, string][] = [
    ["a wrong type", { properties: { top: { type: "integer" } } }, { top: "3" }, "options.top", "integer"],
    ["a missing key", { required: ["top"] }, {}, "options.top", "Add top"],
    ["an unknown key", { properties: { top: {} }, additionalProperties: false }, { tpo: 1 }, "options.tpo", '"top"'],
    ["a value outside an enum", { properties: { l: { enum: ["en", "de"] } } }, { l: "fr" }, "options.l", '"en", "de"'],
    ["another constant", { properties: { l: { const: 7 } } }, { l: 8 }, "options.l", "7"],
    ["a number out of bounds", { properties: { n: { maximum: 5 } } }, { n: 8 }, "options.n", "bounds"],
    ["a string too long", { properties: { s: { maxLength: 2 } } }, { s: "abc" }, "options.s", "lengths"],
    ["a pattern missed", { properties: { s: { pattern: "^a+$" } } }, { s: "b" }, "options.s", "^a+$"],
    [
      "an item of a list",
      { properties: { l: { items: { type: "string" } } } },
      { l: ["a", 1] },
      "options.l[1]",
      "string",
    ],
    ["what is not allowed", { properties: { x: false } }, { x: 1 }, "options.x", "Leave it out"],
  ];
  for (const [what, schema, value, path, mend] of rows) {
    it(`names the path and the mend of ${what}`, () => {
      const [first] = violations(schema, value);
      expect(first?.path).to.equal(path);
      expect(first?.mend).to.contain(mend);
      expect(first?.message).to.contain("options");
    });
  }

  it("is told of every violation, or of the first one alone", () => {
    const schema = { properties: { a: { type: "string" }, b: { type: "string" } } };
    expect(violations(schema, { a: 1, b: 2 }, "All")).to.have.length(2);
    expect(violations(schema, { a: 1, b: 2 }, "First")).to.have.length(1);
  });

  it("is never told of more than twenty", () => {
    expect(
      violations(
        { items: { type: "string" } },
        Array.from({ length: 1_000 }, () => 1),
      ),
    ).to.have.length(20);
  });

  it("keeps two patterns of one schema apart", () => {
    const schema = { properties: { a: { pattern: "^a$" }, b: { pattern: "^b$" } } };
    expect(violations(schema, { a: "a", b: "b" })).to.deep.equal([]);
    expect(violations(schema, { a: "b", b: "a" })).to.have.length(2);
  });

  it("is matched in linear time: a pattern that JavaScript would backtrack on for ever answers", () => {
    expect(violations({ pattern: "^(([a-z])+.)+[A-Z]([a-z])+$" }, "a".repeat(60_000))).to.have.length(1);
  });

  it("is refused unread by a pattern when it is a very long string", () => {
    expect(violations({ pattern: "a" }, "a".repeat(65_537))[0]?.message).to.contain("65537 characters");
  });

  it("does not see keys of Object.prototype", () => {
    expect(violations({ required: ["toString"] }, {})).to.have.length(1);
    const hostile: Json = JSON.parse('{"__proto__": {"top": 1}}');
    expect(violations({ required: ["top"] }, hostile)).to.have.length(1);
  });
});

describe("the work of a check", () => {
  const numbers = (count: number): Json => Array.from({ length: count }, (_, index) => index);
  const words = (count: number): Json => Array.from({ length: count }, (_, index) => `word${index}`);
  const keys = (count: number): Json => Object.fromEntries(Array.from({ length: count }, (_, i) => [`key${i}`, i]));
  const times = (count: number, part: (index: number) => JsonObject) =>
    Array.from({ length: count }, (_, i) => part(i));

  const refused: readonly [string, JsonObject, Json][] = [
    ["many alternatives", { items: { anyOf: times(300, (i) => ({ required: [`a${i}`] })) } }, words(20_000)],
    [
      "alternatives behind references",
      { $defs: { a: { oneOf: times(90, () => ({})) } }, items: { $ref: "#/$defs/a" } },
      words(9_000),
    ],
    [
      "alternatives that multiply level by level",
      { allOf: times(20, () => ({ items: { allOf: times(20, () => ({ items: { type: "string" } })) } })) },
      times(200, () => ({})).map(() => words(100)) as Json,
    ],
    ["a long enum", { items: { enum: [...(words(4_000) as Json[])] } }, words(9_000)],
    [
      "names that depend on names",
      { dependentRequired: Object.fromEntries(times(900, () => ({})).map((_, i) => [`a${i}`, ["b"]])) },
      keys(90_000),
    ],
  ];
  for (const [what, schema, value] of refused) {
    it(`is refused before it is begun: ${what}`, () => {
      const [violation] = violations(schema, value, "First");
      expect(violation?.message).to.contain("options cannot be checked");
      expect(violations(schema, Array.isArray(value) ? [] : {}, "First")).to.deep.equal([]);
    });
  }

  it("ends where matching takes too much, and begins anew for the next value", () => {
    const pattern = { items: { pattern: "^[a-z]+[0-9]+$" } };
    const compiled = new SchemaCompiler().compile(pattern, "s", "First");
    if (!compiled.ok) throw new Error(compiled.violation.message);
    expect(compiled.check(words(300_000), "v")[0]?.message).to.contain(`${schemaBounds.matching} units`);
    expect(compiled.check(words(20_000), "v")).to.deep.equal([]);
    const manyKeys = { patternProperties: { "^a": {}, "^b": {}, "^c": {}, "^d": {} } };
    expect(violations(manyKeys, keys(100_000), "First")[0]?.message).to.contain(`${schemaBounds.matching} units`);
  });

  it("leaves room for large values and ordinary schemas", () => {
    const page = {
      type: "object",
      required: ["title"],
      properties: { title: { type: "string", pattern: "^[a-z]" }, n: { type: "integer" } },
    };
    const pages = Array.from({ length: 50_000 }, (_, n) => ({ title: `title of page ${n}`, n }));
    expect(violations({ type: "array", items: page }, pages, "First")).to.deep.equal([]);
    expect(violations({ items: { type: "integer" } }, numbers(1_000_000), "First")).to.deep.equal([]);
  }).timeout(20_000);
});

describe("a JSON Schema from a tenant", () => {
  function doubling(levels: number): JsonObject {
    const $defs: Record<string, JsonObject> = { [`d${levels}`]: { type: "string" } };
    for (let level = 0; level < levels; level++) {
      const next = { $ref: `#/$defs/d${level + 1}` };
      $defs[`d${level}`] = { anyOf: [next, next] };
    }
    return { $ref: "#/$defs/d0", $defs };
  }
  function nested(levels: number): JsonObject {
    let schema: JsonObject = { type: "string" };
    for (let level = 0; level < levels; level++) schema = { not: schema };
    return schema;
  }

  const refused: readonly [string, JsonObject, string][] = [
    ["a $ref to another host", { $ref: "https://example.com/s.json" }, "optionsSchema.$ref"],
    ["a $ref to a file", { properties: { a: { $ref: "file:///etc/passwd" } } }, "optionsSchema.properties.a.$ref"],
    ["a $ref to nothing", { $ref: "#/$defs/none" }, "optionsSchema.$ref"],
    ["a $ref to a key of Object.prototype", { $ref: "#/constructor" }, "optionsSchema.$ref"],
    ["a $ref to itself", { $defs: { a: { $ref: "#/$defs/a" } } }, "optionsSchema.$defs.a"],
    [
      "a recursive $ref",
      { $defs: { t: { items: { $ref: "#/$defs/t" } } }, $ref: "#/$defs/t" },
      "optionsSchema.$defs.t",
    ],
    ["a chain of doubling references", doubling(30), "optionsSchema.$defs.d22"],
    [
      "too many subschemas",
      { properties: Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`p${i}`, {}])) },
      "optionsSchema",
    ],
    [
      "patterns that repeat too much",
      { properties: { a: { pattern: "(a{1,30}){1,30}".repeat(3) } } },
      "optionsSchema.properties.a",
    ],
    [
      "too many patterns",
      { patternProperties: Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`^p${i}`, {}])) },
      "optionsSchema",
    ],
    ["too many levels", nested(schemaBounds.depth + 1), "optionsSchema"],
    ["too many bytes", { description: "x".repeat(schemaBounds.bytes) }, "optionsSchema"],
    ["uniqueItems without a bound", { items: { uniqueItems: true } }, "optionsSchema.items.uniqueItems"],
    ["$dynamicRef", { items: { $dynamicRef: "#a" } }, "optionsSchema.items.$dynamicRef"],
    ["$async, whose checks would always pass", { $async: true, type: "string" }, "optionsSchema.$async"],
    ["an inner $id", { items: { $id: "https://example.com" } }, "optionsSchema.items.$id"],
    ["a pattern with look-ahead", { pattern: "(?=a)b" }, "optionsSchema"],
    ["a keyword that does not exist", { requierd: ["a"] }, "optionsSchema"],
    ["a type that does not exist", { type: "strng" }, "optionsSchema"],
    ["a dialect that is not known", { $schema: "https://example.com/dialect" }, "optionsSchema"],
  ];
  for (const [what, schema, path] of refused) {
    it(`is refused with its path: ${what}`, () => {
      const violation = refusal(schema);
      expect(violation.path.slice(0, path.length)).to.equal(path);
      expect(violation.mend).to.match(/\.$/);
    });
  }

  it("says of patterns and subschemas what the bound is", () => {
    const pattern = `[^]${"a{900}".repeat(9)}`;
    expect(refusal({ pattern }).message).to.contain(`${schemaBounds.patternsSize} instructions`);
    const allOf = Array.from({ length: schemaBounds.subschemas }, () => ({}));
    expect(refusal({ allOf }).message).to.contain(`${schemaBounds.subschemas} subschemas`);
  });

  it("takes 2020-12, draft-07, a root $id, local references and format as a note", () => {
    for (const schema of [
      { $schema: "https://json-schema.org/draft/2020-12/schema", prefixItems: [{ type: "string" }] },
      { $schema: "http://json-schema.org/draft-07/schema#", type: "string" },
      { $id: "https://example.com/a", type: "string" },
      { $ref: "#/$defs/a~1b", $defs: { "a/b": { type: "string" } } },
      { type: "string", format: "e-mail" },
      { properties: { $ref: { type: "string" } }, examples: [{ $ref: "https://example.com" }] },
    ]) {
      expect(new SchemaCompiler().compile(schema, "optionsSchema").ok, JSON.stringify(schema)).to.equal(true);
    }
  });

  it("does not meet another tenant's schema with the same $id", () => {
    const compiler = new SchemaCompiler();
    const one = compiler.compile({ $id: "https://example.com/a", type: "string" }, "s");
    const other = compiler.compile({ $id: "https://example.com/a", type: "integer" }, "s");
    expect(one.ok && one.check("x", "v")).to.deep.equal([]);
    expect(other.ok && other.check(1, "v")).to.deep.equal([]);
  });

  it("is compiled once", () => {
    const compiler = new SchemaCompiler();
    expect(compiler.compile({ type: "string" }, "s")).to.equal(compiler.compile({ type: "string" }, "s"));
  });
});
