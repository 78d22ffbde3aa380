import { expect } from "chai";
import { compile } from "../../../engine/compile/compile.ts";
import { MillraceError } from "../../../engine/errors.ts";
import type { Outcome, RunEvent } from "../../../engine/outcome.ts";
import type { Payload } from "../../../engine/payload.ts";
import { jsonPayload, textPayload } from "../../../engine/payload.ts";
import type { PipelineDefinition, StepDefinition } from "../../../engine/pipeline.ts";
import type { Plan } from "../../../engine/plan.ts";
import { maxParametersBytes } from "../../../engine/run/enter-exit.ts";
import { run, startRun } from "../../../engine/run/run.ts";
import type { Invoke, RunOptions } from "../../../engine/run/run-options.ts";
import {
  pipeline,
  planRowsOf,
  processors,
  recordedOf,
  runOptions,
  scripted,
  step,
  stored,
  textOf,
} from "../../support/pipelines.ts";
import { VirtualTime } from "../../support/virtual-time.ts";

/** A schema here is `{is: TYPE}`: what the engine does with a check matters, not how one is made. */
const compileSchema =
  ({ is }: { readonly is?: unknown }) =>
  (value: unknown) =>
    typeof value === is ? undefined : "it is of another type";

function planWith(definition: PipelineDefinition, inner: Record<string, PipelineDefinition>): Plan {
  const pipelines = new Map(Object.entries(inner).map(([name, nested]) => [name, { ...nested, name }]));
  const compiled = compile(definition, { processors, pipelines, compileSchema });
  if (compiled.ok) return compiled.plan;
  throw new Error(compiled.problems.map(({ path, message }) => `${path}: ${message}`).join("\n"));
}

/** A step that names a Pipeline. */
function nested(name: string, dependsOn: readonly string[] = [], more: Partial<StepDefinition> = {}): StepDefinition {
  return { name, pipeline: "inner", dependsOn, options: {}, ...more };
}

interface Ran {
  readonly outcome: Outcome;
  readonly rows: readonly string[];
  readonly events: readonly string[];
}

async function ran(plan: Plan, more: Partial<RunOptions> = {}): Promise<Ran> {
  const time = new VirtualTime();
  const events: RunEvent[] = [];
  const onEvent = (event: RunEvent) => events.push(event);
  const outcome = await time.drive(run(plan, runOptions({ ports: time, onEvent, ...more })));
  const shown = events.map((event) => `${event.type} ${plan.steps[event.step]?.kind} ${plan.steps[event.step]?.name}`);
  return { outcome, rows: planRowsOf(plan, outcome), events: shown };
}

const inner = pipeline([step("x"), step("y", ["x"])]);
const echo: Invoke = async (_, { payload }) => ({ ok: true, payload, metadata: {} });

describe("run: a Pipeline in a Pipeline", () => {
  it("runs in the place of its step, which gives its output", async () => {
    const plan = planWith(pipeline([step("a"), nested("n", ["a"]), step("b", ["n"])]), { inner });
    const { outcome, rows, events } = await ran(plan, { invoke: scripted({}) });
    expect(await textOf(outcome.output)).to.equal('"b(n/y(n/x(a(in))))"');
    expect(rows).to.deep.equal(["a: Succeeded", "n/x: Succeeded", "n/y: Succeeded", "n: Succeeded", "b: Succeeded"]);
    expect(events.filter((event) => / (Enter|Exit) /.test(event))).to.deep.equal(["StepFinished Exit n"]);
    expect(outcome.steps[plan.steps.findIndex(({ kind }) => kind === "Exit")]).to.deep.include({
      attempts: 0,
      metadata: {},
    });
  });

  it("gives inner steps their own `input`, `parameters` and `steps`, and metadata by their own names", async () => {
    const seen = new Map<string, unknown>();
    const innermost = pipeline(
      [
        step("x", [], { input: "{'i': input, 'p': parameters, 'e': execution.name}" }),
        step("y", ["x"], { input: "[steps.x.output.p.n, steps.x.metadata.k]" }),
      ],
      { parameters: [{ name: "n" }, { name: "d", default: [1, 2.5] }], output: "{'of': steps.y.output, 'i': input}" },
    );
    const outer = pipeline(
      [
        step("x"),
        nested("n", ["x"], {
          input: "{'from': steps.x.output}",
          parameters: [{ name: "n", value: "parameters.p + 1" }],
        }),
      ],
      { parameters: [{ name: "p" }], output: "steps.n.output" },
    );
    const plan = planWith(outer, { inner: innermost });
    const invoke: Invoke = async ({ stepName }, { payload, metadata }) => {
      seen.set(stepName, [JSON.parse(await textOf(payload)), metadata]);
      return { ok: true, payload: stored(payload), metadata: { k: stepName } };
    };
    const { outcome } = await ran(plan, { invoke, parameters: { p: 41 } });
    expect(seen.get("n/x")).to.deep.equal([{ i: { from: "in" }, p: { n: 42, d: [1, 2.5] }, e: "run" }, {}]);
    expect(seen.get("n/y")).to.deep.equal([[42, "n/x"], { "x.k": "n/x" }]);
    expect(JSON.parse(await textOf(outcome.output))).to.deep.equal({ of: [42, "n/x"], i: { from: "in" } });
  });

  it("decodes what both the outer and the inner steps look into", async () => {
    const looks = pipeline([step("x", [], { when: "size(input) > 0", input: "[input, input]" })]);
    const outer = pipeline([step("a"), nested("n", ["a"]), step("b", ["n"], { when: "size(steps.a.output) > 0" })]);
    const { outcome } = await ran(planWith(outer, { inner: looks }), {
      invoke: async (_, { payload }) => ({ ok: true, payload: stored(payload), metadata: {} }),
    });
    expect(await textOf(outcome.output)).to.equal('["in","in"]');
  });

  it("nests more than once", async () => {
    const middle = pipeline([nested("m", [], { pipeline: "innermost" }), step("z", ["m"])]);
    const plan = planWith(pipeline([nested("n")]), { inner: middle, innermost: inner });
    const { outcome, rows } = await ran(plan, { invoke: scripted() });
    expect(await textOf(outcome.output)).to.equal('"n/z(n/m/y(n/m/x(in)))"');
    expect(rows).to.deep.equal([
      "n/m/x: Succeeded",
      "n/m/y: Succeeded",
      "n/m: Succeeded",
      "n/z: Succeeded",
      "n: Succeeded",
    ]);
  });

  it("`when` false skips all of it, and those that depend on it", async () => {
    const withInput = pipeline([step("x", [], { input: "1" }), step("y", ["x"], { input: "2" })]);
    const plan = planWith(
      pipeline([nested("n", [], { when: "false" }), step("b", ["n"]), step("c", ["n"], { input: "3" })], {
        output: "1",
      }),
      {
        inner: withInput,
      },
    );
    expect((await ran(plan)).rows).to.deep.equal([
      "n/x: Skipped/UpstreamSkipped",
      "n/y: Skipped/UpstreamSkipped",
      "n: Skipped/WhenFalse",
      "b: Skipped/UpstreamSkipped",
      "c: Succeeded",
    ]);
  });

  it("an upstream failure skips all of it", async () => {
    const plan = planWith(pipeline([step("a"), nested("n", ["a"])]), { inner });
    const { rows } = await ran(plan, { invoke: scripted({ a: () => new MillraceError("InvalidInput", "no") }) });
    expect(rows.slice(1)).to.deep.equal([
      "n/x: Skipped/UpstreamFailed",
      "n/y: Skipped/UpstreamFailed",
      "n: Skipped/UpstreamFailed",
    ]);
  });

  it("an inner failure skips its Exit, and names the inner step", async () => {
    const plan = planWith(pipeline([nested("n"), step("b", ["n"])]), { inner });
    const { rows, outcome } = await ran(plan, {
      invoke: scripted({ "n/x": () => new MillraceError("InvalidInput", "no") }),
    });
    expect(rows).to.deep.equal([
      "n/x: Failed/InvalidInput",
      "n/y: Skipped/UpstreamFailed",
      "n: Skipped/UpstreamFailed",
      "b: Skipped/UpstreamFailed",
    ]);
    expect(outcome.error?.step).to.equal("n/x");
  });

  it("gives null where its only sink was skipped, as a run of its own would", async () => {
    const skipping = pipeline([step("x", [], { when: "false" })]);
    const { rows, outcome } = await ran(planWith(pipeline([nested("n")]), { inner: skipping }));
    expect(rows).to.deep.equal(["n/x: Skipped/WhenFalse", "n: Succeeded"]);
    expect(await textOf(outcome.output)).to.equal("null");
  });

  it("fails, named after its step, where its output expression does", async () => {
    const { rows, outcome } = await ran(
      planWith(pipeline([nested("n")]), { inner: pipeline([step("x")], { output: "input.y" }) }),
    );
    expect(rows).to.deep.equal(["n/x: Succeeded", "n: Failed/InvalidInput"]);
    expect(outcome.error).to.include({ step: "n" });
  });
});

describe("run: entering a Pipeline", () => {
  const refuse = async (
    around: Partial<StepDefinition>,
    definition: Partial<PipelineDefinition>,
    more: Partial<RunOptions> = {},
    policy: Partial<PipelineDefinition> = {},
  ) => {
    const plan = planWith(pipeline([nested("n", [], around)], policy), { inner: { ...inner, ...definition } });
    return ran(plan, more);
  };

  it("fails its step where the parameters do not fit, cannot be evaluated or are too large", async () => {
    const parameters = [{ name: "p", schema: { is: "number" } }];
    const given = (value: string) => ({ parameters: [{ name: "p", value }] });
    for (const [value, code] of [
      ["'text'", "InvalidInput"],
      ["input.p", "InvalidInput"],
    ] as const) {
      const { rows, outcome, events } = await refuse(given(value), { parameters });
      expect(rows).to.deep.equal(["n/x: Skipped/UpstreamFailed", "n/y: Skipped/UpstreamFailed", `n: Failed/${code}`]);
      expect(outcome.error).to.include({ step: "n", code });
      expect(events.filter((event) => event.includes("Enter"))).to.deep.equal([]);
    }
    const input = textPayload("x".repeat(maxParametersBytes));
    const large = await refuse(given("input"), { parameters: [{ name: "p" }] }, { input });
    expect(large.outcome.error).to.include({ step: "n", code: "PayloadTooLarge" });
    expect((await refuse(given("1.5"), { parameters })).outcome.state).to.equal("Succeeded");
  });

  it("checks the input against its schema, also where its bytes have to be fetched", async () => {
    const inputSchema = { is: "number" };
    const enter = (input: Payload) => refuse({}, { inputSchema }, { input, invoke: echo });
    for (const wrong of [jsonPayload("text"), stored(jsonPayload("text")), textPayload("1"), textPayload("2")])
      expect((await enter(wrong)).outcome.error).to.include({ step: "n", code: "InvalidInput" });
    for (const right of [jsonPayload(1), stored(jsonPayload(1))])
      expect((await enter(right)).outcome.state).to.equal("Succeeded");
  });

  it("refuses an input over its limit, and says both", async () => {
    const { outcome } = await refuse({}, { maxInputBytes: 3 });
    expect(outcome.error).to.include({ step: "n", code: "PayloadTooLarge" });
    expect(outcome.error?.message).to.contain("4 bytes").and.contain("at most 3");
  });

  it("FailFast: a failed entry stops the run, and its rows say so", async () => {
    const { rows, outcome } = await refuse({}, { maxInputBytes: 3 }, {}, { failurePolicy: "FailFast" });
    expect(rows).to.deep.equal([
      "n/x: Skipped/UpstreamFailed",
      "n/y: Skipped/UpstreamFailed",
      "n: Failed/PayloadTooLarge",
    ]);
    expect(outcome.error).to.include({ step: "n" });
  });

  it("suspends while the input's bytes are fetched, and cancels there", async () => {
    const never = { ...stored(jsonPayload(1)), bytes: () => new Promise<Uint8Array>(() => undefined) };
    const plan = planWith(pipeline([nested("n")]), { inner: { ...inner, inputSchema: { is: "number" } } });
    for (const [how, rows] of [
      ["suspend", ["n/x: open", "n/y: open", "n: open"]],
      ["cancelGracefully", ["n/x: Skipped/Cancelled", "n/y: Skipped/Cancelled", "n: Skipped/Cancelled"]],
    ] as const) {
      const time = new VirtualTime();
      const handle = startRun(plan, runOptions({ ports: time, input: never }));
      await time.advance(1);
      handle[how]();
      expect(planRowsOf(plan, await time.drive(handle.outcome))).to.deep.equal(rows);
    }
  });

  it("is evaluated again on resuming only if something of it is left", async () => {
    const plan = planWith(pipeline([nested("n", [], { input: "input.a" }), step("b", ["n"])]), { inner });
    const done = { state: "Succeeded", output: jsonPayload(1), metadata: {}, attempts: 1 } as const;
    const broken = { input: jsonPayload("no map"), invoke: echo };
    const over = await ran(plan, { ...broken, ...recordedOf({ "n/x": done, "n/y": done, n: done }) });
    expect(over.outcome.state).to.equal("Succeeded");
    const left = await ran(plan, { ...broken, ...recordedOf({ "n/x": done }) });
    expect(left.rows).to.deep.equal([
      "n/x: Succeeded",
      "n/y: Skipped/UpstreamFailed",
      "n: Failed/InvalidInput",
      "b: Skipped/UpstreamFailed",
    ]);
    const whole = await ran(plan, { input: jsonPayload({ a: 5 }), invoke: echo, ...recordedOf({ "n/x": done }) });
    expect(whole.outcome.state).to.equal("Succeeded");
  });
});
