import { expect } from "chai";
import { compile, executionInput } from "../../../engine/compile/compile.ts";
import { facts, pipeline, planOf, problemsOf, processors, step } from "../../support/pipelines.ts";

const analyze = { processor: "analyze" };

describe("compile: fan-outs", () => {
  it("asks for no input: each item is what a run of the step receives", () => {
    const plan = planOf(
      pipeline([step("a"), step("b"), step("each", ["a", "b"], { forEach: "steps.a.output.pages", maxParallel: 4 })]),
    );
    expect(plan.steps[2]).to.include({ maxParallel: 4, input: undefined });
    expect(plan.steps[2]?.reads).to.deep.equal([0]);
    expect(plan.steps[0]).to.include({ maxParallel: 16, forEach: undefined, ignoresFailure: false });
  });

  it("knows item and index in input, optionsExpression and cache.key, and nowhere else", () => {
    const more = {
      forEach: "input.pages",
      input: "{'page': item, 'of': size(input.pages)}",
      optionsExpression: "{'number': index + 1}",
      cache: { maxAgeMs: 1_000, key: "item.url + string(index) + input.digest" },
    };
    const [planned] = planOf(pipeline([step("each", [], more)])).steps;
    expect(
      planned?.optionsExpression?.evaluate({
        input: null,
        parameters: null,
        steps: null,
        execution: null,
        item: null,
        index: 4n,
      }),
    ).to.deep.equal(new Map([["number", 5n]]));
    expect(planned?.cache).to.include({ maxAgeMs: 1_000 });
    for (const field of ["when", "forEach"]) {
      const [problem] = problemsOf(pipeline([step("each", [], { ...more, [field]: "item.ok" })]));
      expect(problem).to.include({ path: `steps[0].${field}`, reason: "InvalidExpression" });
      expect(problem?.message).to.contain(`item is not known in steps[0].${field}`);
      expect(problem?.mend).to.contain("forEach");
    }
    expect(problemsOf(pipeline([step("one", [], { input: "index" })]))[0]?.message).to.contain("index is not known");
  });

  it("lets a loop bind item where it is no variable, and refuses it where it is one", () => {
    planOf(pipeline([step("one", [], { input: "input.map(item, item + 1)" })]));
    planOf(pipeline([step("each", [], { forEach: "input.filter(item, item > 1)" })]));
    const [problem] = problemsOf(pipeline([step("each", [], { forEach: "input", input: "input.map(item, item)" })]));
    expect(problem?.message).to.contain("item is a variable of the expressions of a step with forEach");
    expect(problem?.mend).to.equal("Choose another name.");
  });

  it("refuses a list that is none, and items for a Processor that analyzes", () => {
    expect(problemsOf(pipeline([step("each", [], { forEach: "'pages'" })]))[0]?.message).to.contain("it gives string");
    const [problem] = problemsOf(pipeline([step("each", [], { ...analyze, forEach: "input" })]));
    expect(problem).to.include({ path: "steps[0].forEach", reason: "InvalidStep" });
    expect(problem?.mend).to.contain("Transform");
  });
});

describe("compile: a step's own fields", () => {
  const once = new Map([
    [
      "once",
      facts("once", {
        delivery: "AtMostOnce",
        lane: "RPC",
        budgetPercent: 5,
        retry: { ...facts("x").retry, limit: 0 },
      }),
    ],
  ]);

  it("takes delivery, lane and budget from the Processor", () => {
    const [planned] = planOf(pipeline([step("a", [], { processor: "once" })]), once).steps;
    expect(planned).to.include({ delivery: "AtMostOnce", lane: "RPC", budgetPercent: 5 });
    expect(planned?.retry.limit).to.equal(0);
  });

  it("refuses retries of what is to be called at most once", () => {
    planOf(pipeline([step("a", [], { processor: "once", retry: { limit: 0 } })]), once);
    const [problem] = problemsOf(pipeline([step("a", [], { processor: "once", retry: { limit: 2 } })]), once);
    expect(problem).to.include({ path: "steps[0].retry.limit", reason: "InvalidStep" });
    expect(problem?.mend).to.contain("AtLeastOnce");
  });

  it("refuses a step that names no Processor and no Pipeline", () => {
    const { processor: _, ...neither } = step("a");
    expect(problemsOf(pipeline([neither]))[0]).to.include({ path: "steps[0]", reason: "InvalidStep" });
  });

  it("refuses options that are no map, and checks them by the Processor's schema where an expression gives them", () => {
    expect(problemsOf(pipeline([step("a", [], { optionsExpression: "[1]" })]))[0]?.message).to.contain(
      "it gives list<int>",
    );
    const known = new Map([["p", facts("p", { optionsSchema: { type: "object", required: ["width"] } })]]);
    const definition = pipeline([
      step("a", [], { processor: "p", optionsExpression: "{'width': input.width}" }),
      step("b", ["a"], { processor: "p" }),
    ]);
    const result = compile(definition, {
      processors: known,
      pipelines: new Map(),
      compileSchema: () => (value) => (Object.keys(value as object).length > 0 ? undefined : "width is missing"),
    });
    if (!result.ok) throw new Error(JSON.stringify(result.problems));
    expect(result.plan.steps.map(({ checkOptions }) => checkOptions?.({}))).to.deep.equal([
      "width is missing",
      undefined,
    ]);
  });

  it("shows a cache's key what the step receives, decoded only if it is named", () => {
    const keyOf = (key: string) =>
      planOf(pipeline([step("a", [], { cache: { maxAgeMs: 1, key } })])).steps[0]?.cache?.key;
    expect(keyOf("input.digest + input.contentType")).to.deep.include({ readsInputValue: false, payloads: [] });
    expect(keyOf("input.value.id")?.readsInputValue).to.equal(true);
    expect(keyOf("string(input[execution.name])")?.readsInputValue).to.equal(true);
    expect(planOf(pipeline([step("a", [], { input: "input.value" })])).steps[0]?.input).to.deep.include({
      readsInputValue: false,
      payloads: [executionInput],
    });
    const [problem] = problemsOf(pipeline([step("a", [], { cache: { maxAgeMs: 1, key: "input.id" } })]));
    expect(problem).to.include({ path: "steps[0].cache.key", reason: "InvalidExpression" });
    expect(problem?.mend).to.contain("digest, contentType, size, value");
    expect(problemsOf(pipeline([step("a", [], { cache: { maxAgeMs: 1, key: "1" } })]))[0]?.mend).to.contain("a string");
  });

  it("says when what an expression gives is of the wrong kind in a run", () => {
    const [planned] = planOf(
      pipeline([step("a", [], { forEach: "input", optionsExpression: "item", cache: { maxAgeMs: 1, key: "item" } })]),
    ).steps;
    const variables = { input: 1n, parameters: null, steps: null, execution: null, item: 1n, index: 0n };
    expect(() => planned?.forEach?.evaluate(variables)).to.throw("steps[0].forEach gave an int; it must give a list");
    expect(() => planned?.optionsExpression?.evaluate(variables)).to.throw("it must give a map");
    expect(() => planned?.cache?.key?.evaluate(variables)).to.throw("it must give a string");
  });
});

describe("compile: finally", () => {
  const more = {
    finally: [
      step("sweep", [], { input: "steps.b.output.page", when: "execution.state == 'Failed'" }),
      step("tell", ["sweep"]),
    ],
  };
  const plan = planOf(pipeline([step("a"), step("b", ["a"])], more));

  it("comes last, a graph of its own", () => {
    expect(plan.finallyFrom).to.equal(2);
    expect(plan.order).to.deep.equal([0, 1, 2, 3]);
    expect(plan.steps.map(({ dependencies }) => dependencies)).to.deep.equal([[], [0], [], [2]]);
    expect(plan.steps[3]?.origin).to.equal(2);
    expect(plan.steps[2]?.reads).to.deep.equal([1]);
    expect(plan.graph).to.deep.equal({ steps: 2, levels: 2, width: 1 });
    expect(plan.outputOrigin).to.equal(1);
    expect(plan.finallyTimeoutMs).to.equal(60_000);
  });

  it("sees all of `steps`, and of itself what comes before", () => {
    const [problem] = problemsOf(
      pipeline([step("a")], { finally: [step("x", [], { input: "steps.y.output" }), step("y")] }),
    );
    expect(problem).to.include({ path: "finally[0].input", mend: "Add y to dependsOn." });
  });

  it("is not seen by what runs before it", () => {
    const problems = problemsOf(
      pipeline([step("a", [], { input: "steps.sweep.output" })], {
        ...more,
        output: "steps.tell.output",
        finally: [step("sweep"), step("tell")],
      }),
    );
    expect(problems.map(({ path }) => path)).to.deep.equal(["steps[0].input", "output"]);
    for (const { message } of problems)
      expect(message).to.contain("one of `finally`, which run when all of `steps` have ended");
  });

  it("shares names with all steps, but no dependencies", () => {
    const problems = problemsOf(
      pipeline([step("a"), step("b", ["sweep"])], { finally: [step("a"), step("sweep", ["b"])], output: "input" }),
    );
    expect(problems.map(({ path, reason }) => `${path} ${reason}`)).to.deep.equal([
      "steps[1].dependsOn[0] StepNotFound",
      "finally[1].dependsOn[0] StepNotFound",
      "finally[0].name DuplicateStep",
    ]);
    expect(problems[0]?.message).to.contain("runs after all of `steps`");
    expect(problems[1]?.message).to.contain("have all ended by then");
  });

  it("names Processors only", () => {
    const { processor: _, ...rest } = step("sweep");
    const definition = pipeline([step("a")], { finally: [{ ...rest, pipeline: "p" }] });
    expect(problemsOf(definition, processors, new Map([["p", pipeline([step("x")])]]))[0]).to.include({
      path: "finally[0].pipeline",
      reason: "InvalidStep",
    });
  });
});

describe("compile: named outputs", () => {
  it("are expressions like the output, and their names unique", () => {
    const plan = planOf(pipeline([step("a")], { outputs: [{ name: "page", value: "steps.a.output.page" }] }));
    expect(plan.outputs.map(({ name, value }) => [name, value.field])).to.deep.equal([["page", "outputs[0].value"]]);
    expect(plan.outputReads).to.deep.equal([0]);
    const twice = [
      { name: "page", value: "1" },
      { name: "page", value: "nope" },
    ];
    expect(
      problemsOf(pipeline([step("a")], { outputs: twice })).map(({ path, reason }) => `${path} ${reason}`),
    ).to.deep.equal(["outputs[1].name InvalidOutput", "outputs[1].value InvalidExpression"]);
  });
});
