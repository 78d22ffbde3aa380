import { expect } from "chai";
import { bindParameters, executionInput, maxExpressionsLength } from "../../../engine/compile/compile.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { facts, pipeline, planOf, problemsOf, processors, step } from "../../support/pipelines.ts";

const analyze = (name: string, dependsOn: readonly string[] = [], more = {}) =>
  step(name, dependsOn, { processor: "analyze", ...more });

describe("compile: what a step receives", () => {
  it("gives a step without dependencies the Execution's input", () => {
    expect(planOf(pipeline([step("a")])).steps[0]?.origin).to.equal(executionInput);
  });

  it("looks through Analyze steps, and counts equal origins once", () => {
    const plan = planOf(pipeline([step("a"), analyze("x", ["a"]), analyze("y", ["x"]), step("b", ["a", "x", "y"])]));
    expect(plan.steps[3]?.origin).to.equal(0);
  });

  it("refuses several origins unless `input` says which", () => {
    const steps = [step("a"), step("b"), analyze("x", ["b"])];
    const [problem] = problemsOf(pipeline([...steps, step("c", ["a", "x"])]));
    expect(problem).to.include({ path: "steps[3]", reason: "AmbiguousPayload" });
    expect(problem?.message).to.contain("that of a, that of b");
    planOf(pipeline([...steps, step("c", ["a", "x"], { input: "steps.a.output" })]));
  });

  it("takes an Analyze step with an input of its own as an origin", () => {
    const plan = planOf(pipeline([step("a"), analyze("x", ["a"], { input: "'other'" }), step("b", ["x"])]));
    expect(plan.steps[2]?.origin).to.equal(1);
  });

  it("resolves the output through an Analyze sink, and refuses several", () => {
    expect(planOf(pipeline([step("a"), analyze("x", ["a"]), analyze("y", ["a"])])).outputOrigin).to.equal(0);
    expect(planOf(pipeline([analyze("x")])).outputOrigin).to.equal(executionInput);
    const [problem] = problemsOf(pipeline([step("a"), step("b")]));
    expect(problem).to.include({ path: "output", reason: "AmbiguousOutput" });
    planOf(pipeline([step("a"), step("b")], { output: "steps.b.output" }));
  });
});

describe("compile: options, timeouts, retries", () => {
  const known = new Map([["p", facts("p", { options: { a: 1, b: 1 }, timeoutMs: 5_000 })]]);

  it("inherits from the Processor field by field", () => {
    const own = { options: { b: 2 }, retry: { backoff: { factor: 3 } } };
    const plan = planOf(pipeline([step("s", [], { processor: "p", ...own })]), known);
    const [planned] = plan.steps;
    expect(planned?.options).to.deep.equal({ a: 1, b: 2 });
    expect(planned?.timeoutMs).to.equal(5_000);
    expect(planned?.retry).to.deep.equal({
      ...facts("p").retry,
      backoff: { initialMs: 100, factor: 3, maxMs: 10_000, jitterPercent: 20 },
    });
  });

  it("refuses options that are too large together", () => {
    const [problem] = problemsOf(
      pipeline([step("s", [], { processor: "p", options: { x: "x".repeat(5_000) } })]),
      known,
    );
    expect(problem).to.include({ path: "steps[0].options", reason: "OptionsTooLarge" });
  });
});

describe("compile: problems", () => {
  it("gives all of them, each with its path, reason and mend", () => {
    const problems = problemsOf(
      pipeline(
        [
          step("a", [], { processor: "tranform" }),
          step("b", ["a"], { when: "1 + 1" }),
          step("c", ["a"], { input: "steps.b.output" }),
        ],
        {
          output: "steps.d.output",
          parameters: [{ name: "p" }, { name: "p" }],
        },
      ),
    );
    expect(problems.map(({ path, reason }) => `${path} ${reason}`)).to.deep.equal([
      "parameters[1].name InvalidParameter",
      "steps[0].processor ProcessorNotFound",
      "steps[1].when InvalidExpression",
      "steps[2].input InvalidExpression",
      "output InvalidExpression",
    ]);
    expect(problems[1]?.mend).to.contain("transform");
    expect(problems[3]?.mend).to.equal("Add b to dependsOn.");
  });

  it("prints a cycle, a missing step and a duplicate", () => {
    const problems = problemsOf(
      pipeline([step("a", ["c"]), step("b", ["a"]), step("c", ["b"]), step("d", ["bb"], { when: "nope" }), step("d")]),
    );
    expect(problems.map(({ path, reason }) => `${path} ${reason}`)).to.deep.equal([
      "steps[4].name DuplicateStep",
      "steps[3].dependsOn[0] StepNotFound",
      "steps[0].dependsOn Cycle",
      "steps[3].when InvalidExpression",
    ]);
    expect(problems[2]?.message).to.contain("a → c → b → a");
    expect(problems[1]?.mend).to.equal("Write b.");
  });

  it("measures the graph", () => {
    expect(
      planOf(pipeline([step("a"), step("b", ["a"]), step("c", ["a"])], { output: "steps.b.output" })).graph,
    ).to.deep.equal({ steps: 3, levels: 2, width: 2 });
  });

  it("shows a caller's Processors only by name", () => {
    expect(problemsOf(pipeline([step("a", [], { processor: "__proto__" })]), processors)[0]?.reason).to.equal(
      "ProcessorNotFound",
    );
  });
});

describe("bindParameters", () => {
  const plan = planOf(
    pipeline([step("a")], {
      parameters: [{ name: "language", default: "en" }, { name: "top" }, { name: "none", default: null }],
    }),
  );

  it("fills in defaults, null too", () => {
    expect(bindParameters(plan, { top: 3 })).to.deep.equal({ language: "en", top: 3, none: null });
    expect(bindParameters(plan, { top: null, language: "de" })).to.deep.equal({
      language: "de",
      top: null,
      none: null,
    });
  });

  it("names all that is wrong", () => {
    expect(() => bindParameters(plan, { langage: "de" })).to.throw(
      /no parameter named langage.*needs the parameter top/,
    );
  });

  it("refuses a missing and an unknown one by name", () => {
    expect(() => bindParameters(plan, {})).to.throw(MillraceError, "needs the parameter top");
    expect(() => bindParameters(plan, { top: 1, langage: "de" })).to.throw(MillraceError, "did you mean language?");
  });
});

describe("compile: what a large Pipeline may take", () => {
  const many = (count: number, when: (index: number) => string) =>
    pipeline(
      Array.from({ length: count }, (_, index) => step(`s${index}`, [], { when: when(index) })),
      { output: "input" },
    );

  it("refuses a Pipeline whose patterns together are too large", () => {
    const problems = problemsOf(many(1_000, (index) => `'a'.matches('(a{1,30}){1,30}${index}')`));
    expect(problems).to.have.length(20);
    expect(problems[0]).to.include({ path: "steps[10].when", reason: "InvalidExpression" });
    expect(problems[0]?.message).to.contain("20000 instructions");
  });

  it("takes the same pattern in each of a thousand steps", () => {
    planOf(many(1_000, () => "'a'.matches('(a{1,30}){1,30}')"));
  });

  it("refuses expressions that are too long together, once and unread", () => {
    const problems = problemsOf(many(1_000, () => `${"x".repeat(140)} + (`));
    expect(problems.map(({ path, reason }) => `${path} ${reason}`)).to.deep.equal(["steps InvalidExpression"]);
    expect(problems[0]?.message).to.contain(`${maxExpressionsLength}`);
  });

  it("tells the first twenty expressions and missing steps that are wrong, and five faults of each", () => {
    expect(problemsOf(many(30, () => Array(9).fill("steps.no.output").join("+")))).to.have.length(20 * 5);
    const missing = Array.from({ length: 30 }, (_, index) => step(`s${index}`, ["no"]));
    expect(problemsOf(pipeline(missing, { output: "input" }))).to.have.length(20);
  });

  it("names every Processor that does not exist, however many", () => {
    const steps = Array.from({ length: 30 }, (_, index) => step(`s${index}`, [], { processor: `no-${index}` }));
    expect(problemsOf(pipeline(steps, { output: "input" }))).to.have.length(30);
  });
});
