import { createHmac } from "node:crypto";
import { expect } from "chai";
import type { PayloadRow, StepRow } from "../../controller/api/types.ts";
import type { Json } from "../../engine/payload.ts";
import { linkedPipelines, samplePipelines } from "./neighbours-page.ts";
import { runHere } from "./run-here.ts";

const folder = "manifests/samples/neighbours";

/** One run of a Pipeline of `docs/neighbours.md`. */
interface Case {
  readonly pipeline: string;
  readonly input?: string;
  readonly parameters?: Readonly<Record<string, Json>>;
  /** What the run gives, JSON or text; absent: it fails. */
  readonly output?: Json;
  /** Rows that did not simply succeed: state, then reason and code where there are any. */
  readonly rows?: Readonly<Record<string, string>>;
  /** Outputs of steps that are not the run's. */
  readonly steps?: Readonly<Record<string, Json>>;
}

const broken = "Failed Broken";
const ignored = "Failed Ignored Broken";
const notWanted = "Skipped WhenFalse";
const upstream = "Skipped UpstreamFailed";

/** In the order of the page. */
const cases: readonly Case[] = [
  { pipeline: "diamond", output: "AB AC" },
  { pipeline: "nested", output: "AB AC AB AC", steps: { "b/d": "AB AC", a: "AB AC" } },
  { pipeline: "multiroot", output: ["a", "A B"] },
  { pipeline: "targets", output: ["a", "b", "c", "d", "e"], steps: { e: "a", d: "d" } },
  {
    pipeline: "targets",
    parameters: { only: ["a", "c", "e"] },
    output: ["a", "c", "e"],
    rows: { b: notWanted, d: notWanted },
  },
  {
    pipeline: "parallelism",
    output: [
      [1, 2, 3, 4],
      [1, 2, 3],
    ],
  },

  { pipeline: "conditionals", input: "x", parameters: { "should-print": true }, output: "x" },
  { pipeline: "conditionals", parameters: { "should-print": false }, output: null, rows: { print: notWanted } },
  {
    pipeline: "conditionals-complex",
    parameters: { first: "heads", second: "tails" },
    output: "complex",
    rows: { pattern: notWanted },
  },
  {
    pipeline: "conditionals-complex",
    parameters: { first: "heads", second: "heads" },
    output: "pattern",
    rows: { complex: notWanted },
  },
  {
    pipeline: "enhanced-depends",
    input: "x",
    output: "x",
    rows: { c: ignored, "should-not-execute": notWanted },
  },
  {
    pipeline: "when-expressions",
    parameters: { path: "README.md", branches: ["main"] },
    output: "yes",
    rows: { "on-master": notWanted, "in-vain": notWanted },
  },
  {
    pipeline: "when-expressions",
    parameters: { path: "LICENSE", branches: ["master"] },
    rows: {
      "create-file": notWanted,
      "file-exists": notWanted,
      "on-main": notWanted,
      "in-vain": broken,
      done: notWanted,
    },
    steps: { "check-file": "no" },
  },

  { pipeline: "loops", output: ["HELLO WORLD", "GOODBYE WORLD"] },
  {
    pipeline: "loops-maps",
    parameters: {
      systems: [
        { image: "debian", tag: "13" },
        { image: "alpine", tag: "3" },
      ],
    },
    output: ["debian:13", "alpine:3"],
  },
  { pipeline: "loops-result", output: ["slept 20 s", "slept 21 s", "slept 22 s", "slept 23 s"] },
  {
    pipeline: "loops-sequence",
    parameters: { count: 2 },
    output: { up: ["user200", "user201"], back: [5, 4, 3, 2, 1, 0] },
  },
  { pipeline: "map-reduce", output: 20 },
  { pipeline: "map-reduce", parameters: { parts: 100 }, output: 10_100 },
  {
    pipeline: "matrix",
    parameters: { platform: ["linux", "mac"], browser: ["chrome", "safari"] },
    output: ["linux/chrome", "linux/safari", "mac/chrome", "mac/safari"],
  },
  {
    pipeline: "matrix-include",
    output: [
      "amd64 go1.17 common",
      "amd64 go1.18 common",
      "s390x go1.17 common-cover",
      "s390x go1.18 common-cover",
      "none any common",
    ],
  },
  { pipeline: "matrix-results", output: { first: "alpine", all: ["ALPINE@1", "BUSYBOX@1"] } },

  {
    pipeline: "exit-handlers",
    input: "x",
    parameters: { works: true },
    output: "x",
    rows: { "intentional-failure": notWanted, cry: notWanted },
    steps: { notify: "Succeeded", celebrate: "hooray" },
  },
  {
    pipeline: "exit-handlers",
    parameters: { works: false },
    rows: { "intentional-failure": broken, work: notWanted, celebrate: notWanted },
    steps: { notify: "Failed", cry: "boohoo" },
  },
  { pipeline: "exit-with-param", output: "hello world", steps: { exit: "HELLO WORLD" } },
  { pipeline: "exit-of-a-step", output: "hello failed", rows: { hello: ignored } },
  {
    pipeline: "execution-status",
    output: null,
    rows: { task2: notWanted },
    steps: { verify: { task1: true, task2: false, all: "Succeeded" } },
  },
  {
    pipeline: "final-tasks",
    rows: { build: broken, deploy: upstream },
    steps: { "clean-up": "CLONED", report: "CLONED, then cleaned" },
  },

  { pipeline: "retry", output: { attempt: 3 } },
  { pipeline: "retry-backoff", output: { attempt: 3 } },
  { pipeline: "retry-conditional", rows: { "final-failure": "Failed ExitCode2" } },
  { pipeline: "until-heads", input: "heads", output: "heads" },
  { pipeline: "retries-exhausted", rows: { work: "Failed Broken" } },
  { pipeline: "timeout-of-a-step", rows: { slow: "Failed DeadlineExceeded", after: upstream } },
  {
    pipeline: "timeout-of-a-run",
    rows: { slow: "Cancelled PipelineTimeout", after: "Skipped PipelineTimeout" },
  },

  { pipeline: "continue-on-fail", output: "A", rows: { b: ignored } },
  { pipeline: "no-fail-fast", input: "x", rows: { b: broken, e: upstream }, steps: { d: "x" } },
  {
    pipeline: "fail-fast",
    rows: { b: broken, c: "Cancelled FailFast", d: "Skipped FailFast", e: upstream },
  },
  { pipeline: "default-results", output: "DEFAULT", rows: { produce: ignored } },
  { pipeline: "some-items-fail", output: [0, 0], steps: { work: [0, null, 0] } },

  {
    pipeline: "template-ref",
    output: ["HELLO WORLD", "FROM THE OUTSIDE"],
    rows: { "only-if/print": "Skipped UpstreamSkipped", "only-if": notWanted },
    steps: { "told/print": "FROM THE OUTSIDE" },
  },
  { pipeline: "print-message", output: "HELLO WORLD" },

  { pipeline: "aggregation", output: ["half is 1", "half is 2"] },
  { pipeline: "output-parameter", output: "HELLO WORLD" },
  { pipeline: "global-outputs", output: "hello world", steps: { consume: "HELLO WORLD" } },
  {
    pipeline: "objects",
    parameters: { git: { url: "example.org", commit: "abcdef0" } },
    output: "info: example.org@abcdef0 to prod",
  },
  { pipeline: "secret", input: "abc", output: createHmac("sha256", "hunter2").update("abc").digest("hex") },

  { pipeline: "release", input: "x", output: "X" },
  { pipeline: "one-at-a-time", input: "x", output: "X" },
  { pipeline: "memoized", output: "test, said" },

  { pipeline: "text-pipeline", input: "hello there", output: "[HELLO THERE]" },
  { pipeline: "failure-strategies", input: "Hello", rows: { failing: broken, dependent: upstream } },
  { pipeline: "best-effort", input: "Hello", output: "hello", rows: { failing: broken } },
  { pipeline: "parallel-analysis", input: "Hello World", output: ">>> world hello (2 words) <<<" },
  {
    pipeline: "metadata-isolation",
    input: "Hello World",
    output: "hello world :A HELLO WORLD :B 2 2",
  },
];

describe("the neighbours' examples, run as `millrace run` does", function () {
  this.timeout(30_000);

  for (const { pipeline, input, parameters = {}, output, rows = {}, steps = {} } of cases) {
    const given = Object.keys(parameters).length === 0 ? "" : ` with ${JSON.stringify(parameters)}`;
    it(`${pipeline}${given}`, async () => {
      const status = await runHere(folder, pipeline, argumentsOf(input, parameters));
      const told = (status.steps ?? []).filter(({ state, reason }) => state !== "Succeeded" || reason !== undefined);
      expect(Object.fromEntries(told.map((row) => [row.name, stateOf(row)]))).to.deep.equal(rows);
      expect(status.phase).to.equal(output === undefined ? "Failed" : "Succeeded");
      expect(contentOf(status.output)).to.deep.equal(output);
      for (const [name, value] of Object.entries(steps)) {
        const row = status.steps?.find((candidate) => candidate.name === name);
        expect(contentOf(row?.output), name).to.deep.equal(value);
      }
    });
  }

  it("coinflip: one side, and what it says", async () => {
    const { steps = [], output } = await runHere(folder, "coinflip", []);
    const [flip, heads, tails] = steps;
    const isHeads = contentOf(flip?.output) === "heads";
    expect([heads?.state, tails?.state]).to.deep.equal(isHeads ? ["Succeeded", "Skipped"] : ["Skipped", "Succeeded"]);
    expect(contentOf(output)).to.equal(isHeads ? "it was heads" : "it was tails");
  });

  it("counts attempts, waits between them, and gives up after the last", async () => {
    const attemptsOf = async (pipeline: string) => (await runHere(folder, pipeline, [])).steps?.[0]?.attempts;
    expect(await attemptsOf("retry")).to.equal(3);
    expect(await attemptsOf("retry-conditional")).to.equal(1);
    expect(await attemptsOf("until-heads")).to.equal(5);
    expect(await attemptsOf("retries-exhausted")).to.equal(3);
    const [backoff] = (await runHere(folder, "retry-backoff", [])).steps ?? [];
    expect(backoff?.durationMs).to.be.at.least(2 + 4);
  });

  it("gives named outputs", async () => {
    const { outputs = [] } = await runHere(folder, "global-outputs", []);
    expect(outputs.map(({ name, value }) => [name, contentOf(value)])).to.deep.equal([
      ["hello", "hello world"],
      ["words", 2],
    ]);
  });

  it("refuses parameters that their schemas refuse", async () => {
    const refused = async (parameters: Readonly<Record<string, Json>>) => {
      try {
        await runHere(folder, "objects", argumentsOf(undefined, parameters));
        return "taken";
      } catch (error) {
        return String(error);
      }
    };
    const git = { url: "example.org", commit: "abcdef0" };
    expect(await refused({ git, level: "trace" }))
      .to.contain("parameters.level")
      .and.to.contain('"debug", "info"');
    expect(await refused({ git: { url: "example.org" } })).to.contain("parameters.git");
    expect(await refused({ git, environments: ["one"] })).to.contain("parameters.environments");
  });

  it("are all that the page links to, each in its file, and all that there are", () => {
    const linked = [...linkedPipelines()].sort();
    expect(linked).to.deep.equal([...samplePipelines()].sort());
    const names = linked.map((path) => path.split("/")[1]);
    expect([...new Set([...cases.map(({ pipeline }) => pipeline), "coinflip"])]).to.have.members(names);
  });
});

function argumentsOf(input: string | undefined, parameters: Readonly<Record<string, Json>>): string[] {
  const given = Object.entries(parameters).flatMap(([name, value]) => [
    "--param",
    `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  ]);
  return input === undefined ? given : ["--input", input, ...given];
}

function stateOf({ state, reason, error }: StepRow): string {
  return [state, reason, error?.processorCode ?? error?.code].filter((part) => part !== undefined).join(" ");
}

function contentOf(row: PayloadRow | undefined): Json | undefined {
  return row?.json === undefined ? row?.text : row.json;
}
