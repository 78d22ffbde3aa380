import { readFileSync } from "node:fs";
import { expect } from "chai";
import { MillraceError } from "../../engine/errors.ts";
import type { Outcome, StepResult } from "../../engine/outcome.ts";
import { jsonPayload } from "../../engine/payload.ts";
import type { PipelineDefinition, ProcessorFacts, StepDefinition } from "../../engine/pipeline.ts";
import { type RetryBudgets, SlidingRetryBudgets } from "../../engine/run/retry-budget.ts";
import { startRun } from "../../engine/run/run.ts";
import type { Invoke, RunOptions } from "../../engine/run/run-options.ts";
import {
  facts,
  pipeline,
  planOf,
  planRowsOf,
  recordedOf,
  runOptions,
  scripted,
  step,
  textOf,
} from "../support/pipelines.ts";
import { VirtualTime } from "../support/virtual-time.ts";

type Control = "suspend" | "cancelGracefully" | "abort";

/** One row of the tables of `docs/failure-semantics.md`, by its first column. `x` is the step that it speaks of. */
interface Case {
  readonly steps: readonly StepDefinition[];
  readonly pipeline?: Partial<PipelineDefinition>;
  readonly nested?: Partial<PipelineDefinition>;
  /** Called a second after the start. */
  readonly control?: Control;
  readonly options?: Partial<RunOptions>;
  readonly isBudgetSpent?: true;
}

const failing = { processor: "failing" };
const down = { processor: "down" };
const slow = { processor: "slow" };
const hanging = { processor: "hanging" };
const once = { processor: "once" };
const ignore = { onFailure: "Ignore" } as const;
const after = (name: string, more: Partial<StepDefinition> = {}) => step(name, ["x"], more);
const list = { forEach: "[1, 2, 3]" };
const oneFails = { ...list, processor: "fails-at-two" };
const nested = (more: Partial<StepDefinition> = {}): StepDefinition => {
  const { processor: _, ...rest } = step("x", [], more);
  return { ...rest, pipeline: "inner" };
};
const begun = () => recordedOf({}, { attempts: new Map([["x", 1]]) });
/** The budget of `down` is used up by others. */
function spentBudgets(time: VirtualTime): RetryBudgets {
  const budgets = new SlidingRetryBudgets(time.clock);
  for (let retry = 0; retry < 100; retry++) budgets.mayRetry("default", "down", 0);
  return budgets;
}

const cases: Readonly<Record<string, Case>> = {
  "`x` succeeds": { steps: [step("x"), after("y")] },
  "`x` fails": { steps: [step("x", [], failing), after("y"), step("z")] },
  "`x` fails, `y` has `input`": { steps: [step("x", [], failing), after("y", { input: "1" })] },
  "`x` fails, and `w`, on which `y` depends too, is skipped": {
    steps: [step("w", [], { when: "false" }), step("x", [], failing), step("y", ["w", "x"], { input: "1" })],
  },
  "`x` fails, `FailFast`, `z` runs, `u` waits": {
    steps: [step("x", [], failing), after("y"), step("z", [], hanging), step("u", ["z"])],
    pipeline: { failurePolicy: "FailFast" },
  },
  "`x` fails, `BestEffort`, the output needs only `z`": {
    steps: [step("x", [], failing), after("y"), step("z")],
    pipeline: { failurePolicy: "BestEffort", output: "steps.z.output" },
  },
  "`x` fails, `BestEffort`, the output needs it": {
    steps: [step("x", [], failing), step("z")],
    pipeline: { failurePolicy: "BestEffort", output: "steps.x.output" },
  },
  "`x` fails, `onFailure: Ignore`": { steps: [step("x", [], { ...failing, ...ignore }), after("y")] },
  "`x` fails, `onFailure: Ignore`, `FailFast`": {
    steps: [step("x", [], { ...failing, ...ignore }), after("y")],
    pipeline: { failurePolicy: "FailFast" },
  },
  "`x` has no retries left": { steps: [step("x", [], { ...down, retry: { limit: 2 } }), after("y")] },
  "`x` has retries left, but its Processor's retry budget is used up": {
    steps: [step("x", [], { ...down, retry: { limit: 2 } }), after("y")],
    isBudgetSpent: true,
  },
  "`when` of `x` is false": { steps: [step("x", [], { when: "false" }), after("y")] },
  "`when` of `x` is false, `y` has `input`": {
    steps: [step("x", [], { when: "false" }), after("y", { input: "has(steps.x.output)" })],
  },
  "`when` of `x` is false, and `x` is an Analyze step": {
    steps: [step("x", [], { when: "false", processor: "analyze" }), after("y")],
  },
  "`when`, `input` or another expression of `x` fails": { steps: [step("x", [], { when: "input.no" }), after("y")] },
  "`input` of `y` names the output of `x`, which is skipped": {
    steps: [step("x", [], { when: "false" }), after("y", { input: "steps.x.output" })],
  },
  "an item of `x` fails": { steps: [step("x", [], oneFails), after("y")] },
  "an item of `x` fails, `onFailure: Ignore`": { steps: [step("x", [], { ...oneFails, ...ignore }), after("y")] },
  "all items of `x` fail, `onFailure: Ignore`": {
    steps: [step("x", [], { ...list, ...failing, ...ignore }), after("y")],
  },
  "an item of `x` fails, `FailFast`": {
    steps: [step("x", [], oneFails), after("y")],
    pipeline: { failurePolicy: "FailFast" },
  },
  "the list of `x` is empty": { steps: [step("x", [], { forEach: "[]" }), after("y")] },
  "the list of `x` cannot be evaluated": { steps: [step("x", [], { forEach: "input.no" }), after("y")] },
  "the list of `x` cannot be evaluated, `onFailure: Ignore`": {
    steps: [step("x", [], { forEach: "input.no", ...ignore }), after("y")],
  },
  "`x` is a Pipeline, and all of it succeeds": { steps: [nested(), after("y")] },
  "`x` is a Pipeline, and a step of it fails": {
    steps: [nested(), after("y")],
    nested: { steps: [step("a", [], failing), step("b", ["a"])] },
  },
  "`x` is a Pipeline, and a step of it fails, `onFailure: Ignore` there": {
    steps: [nested(), after("y")],
    nested: { steps: [step("a", [], { ...failing, ...ignore }), step("b", ["a"])] },
  },
  "`x` is a Pipeline, and the step that gives its output is skipped": {
    steps: [nested(), after("y")],
    nested: { steps: [step("a", [], { when: "false" })] },
  },
  "`x` is a Pipeline, and its `when` is false": { steps: [nested({ when: "false" }), after("y")] },
  "`x` is a Pipeline, and what it is given is refused": {
    steps: [nested({ input: "input.no" }), after("y")],
  },
  "the Pipeline's timeout is over": {
    steps: [step("x", [], hanging), after("y")],
    pipeline: { timeoutMs: 5_000 },
  },
  "`suspend` while `x` runs": { steps: [step("x", [], slow), after("y")], control: "suspend" },
  "`suspend` while `x` waits for an attempt": {
    steps: [step("x", [], { ...down, retry: { limit: 5, backoff: { initialMs: 9_000 } } }), after("y")],
    control: "suspend",
  },
  "`cancel: Graceful` while `x` runs": { steps: [step("x", [], slow), after("y")], control: "cancelGracefully" },
  "`cancel: Graceful` while an item of `x` runs": {
    steps: [step("x", [], { ...list, ...slow, maxParallel: 1 }), after("y")],
    control: "cancelGracefully",
  },
  "`cancel: Graceful` while `x` waits for an attempt": {
    steps: [step("x", [], { ...down, retry: { limit: 5, backoff: { initialMs: 9_000 } } }), after("y")],
    control: "cancelGracefully",
  },
  "`cancel: Immediate` while `x` runs": { steps: [step("x", [], hanging), after("y")], control: "abort" },
  "the controller died during an attempt of `x`": {
    steps: [step("x", [], { retry: { limit: 0 } }), after("y")],
    options: begun(),
  },
  "the controller died during an attempt of `x`, `AtMostOnce`": {
    steps: [step("x", [], once), after("y")],
    options: begun(),
  },
  "the controller died during an attempt of `x`, `AtMostOnce`, `onFailure: Ignore`": {
    steps: [step("x", [], { ...once, ...ignore }), after("y")],
    options: begun(),
  },
  "a step of `finally` fails": {
    steps: [step("x")],
    pipeline: { finally: [step("f", [], failing), step("g", ["f"])] },
  },
  "a step of `finally` fails, `onFailure: Ignore`": {
    steps: [step("x")],
    pipeline: { finally: [step("f", [], { ...failing, ...ignore }), step("g", ["f"])] },
  },
  "a step of `finally` fails, and `x` had failed": {
    steps: [step("x", [], failing)],
    pipeline: { finally: [step("f", [], failing)] },
  },
  "`finallyTimeout` is over": {
    steps: [step("x")],
    pipeline: { finally: [step("f", [], hanging), step("g", ["f"])], finallyTimeoutMs: 1_000 },
  },
};

const declared: readonly Partial<ProcessorFacts>[] = [
  { name: "transform" },
  { name: "failing" },
  { name: "fails-at-two" },
  { name: "down", budgetPercent: 0 },
  { name: "slow" },
  { name: "hanging" },
  { name: "once", delivery: "AtMostOnce", retry: { ...facts("once").retry, limit: 0 } },
  { name: "analyze", intent: "Analyze" },
];
const known = new Map(declared.map(({ name = "", ...more }) => [name, facts(name, more)]));

/** Does what the Processor's name says. */
function invokeIn(time: VirtualTime): Invoke {
  const others = scripted({ see: (_, payload) => payload });
  return async (attempt, request, signal) => {
    const { processor, item } = attempt;
    if (processor === "failing" || (processor === "fails-at-two" && item === 1))
      throw new MillraceError("InvalidInput", "no");
    if (processor === "down") throw new MillraceError("Unavailable", "down");
    if (processor === "hanging") return new Promise(() => undefined);
    if (processor === "slow") await new Promise<void>((resolve) => void time.scheduler.after(2_000, resolve));
    if (attempt.stepName === "see") return await others(attempt, request, signal);
    return { ok: true, payload: jsonPayload(attempt.stepName), metadata: {} };
  };
}

/** The columns of a row: what becomes of the steps, whether `x` has an output, and how the run ends. */
async function columnsOf(
  title: string,
  { steps, pipeline: more = {}, nested: inner, control, options = {}, isBudgetSpent }: Case,
): Promise<string[]> {
  const see = step("see", [], { input: "[has(steps.x.output), has(steps.x.output) ? steps.x.output == null : false]" });
  const output = more.output === undefined && more.failurePolicy !== "BestEffort" ? { output: "input" } : {};
  const definition = pipeline(steps, { ...output, ...more, finally: [...(more.finally ?? []), see] });
  const others = new Map([["inner", pipeline([step("a"), step("b", ["a"])], { name: "inner", ...inner })]]);
  const plan = planOf(definition, known, others);
  const time = new VirtualTime();
  const controller = new AbortController();
  const budgets = isBudgetSpent ? { retryBudgets: spentBudgets(time) } : {};
  const given = { ports: time, signal: controller.signal, invoke: invokeIn(time), ...options, ...budgets };
  const handle = startRun(plan, runOptions(given));
  if (control !== undefined)
    time.scheduler.after(1_000, () => (control === "abort" ? controller.abort() : handle[control]()));
  const outcome = await time.drive(handle.outcome);
  const withRow = plan.steps.filter(({ kind }) => kind !== "Enter");
  const rows = planRowsOf(plan, outcome).map(
    (row, index) => row + attemptsOf(outcome.steps[withRow[index]?.index ?? -1]),
  );
  return [title, rows.slice(0, -1).join(", "), await seenOf(outcome), runOf(outcome)];
}

function attemptsOf(result: StepResult | undefined): string {
  return result !== undefined && "attempts" in result && result.attempts > 1
    ? ` after ${result.attempts} attempts`
    : "";
}

async function seenOf({ steps }: Outcome): Promise<string> {
  const result = steps.at(-1);
  if (result?.state !== "Succeeded") return "–";
  const [has, isNull] = JSON.parse(await textOf(result.output)) as readonly boolean[];
  return has === true ? (isNull === true ? "yes, null" : "yes") : "no";
}

function runOf({ state, error }: Outcome): string {
  if (state !== "Failed") return state;
  return error?.step === undefined ? `Failed: ${error?.code}` : `Failed: ${error.code} of ${error.step}`;
}

/** Rows of the page's tables that have these four columns. */
function pageRows(): readonly (readonly string[])[] {
  const page = readFileSync("docs/failure-semantics.md", "utf8");
  const tables = page.split(/^\| case \|.*\n\|[-|]*\n/m).slice(1);
  return tables.flatMap((table) =>
    (table.split("\n\n")[0] ?? "")
      .split("\n")
      .filter((line) => line.startsWith("|"))
      .map((line) => line.slice(2, -2).split(" | ")),
  );
}

describe("the tables of failure semantics", () => {
  const rows = pageRows();

  it("have a row for each case, and no other", () => {
    expect(rows.map(([title]) => title)).to.deep.equal(Object.keys(cases));
  });

  for (const [title, given] of Object.entries(cases)) {
    it(title, async () => {
      const row = rows.find(([first]) => first === title);
      expect(await columnsOf(title, given)).to.deep.equal(row);
    });
  }
});
