import {
  type AgreementCase,
  absent,
  both,
  codes,
  create,
  differing,
  durations,
  expressions,
  field,
  freeJson,
  integer,
  type KubeObject,
  labels,
  of,
  pipeline,
  references,
  sizes,
  ttls,
  withField,
} from "./case-builders.ts";

/** Steps that each depend on as many as there are before them, up to a number. */
export const steps = (count: number, dependencies: number, prefix = "step-".repeat(11)) =>
  Array.from({ length: count }, (_, index) => ({
    name: `${prefix}${index}`,
    processor: "word-count",
    timeout: "1m30s",
    forEach: "input",
    maxParallel: 4,
    onFailure: "Ignore",
    cache: { maxAge: "10h10m10s10ms" },
    retry: { backoff: { initial: "100.000ms", max: "10h10m10s10ms" }, codes: ["Unavailable", "Internal"] },
    dependsOn: Array.from({ length: Math.min(index, dependencies) }, (_, back) => `${prefix}${index - 1 - back}`),
  }));
/** Steps of finally that each name all others. */
const finallySteps = (count: number, prefix = "last-".repeat(11)) =>
  steps(count, 0, prefix).map(({ cache: _cache, ...step }, index, all) => ({
    ...step,
    dependsOn: all.filter((_, other) => other !== index).map(({ name }) => name),
  }));
const outputs = Array.from({ length: 64 }, (_, index) => ({ name: `${"o".repeat(60)}${index}`, value: "input" }));
const largest = create("Pipeline", {
  steps: steps(1000, 64, "a-step-of-a-large-one-"),
  finally: finallySteps(32),
  outputs,
});
const nesting = create("Pipeline", {
  steps: Array.from({ length: 1000 }, (_, step) => ({
    name: `step-${step}`,
    pipeline: "publish",
    parameters: Array.from({ length: 64 }, (__, index) => ({ name: `p${index}`, value: "input" })),
  })),
});
export const largestInline = create("Execution", {
  pipelineSpec: { steps: steps(100, 64), finally: finallySteps(32), outputs },
  input: { text: "x".repeat(262_144) },
});
const wrongName = (object: KubeObject) => withField(object, "spec.steps[999].dependsOn[63]", "nowhere");

const nested = withField(pipeline, "spec.steps[0]", { name: "clean", pipeline: "publish" });
const concurrent = withField(pipeline, "spec.concurrency", { limit: 1 });
const last = { name: "notify", processor: "webhook" };
const ending = withField(pipeline, "spec.finally", [last, { name: "tidy", processor: "tidy", dependsOn: ["notify"] }]);

const nestedCases: AgreementCase[] = [
  ...field(nested, "spec.steps[0].pipeline", references.good, references.bad),
  ...field(nested, "spec.steps[0].processor", [null], ["html-to-text"]),
  ...field(nested, "spec.steps[0].when", ["true"], [""]),
  ...field(nested, "spec.steps[0].input", ["input"], [""]),
  ...field(nested, "spec.steps[0].dependsOn", [[]], [["clean"]]),
  ...field(nested, "spec.steps[0].options", [null], [{}, { a: 1 }]),
  ...field(nested, "spec.steps[0].optionsExpression", [null], ["{}"]),
  ...field(nested, "spec.steps[0].forEach", [null], ["input"]),
  ...field(nested, "spec.steps[0].maxParallel", [], [1]),
  ...field(nested, "spec.steps[0].timeout", [null], ["1s"]),
  ...field(nested, "spec.steps[0].retry", [null], [{}]),
  ...field(nested, "spec.steps[0].onFailure", [null], ["Ignore"]),
  ...field(nested, "spec.steps[0].cache", [null], [{ maxAge: "1h" }]),
  ...field(
    nested,
    "spec.steps[0].parameters",
    [[], [{ name: "max-words", value: "parameters.words" }], null],
    [
      [{ name: "a" }],
      [{ value: "1" }],
      [{ name: "a", value: 1 }],
      [{ name: "a", value: "" }],
      [
        { name: "a", value: "1" },
        { name: "a", value: "2" },
      ],
      Array.from({ length: 65 }, (_, index) => ({ name: `p${index}`, value: "1" })),
    ],
  ),
];

const stepCases: AgreementCase[] = [
  ...field(pipeline, "spec.steps[0].pipeline", [null], ["publish", ""]),
  ...of("a nested Pipeline", nestedCases),
  ...field(pipeline, "spec.steps[0].parameters", [null], [[], [{ name: "a", value: "1" }]]),
  ...both(pipeline, "spec.steps[0].optionsExpression", expressions),
  ...both(pipeline, "spec.steps[0].forEach", expressions),
  ...field(pipeline, "spec.steps[0].maxParallel", [null], [1]),
  ...of(
    "with forEach",
    both(withField(pipeline, "spec.steps[0].forEach", "input"), "spec.steps[0].maxParallel", integer(1, 1000)),
  ),
  ...field(pipeline, "spec.steps[0].onFailure", ["Ignore", null], ["Continue", "ignore", true]),
  ...field(
    pipeline,
    "spec.steps[0].cache",
    [{ maxAge: "1h" }, { maxAge: "1h", key: "input.digest" }, { maxAge: "1h", key: null }, null],
    [{}, { key: "input" }, { maxAge: "0s" }, { maxAge: 60 }, { maxAge: "1h", key: "" }, { maxAge: "1h", keys: "a" }],
  ),
];

const finallyCases: AgreementCase[] = [
  ...field(
    pipeline,
    "spec.finally",
    [[], [last], [{ ...last, when: "execution.state == 'Failed'", forEach: "input", maxParallel: 2 }], null],
    [
      {},
      [{ name: "notify" }],
      [{ ...last, pipeline: "publish" }],
      [{ ...last, parameters: [] }],
      [{ ...last, cache: { maxAge: "1h" } }],
      [{ ...last, maxParallel: 2 }],
      [{ ...last, name: "Notify" }],
      [{ ...last, timeout: "0s" }],
      [{ ...last, retry: { codes: ["Interrupted"] } }],
      [{ ...last, onFailure: "Fail" }],
    ],
  ),
  ...field(ending, "spec.finally[1].dependsOn", [[], null], [["tidy"], ["notify", "notify"], "notify"]),
  ...differing("dependsOn", ending, "spec.finally[1].dependsOn", ["notfy"]),
  ...differing("dependsOn", ending, "spec.finally[1].dependsOn", ["clean"]),
  ...differing("finallyName", ending, "spec.finally[1].name", "clean"),
  ...differing("duplicateStep", ending, "spec.finally[1]", last),
  ...both(pipeline, "spec.finallyTimeout", durations),
  {
    name: "Pipeline of 33 steps of finally",
    object: withField(pipeline, "spec.finally", finallySteps(33)),
    accepted: false,
  },
];

const wholeCases: AgreementCase[] = [
  ...field(
    pipeline,
    "spec.strategy",
    ["WorkQueue", "LevelByLevel", "Reactive", "Hybrid", null],
    ["workqueue", "", "Random"],
  ),
  ...field(
    pipeline,
    "spec.outputs",
    [[], [{ name: "a_b-c", value: "input" }], outputs, null],
    [
      [{ name: "a" }],
      [{ name: "1", value: "input" }],
      [{ name: "a b", value: "input" }],
      [{ name: "a", value: "" }],
      [{ name: "a", value: 1 }],
      [
        { name: "a", value: "1" },
        { name: "a", value: "2" },
      ],
      [...outputs, { name: "one-more", value: "input" }],
    ],
  ),
  ...field(
    pipeline,
    "spec.concurrency",
    [{ limit: 1 }, { limit: 1, policy: "Queue", queueTimeout: "1h" }, { limit: 1, queueTimeout: "1h" }, null],
    [{}, { policy: "Queue" }, { limit: 1, policy: "Forbid", queueTimeout: "1h" }, { limit: 1, queueTimout: "1h" }],
  ),
  ...field(concurrent, "spec.concurrency.limit", [1, 10_000], [0, 10_001, 1.5, "1", absent]),
  ...field(concurrent, "spec.concurrency.policy", ["Forbid", "Replace", null], ["queue", ""]),
  ...both(concurrent, "spec.concurrency.queueTimeout", durations),
  ...field(pipeline, "spec.historyLimit", [{}, { succeeded: 0, failed: 100_000 }, null], [{ cancelled: 1 }, 3]),
  ...both(pipeline, "spec.historyLimit.succeeded", integer(0, 100_000)),
  ...both(pipeline, "spec.historyLimit.failed", integer(0, 100_000)),
  { name: "Pipeline of 1,000 nested ones with 64 parameters each", object: nesting, accepted: true },
];

export const pipelineCases: AgreementCase[] = [
  ...field(pipeline, "spec.failurePolicy", ["FailFast", "Continue", "BestEffort", null], ["Ignore", ""]),
  ...both(pipeline, "spec.maxParallelSteps", integer(1, 1000)),
  ...both(pipeline, "spec.timeout", durations),
  ...field(
    pipeline,
    "spec.parameters",
    [
      [],
      [
        { name: "a_b-c", default: null },
        { name: "B", schema: { type: "string" }, default: { a: [null] } },
      ],
      null,
    ],
    [
      [{}],
      [{ name: "a" }, { name: "a" }],
      [{ name: "1" }],
      [{ name: "" }],
      [{ name: "a b" }],
      [{ name: "a", schema: 1 }],
      [null],
    ],
  ),
  ...field(pipeline, "spec.input", [{}, { schema: {} }, null], [{ schema: [] }, { max: 1 }]),
  ...both(pipeline, "spec.input.maxSize", sizes),
  ...field(
    pipeline,
    "spec.steps",
    [[{ name: "a", processor: "b" }]],
    [
      absent,
      [],
      null,
      {},
      [{ name: "a" }],
      [{ name: "a", processor: "b", pipeline: "c" }],
      [{ processor: "a" }],
      ["a"],
      [null],
    ],
  ),
  ...both(pipeline, "spec.steps[0].processor", references),
  ...field(pipeline, "spec.steps[1].name", ["x"], []),
  ...field(
    pipeline,
    "spec.steps[1].dependsOn",
    [[], ["clean"], null, absent],
    ["clean", [1], ["clean", "clean"], ["count"]],
  ),
  ...both(withField(pipeline, "spec.steps[1].dependsOn", absent), "spec.steps[0].name", labels),
  ...both(pipeline, "spec.steps[0].options", freeJson),
  ...both(pipeline, "spec.steps[0].input", expressions),
  ...both(pipeline, "spec.steps[0].when", expressions),
  ...field(pipeline, "spec.steps[0].timeout", ["30s"], ["0s", 1]),
  ...field(
    pipeline,
    "spec.steps[0].retry",
    [{}, { limit: 3, backoff: { initial: "1s", factor: 1, max: "1m", jitterPercent: 0 }, codes: [] }],
    [{ limit: 11 }, { backoff: { initial: "x" } }, { on: [] }],
  ),
  ...both(pipeline, "spec.steps[0].retry.codes", codes),
  ...both(pipeline, "spec.output", expressions),
  ...both(pipeline, "spec.ttlSecondsAfterFinished", ttls),
  ...differing("wrongType", pipeline, "spec.parameters", { name: "a" }),
  ...differing("duplicateStep", pipeline, "spec.steps[1].name", "clean"),
  ...differing("dependsOn", pipeline, "spec.steps[1].dependsOn", [""]),
  {
    name: "Pipeline with an unknown dependency",
    object: withField(pipeline, "spec.steps[1].dependsOn", ["cleam"]),
    accepted: false,
    difference: "dependsOn",
  },
  { name: "Pipeline of 1,000 steps with 64 dependencies each and 32 of finally", object: largest, accepted: true },
  {
    name: "Pipeline of 1,000 steps, the last dependency unknown",
    object: wrongName(largest),
    accepted: false,
    difference: "dependsOn",
  },
  { name: "Pipeline of 1,001 steps", object: create("Pipeline", { steps: steps(1001, 1) }), accepted: false },
  {
    name: "Pipeline with 65 dependencies in a step",
    object: create("Pipeline", { steps: steps(70, 65) }),
    accepted: false,
  },
  ...stepCases,
  ...finallyCases,
  ...wholeCases,
];
