import { expect } from "chai";
import fc from "fast-check";
import { compile, executionInput } from "../../../engine/compile/compile.ts";
import type { JsonObject } from "../../../engine/payload.ts";
import type { PipelineDefinition, Problem, StepDefinition } from "../../../engine/pipeline.ts";
import type { Plan } from "../../../engine/plan.ts";
import { pipeline, planOf, problemsOf, processors, step } from "../../support/pipelines.ts";

function nested(name: string, steps: readonly StepDefinition[], more: Partial<PipelineDefinition> = {}) {
  return pipeline(steps, { name, ...more });
}

function known(...definitions: readonly PipelineDefinition[]): ReadonlyMap<string, PipelineDefinition> {
  return new Map(definitions.map((definition) => [definition.name, definition]));
}

const call = (name: string, target: string, dependsOn: readonly string[] = [], more: Partial<StepDefinition> = {}) => {
  const { processor: _, ...rest } = step(name, dependsOn, more);
  return { ...rest, pipeline: target };
};

/** `name kind <dependencies`, by name: what comes before what. */
function shown({ steps }: Plan): readonly string[] {
  const label = (index: number) => `${steps[index]?.name}${steps[index]?.kind === "Enter" ? "↓" : ""}`;
  return steps.map(({ index, dependencies }) => `${label(index)}<${dependencies.map(label).join(",")}`);
}

const brief = (problems: readonly Problem[]) => problems.map(({ path, reason }) => `${path} ${reason}`);

describe("inlining: the flat graph", () => {
  const clean = nested("clean", [step("trim"), step("check", ["trim"])]);

  it("puts Enter, the inner steps and Exit in the place of the step", () => {
    const plan = planOf(
      pipeline([step("a"), call("outer", "clean", ["a"]), step("z", ["outer"])]),
      processors,
      known(clean),
    );
    expect(shown(plan)).to.deep.equal([
      "a<",
      "outer↓<a",
      "outer/trim<outer↓",
      "outer/check<outer/trim",
      "outer<outer/check",
      "z<outer",
    ]);
    expect(plan.steps.map(({ kind }) => kind)).to.deep.equal([
      "Processor",
      "Enter",
      "Processor",
      "Processor",
      "Exit",
      "Processor",
    ]);
    expect(plan.steps[1]?.enter).to.include({ exit: 4, pipeline: "clean" });
    expect(plan.steps[4]?.enteredBy).to.equal(1);
    expect(plan.steps.map(({ origin }) => origin)).to.deep.equal([executionInput, 0, 1, 2, 3, 4]);
    expect(plan.steps.map(({ frame }) => frame)).to.deep.equal([-1, -1, 1, 1, 1, -1]);
    expect(plan.steps[2]?.localName).to.equal("trim");
  });

  it("counts the rows, but on paths only what calls a Processor", () => {
    const plan = planOf(
      pipeline([step("a"), call("outer", "clean", ["a"]), step("z", ["outer"])]),
      processors,
      known(clean),
    );
    expect(plan.graph).to.deep.equal({ steps: 5, levels: 4, width: 1 });
    expect(plan.steps.map(({ pathLength }) => pathLength)).to.deep.equal([4, 3, 3, 2, 1, 1]);
  });

  it("goes two levels deep, and again for each step that names the same Pipeline", () => {
    const outer = nested("outer", [call("in", "clean"), step("after", ["in"])]);
    const plan = planOf(pipeline([call("x", "outer"), call("y", "outer", ["x"])]), processors, known(clean, outer));
    const rows = plan.steps.filter(({ kind }) => kind !== "Enter").map(({ name }) => name);
    expect(rows).to.deep.equal(
      ["x", "y"].flatMap((name) =>
        ["in/trim", "in/check", "in", "after"].map((inner) => `${name}/${inner}`).concat(name),
      ),
    );
    expect(plan.outputOrigin).to.equal(plan.steps.length - 1);
  });

  it("gives an Exit its Enter's payload where all that is inside analyzes", () => {
    const watch = nested("watch", [step("look", [], { processor: "analyze" })]);
    const plan = planOf(pipeline([call("w", "watch")]), processors, known(watch));
    expect(plan.steps[2]).to.include({ kind: "Exit", origin: 0 });
  });
});

describe("inlining: frames", () => {
  const publish = nested(
    "publish",
    [
      step("make-page", [], { when: "parameters.draft == false", input: "input.body" }),
      step("ship", ["make-page"], { input: 'steps["make-page"].output' }),
    ],
    {
      parameters: [{ name: "draft", default: false }, { name: "title" }],
      output: "{'page': steps.ship.output, 'in': input}",
    },
  );
  const outer = pipeline(
    [
      step("a"),
      call("out", "publish", ["a"], {
        when: "steps.a.output.ok",
        input: "steps.a.output.document",
        parameters: [{ name: "title", value: "parameters.site + '/' + steps.a.metadata.title" }],
      }),
      step("z", ["out"], { input: "steps.out.output.page" }),
    ],
    { parameters: [{ name: "site" }] },
  );
  const plan = planOf(outer, processors, known(publish));
  const [, enter, page, ship, exit, last] = plan.steps;

  it("lets a step that names a Pipeline speak of the steps beside it", () => {
    expect(enter?.when).to.deep.include({ field: "steps[1].when", frame: executionInput, payloads: [0] });
    expect(enter?.input?.payloads).to.deep.equal([0]);
    expect(enter?.enter?.parameters.map(({ name, value }) => [name, value.field])).to.deep.equal([
      ["title", "steps[1].parameters[0].value"],
    ]);
    expect(enter?.reads).to.deep.equal([0]);
  });

  it("lets inner expressions speak of their own Pipeline, and says where they stand", () => {
    expect(page?.when?.field).to.equal("steps[1] (Pipeline publish) steps[0].when");
    expect(page?.input).to.deep.include({ frame: 1, payloads: [1] });
    expect(ship?.input?.passes).to.equal(2);
    expect(exit?.input).to.deep.include({ field: "steps[1] (Pipeline publish) output", frame: 1, payloads: [3, 1] });
    expect(last?.input?.payloads).to.deep.equal([4]);
  });

  it("keeps frames apart: neither sees the other's steps", () => {
    const sees = nested("sees", [step("inner", [], { input: "steps.a.output" })]);
    expect(problemsOf(pipeline([step("a"), call("b", "sees", ["a"])]), processors, known(sees))[0]).to.include({
      path: "steps[1].pipeline",
      reason: "InvalidPipeline",
    });
    const [problem] = problemsOf(
      pipeline([
        call("out", "publish", [], { parameters: [{ name: "title", value: "'t'" }] }),
        step("z", ["out"], { input: "steps.ship.output" }),
      ]),
      processors,
      known(publish),
    );
    expect(problem).to.include({ path: "steps[1].input", reason: "InvalidExpression" });
  });

  it("tells of a hyphen in the frame where the step is", () => {
    const wrong = nested("wrong", [step("make-page"), step("b", ["make-page"], { input: "steps.make-page.output" })]);
    const [problem] = problemsOf(pipeline([call("c", "wrong")]), processors, known(wrong));
    expect(problem?.message).to.contain("steps[1].input").and.contain("read as a subtraction");
    expect(problem?.mend).to.equal('In the Pipeline wrong: Write steps["make-page"].');
  });
});

describe("inlining: what is refused", () => {
  it("names the Pipeline that does not exist", () => {
    const [problem] = problemsOf(pipeline([call("a", "cleen")]), processors, known(nested("clean", [step("x")])));
    expect(problem).to.include({
      path: "steps[0].pipeline",
      reason: "PipelineNotFound",
      mend: "Write clean, or create it.",
    });
  });

  it("prints a circle of Pipelines", () => {
    const a = nested("a", [call("to-b", "b")]);
    const b = nested("b", [step("x"), call("to-a", "a", ["x"])]);
    const problems = problemsOf(a, processors, known(a, b));
    expect(brief(problems)).to.deep.equal(["steps[0].pipeline PipelineRecursion"]);
    expect(problems[0]?.message).to.contain("steps[1].pipeline").and.contain("a → b → a");
    const self = nested("self", [call("again", "self")]);
    expect(problemsOf(self, processors, known(self))[0]).to.include({
      path: "steps[0].pipeline",
      reason: "PipelineRecursion",
      message: "Pipelines take in each other in a circle: self → self.",
    });
  });

  it("takes an Execution's own definition for none of the Pipelines, whatever its name", () => {
    const surroundings = { processors, pipelines: known(nested("same", [step("x")])) };
    const own = nested("same", [call("a", "same")]);
    expect(compile(own, { ...surroundings, isInline: true }).ok).to.equal(true);
    expect(compile(own, surroundings).ok).to.equal(false);
  });

  it("takes eight deep and not nine", () => {
    const chain = (depth: number) =>
      Array.from({ length: depth }, (_, level) =>
        nested(`p${level}`, [level === depth - 1 ? step("x") : call("n", `p${level + 1}`)]),
      );
    planOf(pipeline([call("n", "p0")]), processors, known(...chain(8)));
    const [problem] = problemsOf(pipeline([call("n", "p0")]), processors, known(...chain(9)));
    expect(problem?.message).to.contain("more than 8 deep");
  });

  it("stops at 1,032 rows however Pipelines multiply, and soon", () => {
    const ten = (level: number) =>
      nested(
        `p${level}`,
        Array.from({ length: 10 }, (_, index) =>
          level === 0 ? step(`s${index}`) : call(`s${index}`, `p${level - 1}`),
        ),
        {
          output: "steps.s0.output",
        },
      );
    const pipelines = known(...Array.from({ length: 8 }, (_, level) => ten(level)));
    const startMs = performance.now();
    const problems = problemsOf(pipeline([call("n", "p7")]), processors, pipelines);
    expect(performance.now() - startMs).to.be.below(1_000);
    expect(brief(problems)).to.deep.equal(["steps TooManySteps"]);
    expect(problems[0]?.message).to.contain("1032").and.contain("test → p7");
    // 1 + 10 × (1 + 10) + 920 rows.
    const rest = Array.from({ length: 921 }, (_, index) => step(`r${index}`));
    planOf(pipeline([call("n", "p1"), ...rest], { output: "input" }), processors, pipelines);
    expect(
      brief(problemsOf(pipeline([call("n", "p1"), ...rest, step("more")], { output: "input" }), processors, pipelines)),
    ).to.deep.equal(["steps TooManySteps"]);
  });

  it("bounds a row's name", () => {
    const long = "x".repeat(63);
    const pipelines = known(
      ...[0, 1, 2, 3].map((level) => nested(`p${level}`, [level === 3 ? step(long) : call(long, `p${level + 1}`)])),
    );
    const problems = problemsOf(pipeline([call(long, "p0")]), processors, pipelines);
    expect(problems.map(({ path, message }) => [path, message.includes("limit is 253")])).to.deep.equal([
      ["steps[0].pipeline", true],
    ]);
  });

  it("refuses `finally` and an ambiguous output inside", () => {
    const cleans = nested("cleans", [step("x")], { finally: [step("sweep")] });
    expect(problemsOf(pipeline([call("a", "cleans")]), processors, known(cleans))[0]).to.include({
      path: "steps[0].pipeline",
      reason: "InvalidPipeline",
    });
    const forks = nested("forks", [step("x"), step("y")]);
    const [problem] = problemsOf(pipeline([call("a", "forks")]), processors, known(forks));
    expect(problem).to.include({ path: "steps[0].pipeline", reason: "InvalidPipeline" });
    expect(problem?.message).to.contain("ends in several steps (x, y)");
  });

  it("asks for each parameter without a default, and for no other", () => {
    const takes = nested("takes", [step("x")], { parameters: [{ name: "language" }, { name: "top", default: 3 }] });
    const parameters = [
      { name: "langage", value: "'de'" },
      { name: "top", value: "1" },
      { name: "top", value: "2" },
    ];
    const problems = problemsOf(pipeline([call("a", "takes", [], { parameters })]), processors, known(takes));
    expect(problems.map(({ path, reason, mend }) => [path, reason, mend])).to.deep.equal([
      ["steps[0].parameters[0].name", "InvalidParameter", "Write language."],
      ["steps[0].parameters[2].name", "InvalidParameter", "Remove one of the two."],
      ["steps[0].parameters", "InvalidParameter", "Add {name: language, value: …} to its parameters."],
    ]);
  });

  it("tells what is wrong inside once, at the step that names it, however often it is named", () => {
    const wrong = nested("wrong", [step("x", [], { processor: "tranform", when: "1" })]);
    const around = nested("around", [call("w", "wrong")]);
    const problems = problemsOf(
      pipeline([call("a", "around"), call("b", "around", ["a"]), call("c", "wrong", ["b"])]),
      processors,
      known(wrong, around),
    );
    expect(brief(problems)).to.deep.equal(["steps[0].pipeline ProcessorNotFound", "steps[0].pipeline InvalidPipeline"]);
    expect(problems[0]?.message).to.match(
      /^Step a cannot take in the Pipeline wrong, where steps\[0\]\.processor is wrong: /,
    );
    expect(problems[0]?.mend).to.equal("In the Pipeline wrong: Write transform, or create it.");
  });

  it("counts the expressions inside each time", () => {
    const wordy = nested("wordy", [step("x", [], { when: `true${" ".repeat(4_000)}` })]);
    const calls = (count: number) =>
      pipeline(
        Array.from({ length: count }, (_, index) => call(`c${index}`, "wordy")),
        { output: "input" },
      );
    planOf(calls(16), processors, known(wordy));
    expect(brief(problemsOf(calls(17), processors, known(wordy)))).to.deep.equal(["steps InvalidExpression"]);
  });
});

describe("inlining: checks when it is entered", () => {
  const schemas: JsonObject[] = [];
  const takes = nested("takes", [step("x")], {
    inputSchema: { type: "object" },
    parameters: [{ name: "top", schema: { type: "integer" } }],
  });
  const compiled = compile(
    pipeline([
      call("a", "takes", [], { parameters: [{ name: "top", value: "1" }] }),
      call("b", "takes", ["a"], { parameters: [{ name: "top", value: "1" }] }),
    ]),
    {
      processors,
      pipelines: known(takes),
      compileSchema: (schema) => {
        schemas.push(schema);
        return (value) => (value === null ? `is no ${JSON.stringify(schema.type)}` : undefined);
      },
    },
  );
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
  const enter = compiled.plan.steps[0]?.enter;

  it("checks the input and each parameter by the inlined Pipeline's schemas, each compiled once", () => {
    expect(schemas).to.have.length(2);
    expect(enter?.checkInput?.(null)).to.equal('is no "object"');
    expect(enter?.checkParameters?.({ top: null })).to.equal('parameters.top: is no "integer"');
    expect(enter?.checkParameters?.({ top: 1 })).to.equal(undefined);
    expect(enter?.maxInputBytes).to.equal(takes.maxInputBytes);
  });

  it("reports a schema that is none", () => {
    const result = compile(pipeline([call("a", "takes", [], { parameters: [{ name: "top", value: "1" }] })]), {
      processors,
      pipelines: known(takes),
      compileSchema: () => {
        throw new Error("type must be known");
      },
    });
    expect(result.ok ? [] : brief(result.problems)).to.deep.equal([
      "steps[0].pipeline InvalidStep",
      "steps[0].pipeline InvalidStep",
    ]);
  });
});

describe("inlining: the same as written flat", () => {
  /** Steps by number, each with those before it that it depends on. */
  const graph = fc
    .array(fc.array(fc.nat(), { maxLength: 3 }), { minLength: 1, maxLength: 8 })
    .map((lists) => lists.map((list, index) => [...new Set(index === 0 ? [] : list.map((n) => n % index))]));

  it("orders the steps as the Pipeline that is flattened by hand", () => {
    fc.assert(
      fc.property(graph, graph, fc.nat(), (outerGraph, innerGraph, chosen) => {
        const at = chosen % outerGraph.length;
        const named = (list: readonly (readonly number[])[], prefix = "s") =>
          list.map((before, index) =>
            step(
              `${prefix}${index}`,
              before.map((n) => `${prefix}${n}`),
              { input: "input" },
            ),
          );
        const inner = nested("inner", named(innerGraph), { output: "input" });
        const outer = named(outerGraph).map((one, index) =>
          index === at ? call(one.name, "inner", one.dependsOn, { input: "input" }) : one,
        );
        const plan = planOf(pipeline(outer, { output: "input" }), processors, known(inner));
        expect(pathsOf(plan)).to.deep.equal(pathsOf(planOf(byHand(outerGraph, innerGraph, at))));
      }),
      { numRuns: 100 },
    );
  });

  function byHand(
    outerGraph: readonly (readonly number[])[],
    innerGraph: readonly (readonly number[])[],
    at: number,
  ): PipelineDefinition {
    const hasDependent = new Set(innerGraph.flat());
    const sinks = [...innerGraph.keys()].filter((index) => !hasDependent.has(index)).map((index) => `s${at}.s${index}`);
    const beside = (before: readonly number[]) => before.flatMap((n) => (n === at ? sinks : [`s${n}`]));
    const steps = outerGraph.flatMap((before, index) => {
      if (index !== at) return [step(`s${index}`, beside(before), { input: "input" })];
      return innerGraph.map((inside, n) =>
        step(`s${at}.s${n}`, inside.length === 0 ? beside(before) : inside.map((m) => `s${at}.s${m}`), {
          input: "input",
        }),
      );
    });
    return pipeline(steps, { output: "input" });
  }

  /** By name: all steps that call a Processor and come before it. */
  function pathsOf({ steps, order }: Plan): ReadonlyMap<string, readonly string[]> {
    const before = new Map<number, ReadonlySet<number>>();
    for (const index of order) {
      const direct = steps[index]?.dependencies ?? [];
      before.set(index, new Set(direct.flatMap((one) => [one, ...(before.get(one) ?? [])])));
    }
    const named = steps.flatMap(({ index, kind, name }) => {
      if (kind !== "Processor") return [];
      const calls = [...(before.get(index) ?? [])].filter((one) => steps[one]?.kind === "Processor");
      return [[name.replace("/", "."), calls.map((one) => steps[one]?.name.replace("/", ".") ?? "").sort()] as const];
    });
    return new Map(named);
  }
});
