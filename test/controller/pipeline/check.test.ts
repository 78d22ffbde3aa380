import { expect } from "chai";
import { SchemaCompiler } from "../../../controller/api/json-schema.ts";
import type { PipelineSpec } from "../../../controller/api/types.ts";
import type { CompiledPipeline } from "../../../controller/catalog.ts";
import { checkPipeline, compileClosure, type KnownProcessor, usesSchemas } from "../../../controller/pipeline/check.ts";
import { pipelineDefinition } from "../../../controller/pipeline/definition.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { apiSpec, known, step } from "./builders.ts";

function problems(spec: PipelineSpec, processors: ReadonlyMap<string, KnownProcessor> = known()) {
  const check = checkPipeline("article", spec, processors, new SchemaCompiler());
  return check.ok ? [] : check.problems;
}

function compiled(spec: PipelineSpec, processors: ReadonlyMap<string, KnownProcessor> = known()): CompiledPipeline {
  const check = checkPipeline("article", spec, processors, new SchemaCompiler());
  if (check.ok) return check.pipeline;
  throw new Error(check.problems.map(({ message }) => message).join("\n"));
}

const options = (type: string) =>
  ({ type: "object", properties: { top: { type } }, additionalProperties: false }) as const;

describe("the check of a Pipeline", () => {
  it("refuses schemas that are too large together, before it compiles one", () => {
    const schema = { description: "x".repeat(20_000), type: "strng" };
    const parameters = ["a", "b", "c", "d"].map((name) => ({ name, schema }));
    const found = problems({ ...apiSpec([step("a")]), parameters });
    expect(found.map(({ path, reason }) => `${path} ${reason}`)).to.deep.equal(["parameters InvalidParameter"]);
    expect(found[0]?.message).to.contain("65536");
  });

  it("finds nothing wrong with what is right", () => {
    expect(problems(apiSpec([step("a", { options: { top: 1 } })]), known(options("integer")))).to.deep.equal([]);
  });

  const rows: readonly [string, PipelineSpec, ReadonlyMap<string, KnownProcessor>, string, string][] = [
    [
      "an option of a wrong type",
      apiSpec([step("a", { options: { top: "x" } })]),
      known(options("integer")),
      "InvalidOptions",
      "steps[0].options.top",
    ],
    [
      "an option that nobody knows",
      apiSpec([step("a", { options: { tpo: 1 } })]),
      known(options("integer")),
      "InvalidOptions",
      "steps[0].options.tpo",
    ],
    [
      "an option of the Processor's own that does not fit",
      apiSpec([step("a")]),
      known(options("integer"), { top: "x" }),
      "InvalidOptions",
      "steps[0].options.top",
    ],
    [
      "a schema of options that is none",
      apiSpec([step("a")]),
      known({ type: "strng" }),
      "InvalidOptions",
      "steps[0].options",
    ],
    [
      "a parameter's default that does not fit its schema",
      apiSpec([step("a")], { parameters: [{ name: "top", schema: { type: "integer" }, default: "ten" }] }),
      known(),
      "InvalidParameter",
      "parameters[0].default",
    ],
    [
      "a parameter's schema that refers to another host",
      apiSpec([step("a")], { parameters: [{ name: "top", schema: { $ref: "https://example.com" } }] }),
      known(),
      "InvalidParameter",
      "parameters[0].schema.$ref",
    ],
    [
      "a schema of the input that is none",
      apiSpec([step("a")], { input: { maxSize: "4Mi", schema: { type: "strng" } } }),
      known(),
      "InvalidInputSchema",
      "input.schema",
    ],
    [
      "a Processor that does not exist",
      apiSpec([step("a", { processor: "none" })]),
      known(),
      "ProcessorNotFound",
      "steps[0].processor",
    ],
    [
      "an expression that does not parse",
      apiSpec([step("a", { when: "size(" })]),
      known(),
      "InvalidExpression",
      "steps[0].when",
    ],
  ];
  for (const [what, spec, processors, reason, path] of rows) {
    it(`tells ${what} with its path and its mend`, () => {
      const [first] = problems(spec, processors);
      expect(first).to.include({ reason, path });
      expect(first?.mend).to.match(/\.$/);
    });
  }

  it("tells all problems, the engine's and the schemas'", () => {
    const spec = apiSpec([step("a", { when: "size(", options: { top: "x" } })], {
      parameters: [{ name: "n", schema: { type: "integer" }, default: "ten" }],
    });
    expect(problems(spec, known(options("integer"))).map(({ reason }) => reason)).to.deep.equal([
      "InvalidExpression",
      "InvalidParameter",
      "InvalidOptions",
    ]);
  });

  it("checks a null that is a default, and requires what has none", () => {
    const schema = { type: "integer" };
    expect(problems(apiSpec([step("a")], { parameters: [{ name: "n", schema, default: null }] }))).to.have.length(1);
    expect(problems(apiSpec([step("a")], { parameters: [{ name: "n", schema }] }))).to.have.length(0);
    expect(
      pipelineDefinition("article", apiSpec([step("a")], { parameters: [{ name: "n", default: null }] })).parameters,
    ).to.deep.equal([{ name: "n", default: null }]);
  });

  it("says whether it needs a compiler of schemas, and fails loudly without one that it needs", () => {
    expect(usesSchemas(apiSpec([step("a")]), known())).to.equal(false);
    expect(usesSchemas(apiSpec([step("a")]), known({}))).to.equal(true);
    expect(usesSchemas(apiSpec([step("a")], { parameters: [{ name: "n", schema: {} }] }), known())).to.equal(true);
    expect(checkPipeline("article", apiSpec([step("a")]), known(), undefined).ok).to.equal(true);
    expect(() => checkPipeline("article", apiSpec([step("a")]), known({}), undefined)).to.throw(MillraceError);
  });
});

describe("a compiled Pipeline", () => {
  it("checks the parameters and the input of a run", () => {
    const schema = { type: "object", required: ["pages"] };
    const pipeline = compiled(
      apiSpec([step("a")], {
        parameters: [{ name: "top", schema: { type: "integer", minimum: 1 } }],
        input: { maxSize: "1Ki", schema },
      }),
    );
    expect(pipeline.checkParameters({ top: 3 })).to.deep.equal([]);
    expect(pipeline.checkParameters({ top: 0 })[0]).to.include({ path: "parameters.top" });
    expect(pipeline.checkInput?.({ pages: [] })).to.deep.equal([]);
    expect(pipeline.checkInput?.({})[0]).to.include({ path: "input.pages" });
    expect(pipeline.maxInputBytes).to.equal(1_024);
  });

  it("has no check of the input, and no ttl, where the Pipeline has none", () => {
    expect(compiled(apiSpec([step("a")]))).not.to.have.any.keys("checkInput", "ttlSecondsAfterFinished");
    expect(compiled(apiSpec([step("a")], { ttlSecondsAfterFinished: 0 }))).to.include({ ttlSecondsAfterFinished: 0 });
  });

  it("compiles to the same Plan again from its closure, which is JSON", () => {
    const pipeline = compiled(
      apiSpec(
        [
          step("a", { timeout: "1m", retry: { limit: 3, backoff: { initial: "1s" } } }),
          step("b", { dependsOn: ["a"] }),
        ],
        {
          timeout: "5m",
          parameters: [{ name: "top", default: null }],
        },
      ),
    );
    const again = compileClosure(JSON.parse(JSON.stringify(pipeline.closure)), undefined);
    expect(again.ok && JSON.stringify(again.pipeline.plan)).to.equal(JSON.stringify(pipeline.plan));
    expect(pipeline.plan.steps[0]).to.deep.include({ timeoutMs: 60_000 });
    expect(pipeline.plan.steps[0]?.retry).to.deep.include({ limit: 3 });
    expect(pipeline.plan.steps[0]?.retry.backoff).to.deep.equal({
      initialMs: 1_000,
      factor: 2,
      maxMs: 10_000,
      jitterPercent: 20,
    });
    expect(pipeline.plan.timeoutMs).to.equal(300_000);
  });
});
