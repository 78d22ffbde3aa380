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
export const absent = Symbol("absent");

export function create(kind: Kind, spec: unknown): KubeObject {
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
export function field(
  base: KubeObject,
  path: string,
  good: readonly unknown[],
  bad: readonly unknown[],
): AgreementCase[] {
  const caseOf = (value: unknown, accepted: boolean): AgreementCase => {
    const text = value === absent ? "absent" : shorten(JSON.stringify(value));
    return { name: `${base.kind} ${path} ${text}`, object: withField(base, path, value), accepted };
  };
  return [...good.map((value) => caseOf(value, true)), ...bad.map((value) => caseOf(value, false))];
}

/** The same cases, named by what is special about the object that the field is of. */
export function of(what: string, cases: readonly AgreementCase[]): AgreementCase[] {
  return cases.map((entry) => ({ ...entry, name: `${what}: ${entry.name}` }));
}

/** A value that both refuse, each in its own way. */
export function differing(difference: string, base: KubeObject, path: string, value: unknown): AgreementCase[] {
  return field(base, path, [], [value]).map((entry) => ({ ...entry, difference }));
}

function shorten(json: string): string {
  return json.length <= 60 ? json : `${json.slice(0, 40)}… (${json.length} characters, ends with ${json.slice(-12)})`;
}

export const builtin = create("Processor", { local: { builtin: "text.uppercase" } });
export const local = create("Processor", { local: { module: { file: "words.mjs" } } });
export const grpc = create("Processor", { rpc: { protocol: "GRPC", endpoint: "dns:///words.default.svc:50051" } });
export const http = create("Processor", { rpc: { protocol: "HTTP", endpoint: "http://words" } });
export const wasm = create("Processor", { wasm: { source: { file: "words.wasm" } } });
export const pipeline = create("Pipeline", {
  steps: [
    { name: "clean", processor: "html-to-text" },
    { name: "count", processor: "word-count", dependsOn: ["clean"] },
  ],
});
export const execution = create("Execution", { pipeline: "article" });
export const inline = create("Execution", { pipelineSpec: pipeline.spec });

export const digest = `sha256:${"0a".repeat(32)}`;
export const durations = {
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
export const sizes = {
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
export const labels = {
  good: ["a", "a1", "html-to-text", "0", "x".repeat(63)],
  bad: ["", "A", "-a", "a-", "a.b", "a_b", "ü", "a\n", "x".repeat(64), 1, null, absent],
};
export const references = { good: ["a", "a.b", "x".repeat(63)], bad: ["", "x".repeat(64), 5, absent] };
export const files = {
  good: ["a.wasm", "dir/a-b_c.wasm", "x".repeat(255)],
  bad: ["", "/a", "../a", "a/../b", ".a", "a//b", "a\\b", "a b", "x".repeat(256), 3],
};
export const freeJson = {
  good: [{}, { a: null, b: [1, { c: null }], "d.e": 1.5, __proto: {} }, null],
  bad: [[], "x", 1, Object.fromEntries(Array.from({ length: 129 }, (_, index) => [`k${index}`, index]))],
};
export const expressions = {
  good: ["input", "x".repeat(4096), "ü".repeat(4096), "😀".repeat(4096), null],
  bad: ["", "x".repeat(4097), "😀".repeat(4097), 1],
};
export const codes = {
  good: [[], ["Unavailable", "Internal"], null],
  bad: [["Cancelled"], ["Unavailable", "Unavailable"], ["unavailable"], "Unavailable", [null]],
};
export const ttls = { good: [0, 31_536_000, null], bad: [-1, 31_536_001, 1.5, "60"] };

export function integer(least: number, most: number) {
  return { good: [least, most, null], bad: [least - 1, most + 1, least + 0.5, String(least), true] };
}

export function both(
  base: KubeObject,
  path: string,
  { good, bad }: { good: readonly unknown[]; bad: readonly unknown[] },
) {
  return field(base, path, good, bad);
}

export function update(name: string, old: KubeObject, path: string, value: unknown, accepted: boolean): AgreementCase {
  return { name: `update: ${name}`, old, object: withField(old, path, value), accepted };
}
