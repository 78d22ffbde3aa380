import { expect } from "chai";
import type { PipelineSpec } from "../../../controller/api/types.ts";
import { checkPipeline, compileClosure, usesSchemas } from "../../../controller/pipeline/check.ts";
import { pipelineDefinition } from "../../../controller/pipeline/definition.ts";
import { resolveNames } from "../../../controller/pipeline/named.ts";
import { MillraceError } from "../../../engine/errors.ts";
import type { Problem, ProcessorFacts } from "../../../engine/pipeline.ts";
import { facts } from "../../support/pipelines.ts";
import { apiSpec, check, compiled, known, step, words } from "./builders.ts";

function problems(...given: Parameters<typeof check>): readonly Problem[] {
  const result = check(...given);
  return result.ok ? [] : result.problems;
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
    expect(problems(apiSpec([step("a", { options: { top: 1 } })]), {}, [words(options("integer"))])).to.deep.equal([]);
  });

  const rows: readonly [string, PipelineSpec, readonly ProcessorFacts[], string, string][] = [
    [
      "an option of a wrong type",
      apiSpec([step("a", { options: { top: "x" } })]),
      [words(options("integer"))],
      "InvalidOptions",
      "steps[0].options.top",
    ],
    [
      "an option that nobody knows",
      apiSpec([step("a", { options: { tpo: 1 } })]),
      [words(options("integer"))],
      "InvalidOptions",
      "steps[0].options.tpo",
    ],
    [
      "an option of the Processor's own that does not fit",
      apiSpec([step("a")]),
      [words(options("integer"), { top: "x" })],
      "InvalidOptions",
      "steps[0].options.top",
    ],
    [
      "a schema of options that is none",
      apiSpec([step("a")]),
      [words({ type: "strng" })],
      "InvalidOptions",
      "steps[0].options",
    ],
    [
      "a parameter's default that does not fit its schema",
      apiSpec([step("a")], { parameters: [{ name: "top", schema: { type: "integer" }, default: "ten" }] }),
      [words()],
      "InvalidParameter",
      "parameters[0].default",
    ],
    [
      "a parameter's schema that refers to another host",
      apiSpec([step("a")], { parameters: [{ name: "top", schema: { $ref: "https://example.com" } }] }),
      [words()],
      "InvalidParameter",
      "parameters[0].schema.$ref",
    ],
    [
      "a schema of the input that is none",
      apiSpec([step("a")], { input: { maxSize: "4Mi", schema: { type: "strng" } } }),
      [words()],
      "InvalidInputSchema",
      "input.schema",
    ],
    [
      "a Processor that does not exist",
      apiSpec([step("a", { processor: "none" })]),
      [words()],
      "ProcessorNotFound",
      "steps[0].processor",
    ],
    [
      "an expression that does not parse",
      apiSpec([step("a", { when: "size(" })]),
      [words()],
      "InvalidExpression",
      "steps[0].when",
    ],
  ];
  for (const [what, spec, processors, reason, path] of rows) {
    it(`tells ${what} with its path and its mend`, () => {
      const [first] = problems(spec, {}, processors);
      expect(first).to.include({ reason, path });
      expect(first?.mend).to.match(/\.$/);
    });
  }

  it("tells all problems, the engine's and the schemas'", () => {
    const spec = apiSpec([step("a", { when: "size(", options: { top: "x" } })], {
      parameters: [{ name: "n", schema: { type: "integer" }, default: "ten" }],
    });
    expect(problems(spec, {}, [words(options("integer"))]).map(({ reason }) => reason)).to.deep.equal([
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
    const uses = (spec: PipelineSpec, processor = words(), nested: Record<string, PipelineSpec> = {}) =>
      usesSchemas(spec, known(spec, nested, [processor]));
    const one = apiSpec([step("a")]);
    const withSchema = apiSpec([step("a")], { parameters: [{ name: "n", schema: {} }] });
    expect(uses(one)).to.equal(false);
    expect(uses(one, words({}))).to.equal(true);
    expect(uses(withSchema)).to.equal(true);
    expect(uses(apiSpec([brings("b")]), words(), { b: one })).to.equal(false);
    expect(uses(apiSpec([brings("b")]), words(), { b: withSchema })).to.equal(true);
    expect(uses(apiSpec([step("a", { optionsExpression: "{}" })]), words(options("integer")))).to.equal(true);
    expect(uses({ ...one, finally: [{ name: "z", processor: "words" }] }, words({}))).to.equal(true);
    expect(checkPipeline("article", one, known(one), undefined).ok).to.equal(true);
    expect(() => checkPipeline("article", one, known(one, {}, [words({})]), undefined)).to.throw(MillraceError);
  });

  it("checks the options of `finally` as those of all others", () => {
    const spec = apiSpec([step("a")], { finally: [{ name: "z", processor: "words", options: { top: "x" } }] });
    const [first] = problems(spec, {}, [words(options("integer"))]);
    expect(first).to.include({ reason: "InvalidOptions", path: "finally[0].options.top" });
  });

  it("leaves options that an expression adds to until the step runs, when all of them are checked", () => {
    const schema = { ...options("integer"), required: ["top"] };
    const spec = (optionsExpression: string) => apiSpec([step("a", { options: { top: "x" }, optionsExpression })]);
    const { plan } = compiled(spec("{'top': 3}"), {}, [words(schema)]);
    expect(plan.steps[0]?.checkOptions?.({ top: 3 })).to.equal(undefined);
    expect(plan.steps[0]?.checkOptions?.({ top: "x" })).to.match(/top is not of type integer: give/);
    expect(plan.steps[0]?.checkOptions?.({})).to.contain("top");
    expect(problems(spec("{"), {}, [words(schema)]).map(({ reason }) => reason)).to.deep.equal(["InvalidExpression"]);
    const refused = problems(spec("{}"), {}, [words({ type: "strng" })]);
    expect(refused.map(({ path, reason }) => `${path} ${reason}`)).to.deep.equal(["steps[0].options InvalidOptions"]);
  });
});

const brings = (pipeline: string, more = {}) => ({ name: `get-${pipeline}`, pipeline, ...more });

describe("the check of a Pipeline that brings others in", () => {
  const inner = apiSpec([step("x")]);

  it("compiles them into one Plan, with all Processors that they call", () => {
    const innermost = apiSpec([step("y", { processor: "other" })]);
    const pipelines = { b: apiSpec([step("x"), brings("c", { dependsOn: ["x"] })]), c: innermost };
    const { plan, processors } = compiled(apiSpec([step("a"), brings("b", { dependsOn: ["a"] })]), pipelines, [
      words(),
      facts("other"),
    ]);
    const rows = plan.steps.filter(({ kind }) => kind !== "Enter").map(({ name }) => name);
    expect(rows).to.deep.equal(["a", "get-b/x", "get-b/get-c/y", "get-b/get-c", "get-b"]);
    expect(processors).to.deep.equal(["other", "words"]);
  });

  const refusals: readonly [string, PipelineSpec, Record<string, PipelineSpec>, string, string, RegExp][] = [
    [
      "a Pipeline that does not exist",
      apiSpec([step("a"), brings("b", { dependsOn: ["a"] })]),
      {},
      "PipelineNotFound",
      "steps[1].pipeline",
      /Pipeline b, which does not exist/,
    ],
    [
      "one that does not exist, named by one that does",
      apiSpec([brings("b")]),
      { b: apiSpec([brings("c")]) },
      "PipelineNotFound",
      "steps[0].pipeline",
      /Pipeline b, where steps\[0\]\.pipeline .*Pipeline c, which does not exist/,
    ],
    [
      "a Processor that does not exist, named by it",
      apiSpec([brings("b")]),
      { b: apiSpec([step("x", { processor: "none" })]) },
      "ProcessorNotFound",
      "steps[0].pipeline",
      /Pipeline b, where steps\[0\]\.processor .*Processor none, which does not exist/,
    ],
    [
      "a circle, with its path",
      apiSpec([brings("b")]),
      { b: apiSpec([brings("article")]), article: apiSpec([brings("b")]) },
      "PipelineRecursion",
      "steps[0].pipeline",
      /article → b → article/,
    ],
    [
      "an expression of it that is wrong",
      apiSpec([brings("b")]),
      { b: apiSpec([step("x", { when: "size(" })]) },
      "InvalidPipeline",
      "steps[0].pipeline",
      /Pipeline b, where steps\[0\]\.when is wrong/,
    ],
    [
      "options in it that a schema refuses, however deep",
      apiSpec([step("a"), brings("b", { dependsOn: ["a"] })]),
      { b: apiSpec([brings("c")]), c: apiSpec([step("x", { options: { top: "x" } })]) },
      "InvalidPipeline",
      "steps[1].pipeline",
      /Step get-b .*Pipeline c, where steps\[0\]\.options\.top is wrong: .*integer/,
    ],
    [
      "a parameter of it whose default does not fit its schema",
      apiSpec([brings("b")]),
      { b: { ...inner, parameters: [{ name: "n", schema: { type: "integer" }, default: "ten" }] } },
      "InvalidPipeline",
      "steps[0].pipeline",
      /parameters\[0\]\.default/,
    ],
    [
      "a parameter that it does not take",
      apiSpec([brings("b", { parameters: [{ name: "lagn", value: "'de'" }] })]),
      { b: { ...inner, parameters: [{ name: "lang", default: "en" }] } },
      "InvalidParameter",
      "steps[0].parameters[0].name",
      /no parameter named lagn/,
    ],
    [
      "one that needs a parameter and gets none",
      apiSpec([brings("b")]),
      { b: { ...inner, parameters: [{ name: "lang" }] } },
      "InvalidParameter",
      "steps[0].parameters",
      /does not give the parameter lang/,
    ],
    [
      "one with `finally`",
      apiSpec([brings("b")]),
      { b: { ...inner, finally: [{ name: "z", processor: "words" }] } },
      "InvalidPipeline",
      "steps[0].pipeline",
      /finally/,
    ],
    [
      "one without one output",
      apiSpec([brings("b")]),
      { b: apiSpec([step("x"), step("y")]) },
      "InvalidPipeline",
      "steps[0].pipeline",
      /where output is wrong/,
    ],
  ];
  for (const [what, spec, pipelines, reason, path, message] of refusals) {
    it(`tells ${what}, at the step that names it, with a mend`, () => {
      const found = problems(spec, pipelines, [words(options("integer"))]);
      expect(found.map((problem) => `${problem.path} ${problem.reason}`)).to.deep.equal([`${path} ${reason}`]);
      expect(found[0]?.message).to.match(message);
      expect(found[0]?.mend).to.match(/\.$/);
    });
  }

  it("bounds the schemas of all of them together", () => {
    const schema = { description: "x".repeat(20_000), type: "strng" };
    const large = { ...inner, parameters: ["a", "b"].map((name) => ({ name, schema, default: 1 })) };
    const spec = apiSpec([brings("b"), brings("c")], { output: "1", input: { maxSize: "4Mi", schema: {} } });
    const found = problems(spec, { b: large, c: large });
    expect(found.map(({ path, reason }) => `${path} ${reason}`)).to.deep.equal(["parameters InvalidParameter"]);
    expect(found[0]?.message).to.contain("65536").and.to.contain("that it brings in");
  });

  it("bounds the steps of all of them together, and looks for no more than it may have", () => {
    let looked = 0;
    const naming = (count: number, prefix: string) =>
      apiSpec(
        Array.from({ length: count }, (_, index) => brings(`${prefix}-${index}`)),
        { output: "1" },
      );
    const spec = naming(1_000, "p");
    const resolved = resolveNames(spec, (name) => {
      looked += 1;
      return name.split("-").length > 3 ? undefined : naming(10, name);
    });
    const result = checkPipeline("article", spec, { ...known(spec), resolved }, undefined);
    expect(result.ok ? [] : result.problems.map(({ path, reason }) => `${path} ${reason}`)).to.deep.equal([
      "steps TooManySteps",
    ]);
    expect(looked).to.be.within(1_000, 1_100);
  });

  it("tells what is wrong with a member of a circle once", () => {
    const article = apiSpec([step("a", { options: { top: "x" } }), brings("b")], { output: "1" });
    const found = problems(article, { b: apiSpec([brings("article")]), article }, [words(options("integer"))]);
    expect(found.map(({ reason }) => reason)).to.have.members(["PipelineRecursion", "InvalidOptions"]);
  });

  it("refuses what no revision could hold", () => {
    const long = (name: string) => step(name, { options: { text: "x".repeat(4_000) } });
    const large = apiSpec(
      Array.from({ length: 200 }, (_, index) => long(`s${index}`)),
      { output: "1" },
    );
    const spec = apiSpec([brings("b"), brings("c")], { output: "1" });
    expect(problems(spec, { b: large, c: inner })).to.deep.equal([]);
    const [first, ...others] = problems(spec, { b: large, c: large });
    expect(others).to.deep.equal([]);
    expect(first).to.include({ path: "steps", reason: "InvalidPipeline" });
    expect(first?.message).to.contain("1400000");
  });

  it("lets an Execution's own Pipeline bring in one that is called as the Execution is", () => {
    const inline = apiSpec([{ name: "run", pipeline: "article" }]);
    const given = { ...known(inline, { article: inner }), isInline: true };
    const result = checkPipeline("article", inline, given, undefined);
    expect(result.ok && result.pipeline.plan.steps.map(({ name }) => name)).to.deep.equal(["run", "run/x", "run"]);
    expect(result.ok && compileClosure(result.pipeline.closure, undefined).ok).to.equal(true);
    expect(problems(inline, { article: inner }).map(({ reason }) => reason)).to.deep.equal(["PipelineRecursion"]);
  });

  it("checks what it is given when it runs: the schemas of its parameters and of its input", () => {
    const b: PipelineSpec = {
      ...inner,
      input: { maxSize: "4Mi", schema: { type: "object", required: ["pages"] } },
      parameters: [{ name: "n", schema: { type: "integer" } }],
    };
    const spec = apiSpec([brings("b", { parameters: [{ name: "n", value: "input" }] })]);
    const enter = compiled(spec, { b }).plan.steps[0]?.enter;
    expect(enter?.checkParameters?.({ n: 1 })).to.equal(undefined);
    expect(enter?.checkParameters?.({ n: "1" })).to.match(/^parameters\.n: .*integer/);
    expect(enter?.checkInput?.({ pages: 1 })).to.equal(undefined);
    expect(enter?.checkInput?.({})).to.contain("pages");
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

  it("says how many of its Executions run at once, and how many stay", () => {
    const concurrency = { limit: 2, policy: "Queue", queueTimeout: "1h" } as const;
    const historyLimit = { succeeded: 3 };
    expect(compiled(apiSpec([step("a")], { concurrency, historyLimit }))).to.deep.include({
      concurrency: { limit: 2, policy: "Queue", queueTimeoutMs: 3_600_000 },
      historyLimit,
    });
    expect(compiled(apiSpec([step("a")]))).not.to.have.any.keys("concurrency", "historyLimit");
  });

  it("takes over every field that the engine is to know", () => {
    const retry = { limit: 2, codes: ["Unavailable"], backoff: { initial: "1s" } } as const;
    const { plan } = compiled(
      apiSpec(
        [
          step("a", { cache: { maxAge: "1h", key: "input.digest" }, onFailure: "Ignore" }),
          step("b", {
            dependsOn: ["a"],
            forEach: "[1, 2]",
            maxParallel: 2,
            when: "true",
            input: "item",
            optionsExpression: "{'n': index}",
            timeout: "2m",
            retry,
          }),
        ],
        {
          strategy: "Hybrid",
          failurePolicy: "BestEffort",
          finallyTimeout: "30s",
          finally: [{ name: "z", processor: "words" }],
          outputs: [{ name: "first", value: "steps.a.output" }],
        },
      ),
    );
    expect(plan).to.include({
      strategy: "Hybrid",
      failurePolicy: "BestEffort",
      finallyTimeoutMs: 30_000,
      finallyFrom: 2,
    });
    expect(plan.outputs.map(({ name }) => name)).to.deep.equal(["first"]);
    const [a, b, z] = plan.steps;
    expect(a).to.include({ ignoresFailure: true });
    expect(a?.cache?.maxAgeMs).to.equal(3_600_000);
    expect(a?.cache?.key?.source).to.equal("input.digest");
    expect(b).to.include({ maxParallel: 2, timeoutMs: 120_000, ignoresFailure: false });
    expect(b?.retry).to.deep.include({ limit: 2, codes: ["Unavailable"] });
    const sources = [b?.when, b?.forEach, b?.input, b?.optionsExpression].map((expression) => expression?.source);
    expect(sources).to.deep.equal(["true", "[1, 2]", "item", "{'n': index}"]);
    expect(z).to.include({ name: "z", processor: "words" });
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
