import type { Kind } from "../../controller/api/structural-schema.ts";

export interface AgreementCase {
  readonly name: string;
  readonly object: KubeObject;
  /** Set: an update of this object, else a create. */
  readonly old?: KubeObject;
  readonly accepted: boolean;
  /** The row of DIFFERENCES.md that the two answers differ by. */
  readonly difference?: string;
}

export type KubeObject = {
  apiVersion: string;
  kind: string;
  metadata: Record<string, unknown>;
  [key: string]: unknown;
};

/** Absent from the object. */
const absent = Symbol("absent");

function create(kind: Kind, spec: unknown): KubeObject {
  return { apiVersion: "millrace.dev/v1alpha1", kind, metadata: { name: "a" }, spec };
}

/** A copy of the object with the value in the field; objects on the way are made. */
export function withField(object: KubeObject, path: string, value: unknown): KubeObject {
  const copy = structuredClone(object);
  const keys = path.split(/[.[\]]+/).filter((key) => key !== "");
  const last = keys.pop() ?? "";
  let at: Record<string, unknown> = copy;
  for (const key of keys) {
    at[key] ??= {};
    at = at[key] as Record<string, unknown>;
  }
  if (value === absent) delete at[last];
  else Object.defineProperty(at, last, { value, enumerable: true, configurable: true, writable: true });
  return copy;
}

/** Cases that put values into one field: those that are to be taken, and those that are not. */
function field(base: KubeObject, path: string, good: readonly unknown[], bad: readonly unknown[]): AgreementCase[] {
  const caseOf = (value: unknown, accepted: boolean): AgreementCase => {
    const text = value === absent ? "absent" : shorten(JSON.stringify(value));
    return { name: `${base.kind} ${path} ${text}`, object: withField(base, path, value), accepted };
  };
  return [...good.map((value) => caseOf(value, true)), ...bad.map((value) => caseOf(value, false))];
}

/** A value that both refuse, each in its own way. */
function differing(difference: string, base: KubeObject, path: string, value: unknown): AgreementCase[] {
  return field(base, path, [], [value]).map((entry) => ({ ...entry, difference }));
}

function shorten(json: string): string {
  return json.length <= 60 ? json : `${json.slice(0, 40)}… (${json.length} characters, ends with ${json.slice(-12)})`;
}

const builtin = create("Processor", { local: { builtin: "text.uppercase" } });
const local = create("Processor", { local: { module: { file: "words.mjs" } } });
const grpc = create("Processor", { rpc: { protocol: "GRPC", endpoint: "dns:///words.default.svc:50051" } });
const http = create("Processor", { rpc: { protocol: "HTTP", endpoint: "http://words" } });
const wasm = create("Processor", { wasm: { source: { file: "words.wasm" } } });
const pipeline = create("Pipeline", {
  steps: [
    { name: "clean", processor: "html-to-text" },
    { name: "count", processor: "word-count", dependsOn: ["clean"] },
  ],
});
const execution = create("Execution", { pipeline: "article" });
const inline = create("Execution", { pipelineSpec: pipeline.spec });

const digest = `sha256:${"0a".repeat(32)}`;
const durations = {
  good: ["1ms", "30s", "1m30s", "0.5h", "576h", "1h1h", "007s", "0.000001ms", null],
  bad: [
    "",
    "0s",
    "0ms0s",
    "30",
    "-5s",
    "577h",
    "1d",
    "1 s",
    "s",
    "999999999999h",
    "575h61m",
    "0.0000001ms",
    "1.5.5s",
    ".5s",
    "5.s",
    "1s\n",
    "１s",
    30,
    true,
  ],
};
const sizes = {
  good: [1, 67_108_864, "1", "67108864", "64Mi", "65536Ki", "67M", "67108k", "1k", null],
  bad: [
    0,
    -1,
    67_108_865,
    "0",
    "67108865",
    "65Mi",
    "65537Ki",
    "68M",
    "67109k",
    "1Gi",
    "1.5Mi",
    "4 Mi",
    "",
    "Mi",
    1.5,
    true,
  ],
};
const labels = {
  good: ["a", "a1", "html-to-text", "0", "x".repeat(63)],
  bad: ["", "A", "-a", "a-", "a.b", "a_b", "ü", "a\n", "x".repeat(64), 1, null, absent],
};
const references = { good: ["a", "a.b", "x".repeat(63)], bad: ["", "x".repeat(64), 5, absent] };
const files = {
  good: ["a.wasm", "dir/a-b_c.wasm", "x".repeat(255)],
  bad: ["", "/a", "../a", "a/../b", ".a", "a//b", "a\\b", "a b", "x".repeat(256), 3],
};
const freeJson = {
  good: [{}, { a: null, b: [1, { c: null }], "d.e": 1.5, __proto: {} }, null],
  bad: [[], "x", 1, Object.fromEntries(Array.from({ length: 129 }, (_, index) => [`k${index}`, index]))],
};
const expressions = {
  good: ["input", "x".repeat(4096), "ü".repeat(4096), "😀".repeat(4096), null],
  bad: ["", "x".repeat(4097), "😀".repeat(4097), 1],
};
const codes = {
  good: [[], ["Unavailable", "Internal"], null],
  bad: [["Cancelled"], ["Unavailable", "Unavailable"], ["unavailable"], "Unavailable", [null]],
};
const ttls = { good: [0, 31_536_000, null], bad: [-1, 31_536_001, 1.5, "60"] };

function integer(least: number, most: number) {
  return { good: [least, most, null], bad: [least - 1, most + 1, least + 0.5, String(least), true] };
}

function both(base: KubeObject, path: string, { good, bad }: { good: readonly unknown[]; bad: readonly unknown[] }) {
  return field(base, path, good, bad);
}

const processorCases: AgreementCase[] = [
  ...field(
    builtin,
    "spec",
    [],
    [absent, {}, null, [], { local: {} }, { local: { builtin: "a" }, wasm: { source: { file: "a" } } }],
  ),
  ...field(builtin, "spec.intent", ["Transform", "Analyze", absent, null], ["transform", "", 1]),
  ...field(
    builtin,
    "spec.local.builtin",
    ["text.uppercase", "json.pick", "sha256"],
    ["", ".a", "a.", "A", "a..b", "x".repeat(64)],
  ),
  ...field(builtin, "spec.local.module", [], [{ file: "a.mjs" }]),
  ...both(local, "spec.local.module.file", files),
  ...field(local, "spec.local.module.export", ["default", "process", "$a_1"], ["", "1a", "a-b", "a.b"]),
  ...field(
    local,
    "spec.local.module.digest",
    [digest, absent, null],
    ["", "sha256:", digest.toUpperCase(), `${digest}0`],
  ),
  ...field(local, "spec.local.module.isolation", ["Thread", "Inline"], ["Process", "thread"]),
  ...field(
    grpc,
    "spec.rpc.endpoint",
    ["a:1", "dns:///a.b-c:65535", "127.0.0.1:80", "[::1]:80", "dns:///[fe80::1]:80"],
    [
      "",
      "a",
      "a:",
      ":80",
      "unix:///a",
      "http://a:80",
      "dns://a:80",
      "a:0",
      "a:65536",
      "[::1]:0",
      "a:80/b",
      "a b:80",
      absent,
    ],
  ),
  ...field(
    http,
    "spec.rpc.endpoint",
    ["https://a", "http://a.b:80", "http://[::1]:80"],
    [
      "http://",
      "http://a/",
      "http://a/b",
      "ftp://a",
      "a:80",
      "http://u@a",
      "http://a:0",
      "http://a:65536",
      "http://[::1]:70000",
      "http://a?b",
    ],
  ),
  ...field(http, "spec.rpc.protocol", [], ["GRPC", "http", absent]),
  ...field(
    http,
    "spec.rpc.http",
    [{}, { path: "/a?b=c" }, absent],
    [{ path: "a" }, { path: "" }, { path: "/a b" }, { path: "/a#b" }, { paths: "/a" }],
  ),
  ...field(grpc, "spec.rpc.http", [null], [{ path: "/" }, { path: "/process" }]),
  ...both(grpc, "spec.rpc.maxConnections", integer(1, 64)),
  ...field(
    wasm,
    "spec.wasm.source",
    [{ configMapKeyRef: { name: "a", key: "b" } }],
    [{}, { configMapKeyRef: {} }, { file: "a", configMapKeyRef: { name: "a", key: "b" } }, { oci: "a" }, absent],
  ),
  ...both(wasm, "spec.wasm.source.file", files),
  ...field(wasm, "spec.wasm.digest", [digest], ["sha1:00", digest.replace("a", "g")]),
  ...field(wasm, "spec.wasm.abi", ["Auto", "Direct"], ["Extism", ""]),
  ...field(wasm, "spec.wasm.entrypoint", ["process", "_start"], ["", "x".repeat(129)]),
  ...field(
    wasm,
    "spec.wasm.limits.memory",
    ["4Gi", "4096Mi", "4194304Ki", "4G", "4294M", "4294967k", 4_294_967_296, "64Mi"],
    ["5Gi", "4097Mi", "4194305Ki", "5G", "4295M", "4294968k", 4_294_967_297, 0, "0Mi", "64Ti", "x"],
  ),
  ...field(wasm, "spec.wasm.limits", [{}, null], [{ fuel: 1 }, []]),
  ...both(builtin, "spec.options", freeJson),
  ...both(builtin, "spec.optionsSchema", freeJson),
  ...both(builtin, "spec.timeout", durations),
  ...field(
    builtin,
    "spec.retry",
    [{}, null, { backoff: {} }, { limit: 0 }, { backoff: null }],
    [{ limits: 1 }, [], { backoff: { initial: "0s" } }],
  ),
  ...both(builtin, "spec.retry.limit", integer(0, 10)),
  ...field(builtin, "spec.retry.backoff.factor", [1, 1.5, 10, null], [0.99, 10.01, "2"]),
  ...both(builtin, "spec.retry.backoff.jitterPercent", integer(0, 100)),
  ...both(builtin, "spec.retry.codes", codes),
  ...both(builtin, "spec.maxInputSize", sizes),
  ...field(builtin, "spec.maxOutputSize", ["64Mi"], ["65Mi", "x".repeat(13)]),
  ...both(builtin, "spec.maxConcurrency", integer(1, 1024)),
];

/** Steps that each depend on as many as there are before them, up to a number. */
const steps = (count: number, dependencies: number, prefix = "step-".repeat(11)) =>
  Array.from({ length: count }, (_, index) => ({
    name: `${prefix}${index}`,
    processor: "word-count",
    timeout: "1m30s",
    retry: { backoff: { initial: "100.000ms", max: "10h10m10s10ms" }, codes: ["Unavailable", "Internal"] },
    dependsOn: Array.from({ length: Math.min(index, dependencies) }, (_, back) => `${prefix}${index - 1 - back}`),
  }));
const largest = create("Pipeline", { steps: steps(1000, 64, "a-step-of-a-large-one-") });
const largestInline = create("Execution", {
  pipelineSpec: { steps: steps(100, 64) },
  input: { text: "x".repeat(262_144) },
});
const wrongName = (object: KubeObject) => withField(object, "spec.steps[999].dependsOn[63]", "nowhere");

const pipelineCases: AgreementCase[] = [
  ...field(pipeline, "spec.failurePolicy", ["FailFast", "Continue", null], ["BestEffort", ""]),
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
    [absent, [], null, {}, [{ name: "a" }], [{ processor: "a" }], ["a"], [null]],
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
  { name: "Pipeline of 1,000 steps with 64 dependencies each", object: largest, accepted: true },
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
];

const base64 = Buffer.alloc(262_144, 7).toString("base64");
const executionCases: AgreementCase[] = [
  ...field(execution, "spec", [{ pipeline: "a" }], [{}, { pipeline: "a", pipelineSpec: pipeline.spec }, absent]),
  ...field(execution, "spec.pipeline", references.good, references.bad),
  ...field(
    execution,
    "spec.parameters",
    [
      [],
      [
        { name: "a", value: null },
        { name: "b", value: { c: [1] } },
      ],
    ],
    [
      [{ name: "a" }],
      [{ value: 1 }],
      [
        { name: "a", value: 1 },
        { name: "a", value: 2 },
      ],
      [{ name: "", value: 1 }],
    ],
  ),
  ...field(
    execution,
    "spec.input",
    [
      { json: null },
      { json: { a: [1, null] } },
      { json: "x" },
      { text: "" },
      { base64: "" },
      { base64: "YQ==" },
      { base64 },
      { configMapKeyRef: { name: "a", key: "b" } },
      null,
    ],
    [
      {},
      { text: "a", json: 1 },
      { text: 1 },
      { text: null },
      { base64: "YQ" },
      { base64: "Y-==" },
      { base64: "=YQ=" },
      { configMapKeyRef: { name: "a" } },
      { file: "a" },
      "x",
    ],
  ),
  ...field(execution, "spec.input.text", ["ü".repeat(262_144)], ["x".repeat(262_145)]),
  ...field(execution, "spec.cancel", ["None", "Immediate", null], ["Graceful", "none", true]),
  ...both(execution, "spec.ttlSecondsAfterFinished", ttls),
  ...field(inline, "spec.pipelineSpec.ttlSecondsAfterFinished", [], [60]),
  ...field(inline, "spec.pipelineSpec.steps", [steps(100, 64)], [steps(101, 1), []]),
  ...field(inline, "spec.pipelineSpec.maxParallelSteps", [2], [0]),
  {
    name: "Execution with an unknown dependency inline",
    object: withField(inline, "spec.pipelineSpec.steps[1].dependsOn", ["x"]),
    accepted: false,
    difference: "dependsOn",
  },
  { name: "Execution of the largest size", object: largestInline, accepted: true },
];

const metadataCases: AgreementCase[] = [
  ...field(
    execution,
    "metadata.name",
    ["a.b-c", "x".repeat(63), "0"],
    ["A", "a_b", "-a", "a.", "x".repeat(64), absent, ""],
  ),
  ...field(
    execution,
    "metadata.labels",
    [{ "example.com/a": "b", c: "" }, null],
    [{ "a b": "c" }, { a: "b c" }, { "/a": "b" }, { a: "x".repeat(64) }],
  ),
  ...field(execution, "metadata.annotations", [{ "Example.com/a": "any thing" }], [{ "a b": "c" }]),
  ...field(execution, "metadata.nmae", [], ["a"]),
  ...field(execution, "specs", [], [{}]),
  ...field(
    execution,
    "status",
    [{ phase: "Running" }, { phase: "Nonsense" }, null],
    [{ phases: 1 }, { steps: [{ name: "a", state: "Running", foo: 1 }] }],
  ),
  ...field(execution, "spec.pipelin", [], ["a"]),
  ...field(pipeline, "spec.steps[0].dependson", [], [["a"]]),
];

function update(name: string, old: KubeObject, path: string, value: unknown, accepted: boolean): AgreementCase {
  return { name: `update: ${name}`, old, object: withField(old, path, value), accepted };
}

const withInput = (input: unknown) => withField(execution, "spec.input", input);
const withParameters = (value: unknown) => withField(execution, "spec.parameters", [{ name: "a", value }]);
const withOptions = (options: unknown) => withField(inline, "spec.pipelineSpec.steps[0].options", options);
const reversed = [...(pipeline.spec as { steps: unknown[] }).steps].reverse();

const updateCases: AgreementCase[] = [
  update("an Execution unchanged", execution, "spec.cancel", absent, true),
  update("another pipeline", execution, "spec.pipeline", "b", false),
  update("a pipelineSpec instead", execution, "spec", inline.spec, false),
  update("input added", execution, "spec.input", { json: 1 }, false),
  update("input removed", withInput({ json: 1 }), "spec.input", absent, false),
  update("another json", withInput({ json: { a: 1 } }), "spec.input.json.a", 2, false),
  update("json with one more key", withInput({ json: { a: 1 } }), "spec.input.json.b", 2, false),
  update("json with one key less", withInput({ json: { a: 1, b: 2 } }), "spec.input.json.b", absent, false),
  update("json null, another", withInput({ json: null }), "spec.input.json", 1, false),
  update("text instead of json", withInput({ json: 1 }), "spec.input", { text: "1" }, false),
  update(
    "the same json in another order",
    withInput({ json: { a: 1, b: 2 } }),
    "spec.input.json",
    { b: 2, a: 1 },
    true,
  ),
  update("another text", withInput({ text: "a" }), "spec.input.text", "b", false),
  update("the largest Execution unchanged", largestInline, "spec.cancel", "Immediate", true),
  update("the largest Execution, a dependency less", largestInline, "spec.pipelineSpec.steps[99].dependsOn", [], false),
  update("another parameter's value", withParameters(1), "spec.parameters[0].value", 2, false),
  update("a parameter's value with one more key", withParameters({ a: 1 }), "spec.parameters[0].value.b", 2, false),
  update(
    "a parameter's value with one key less",
    withParameters({ a: 1, b: 1 }),
    "spec.parameters[0].value",
    { a: 1 },
    false,
  ),
  update(
    "a parameter added",
    withParameters(1),
    "spec.parameters",
    [
      { name: "a", value: 1 },
      { name: "b", value: 1 },
    ],
    false,
  ),
  update("parameters removed", withParameters(1), "spec.parameters", absent, false),
  update("steps in another order", inline, "spec.pipelineSpec.steps", reversed, true),
  update("an option added", withOptions({ a: 1 }), "spec.pipelineSpec.steps[0].options.b", 1, false),
  update("an option removed", withOptions({ a: 1, b: 1 }), "spec.pipelineSpec.steps[0].options", { a: 1 }, false),
  update(
    "an option's inner key added",
    withOptions({ a: { x: 1 } }),
    "spec.pipelineSpec.steps[0].options.a.y",
    1,
    false,
  ),
  update("another default filled in by hand", inline, "spec.pipelineSpec.maxParallelSteps", 16, true),
  update("cancelled", execution, "spec.cancel", "Immediate", true),
  update("a cancellation taken back", withField(execution, "spec.cancel", "Immediate"), "spec.cancel", "None", false),
  update("a cancellation dropped", withField(execution, "spec.cancel", "Immediate"), "spec.cancel", absent, false),
  update(
    "another ttl",
    withField(execution, "spec.ttlSecondsAfterFinished", 1),
    "spec.ttlSecondsAfterFinished",
    2,
    true,
  ),
  update("a Pipeline's steps", pipeline, "spec.steps[1].processor", "other", true),
  update("a Processor's backend", builtin, "spec.local", { module: { file: "a.mjs" } }, true),
];

/** Objects that the API server and the offline check must judge alike. */
export const agreementCases: readonly AgreementCase[] = [
  ...processorCases,
  ...pipelineCases,
  ...executionCases,
  ...metadataCases,
  ...updateCases,
];
