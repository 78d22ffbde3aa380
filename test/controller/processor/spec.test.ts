import { expect } from "chai";
import { builtinOptionsSchema } from "../../../backends/local/builtins/catalogue.ts";
import type { ProcessorSpec } from "../../../controller/api/types.ts";
import { backendKind, processorFacts, processorSpec } from "../../../controller/processor/spec.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { apiSpec, wasmSpec } from "./builders.ts";

const implementation = (more: Partial<ProcessorSpec>) => processorSpec("team", "words", apiSpec(more)).implementation;

describe("a Processor in the backends' terms", () => {
  const digest = `sha256:${"a".repeat(64)}`;
  const rows: readonly [string, Partial<ProcessorSpec>, object][] = [
    ["a built-in", { local: { builtin: "text.trim" } }, { kind: "Builtin", name: "text.trim" }],
    [
      "an ES module",
      { local: { module: { file: "a.mjs", export: "process", isolation: "Thread", digest } } },
      { kind: "Module", file: "a.mjs", export: "process", isolation: "Thread", digest },
    ],
    [
      "a gRPC service",
      { rpc: { protocol: "GRPC", endpoint: "dns:///words:50051", maxConnections: 4 } },
      { kind: "GRPC", endpoint: "dns:///words:50051", maxConnections: 4 },
    ],
    [
      "an HTTP service at the path of the default",
      { rpc: { protocol: "HTTP", endpoint: "http://words", maxConnections: 2 } },
      { kind: "HTTP", endpoint: "http://words", path: "/process", maxConnections: 2 },
    ],
    [
      "an HTTP service at its own path",
      { rpc: { protocol: "HTTP", endpoint: "http://words", maxConnections: 2, http: { path: "/count" } } },
      { kind: "HTTP", endpoint: "http://words", path: "/count", maxConnections: 2 },
    ],
    [
      "a WASM module from a file",
      { wasm: wasmSpec({ source: { file: "a.wasm" } }) },
      {
        kind: "WASM",
        source: { kind: "File", file: "a.wasm" },
        abi: "Auto",
        entrypoint: "process",
        limits: { maxMemoryBytes: 67_108_864, fuel: 10_000_000_000 },
        capabilities: { allowedHosts: [], env: {}, config: {} },
        reuse: 1,
        isolation: "Worker",
      },
    ],
    [
      "a WASM module from a ConfigMap, pinned",
      {
        wasm: wasmSpec({
          source: { configMapKeyRef: { name: "m", key: "k" } },
          abi: "Direct",
          entrypoint: "run",
          limits: { memory: 65_536, fuel: 1_000 },
          isolation: "Inline",
          digest,
        }),
      },
      {
        kind: "WASM",
        source: { kind: "ConfigMapKey", name: "m", key: "k" },
        abi: "Direct",
        entrypoint: "run",
        limits: { maxMemoryBytes: 65_536, fuel: 1_000 },
        capabilities: { allowedHosts: [], env: {}, config: {} },
        reuse: 1,
        isolation: "Inline",
        digest,
      },
    ],
    [
      "a WASM module of a registry, signed, with all that it may be given",
      {
        wasm: wasmSpec({
          source: { oci: "ghcr.io/acme/words:1.2" },
          pullPolicy: "Always",
          pullSecretRef: { name: "registry" },
          verify: { publicKeySecretRef: { name: "keys", key: "cosign.pub" } },
          abi: "Extism",
          capabilities: {
            allowedHosts: ["*.example.com"],
            env: [
              { name: "LOG", value: "info" },
              { name: "TOKEN", valueFrom: { secretKeyRef: { name: "words", key: "token" } } },
            ],
            config: [{ name: "__proto__", value: "10" }],
            randomSeed: "seed",
          },
          reuse: 100,
        }),
      },
      {
        kind: "WASM",
        source: { kind: "OCI", reference: "ghcr.io/acme/words:1.2" },
        pullPolicy: "Always",
        pullSecret: "registry",
        verify: { secret: "keys", key: "cosign.pub" },
        abi: "Extism",
        entrypoint: "process",
        limits: { maxMemoryBytes: 67_108_864, fuel: 10_000_000_000 },
        capabilities: {
          allowedHosts: ["*.example.com"],
          env: { LOG: "info" },
          secretEnv: ["TOKEN"],
          config: Object.fromEntries([["__proto__", "10"]]),
          randomSeed: "seed",
        },
        reuse: 100,
        isolation: "Worker",
      },
    ],
    [
      "a WASM module of a web server, signed by the only key of a Secret",
      {
        wasm: wasmSpec({
          source: { http: "https://example.com/a.wasm" },
          verify: { publicKeySecretRef: { name: "keys" } },
        }),
      },
      {
        kind: "WASM",
        source: { kind: "HTTP", url: "https://example.com/a.wasm" },
        verify: { secret: "keys" },
        abi: "Auto",
        entrypoint: "process",
        limits: { maxMemoryBytes: 67_108_864, fuel: 10_000_000_000 },
        capabilities: { allowedHosts: [], env: {}, config: {} },
        reuse: 1,
        isolation: "Worker",
      },
    ],
  ];
  for (const [what, more, expected] of rows) {
    it(`is ${what}`, () => expect(implementation(more)).to.deep.equal(expected));
  }

  it("has its limits in milliseconds and bytes", () => {
    expect(
      processorSpec(
        "team",
        "words",
        apiSpec({ local: { builtin: "a" }, timeout: "1m30s", maxInputSize: 1_000, maxOutputSize: "2Ki" }),
      ).limits,
    ).to.include({ timeoutMs: 90_000, maxInputBytes: 1_000, maxOutputBytes: 2_048, maxConcurrency: 64 });
  });

  it("is refused where it says what the API server would have refused", () => {
    expect(() => implementation({}))
      .to.throw(MillraceError)
      .with.property("code", "InvalidInput");
    expect(() => processorSpec("team", "words", apiSpec({ local: { builtin: "a" }, timeout: "soon" })))
      .to.throw(MillraceError, "spec.timeout")
      .with.property("code", "InvalidInput");
  });

  it("says which backend it is for", () => {
    expect(
      [{ local: { builtin: "a" } }, { rpc: { protocol: "HTTP", endpoint: "http://a", maxConnections: 1 } }].map(
        (more) => backendKind(apiSpec(more as Partial<ProcessorSpec>)),
      ),
    ).to.deep.equal(["Local", "RPC"]);
  });
});

const rpc = { protocol: "GRPC", endpoint: "words:50051", maxConnections: 1 } as const;

function withoutLimit(more: Partial<ProcessorSpec>): ProcessorSpec {
  const { limit: _, ...retry } = apiSpec().retry;
  return apiSpec({ local: { builtin: "echo" }, retry, ...more });
}

describe("a Processor in the engine's terms", () => {
  it("is tried twice unless it says otherwise, and once with delivery AtMostOnce", () => {
    const limitOf = (more: Partial<ProcessorSpec>) => processorFacts("words", apiSpec(more)).retry.limit;
    expect(limitOf({})).to.equal(1);
    expect(limitOf({ delivery: "AtMostOnce" })).to.equal(0);
    expect(limitOf({ retry: { ...apiSpec().retry, limit: 3 } })).to.equal(3);
  });

  it("has its defaults, durations in milliseconds", () => {
    expect(processorFacts("words", apiSpec())).to.deep.equal({
      name: "words",
      intent: "Transform",
      lane: "Local",
      delivery: "AtLeastOnce",
      budgetPercent: 20,
      optionsSchema: builtinOptionsSchema("text.trim"),
      options: {},
      timeoutMs: 30_000,
      retry: {
        limit: 1,
        codes: ["Unavailable", "ResourceExhausted", "ProcessorCrashed"],
        backoff: { initialMs: 100, maxMs: 10_000, factor: 2, jitterPercent: 20 },
      },
    });
  });

  it("has no retries where it is called at most once, unless it says so", () => {
    expect(processorFacts("words", withoutLimit({ delivery: "AtMostOnce" })).retry.limit).to.equal(0);
    expect(processorFacts("words", withoutLimit({})).retry.limit).to.equal(1);
  });

  it("has its schemas, but no outputSchema where it has no output of its own", () => {
    const schemas = { outputSchema: { type: "string" }, metadataSchema: { type: "object" } };
    expect(processorFacts("words", apiSpec({ rpc, ...schemas }))).to.include({ lane: "RPC", ...schemas });
    expect(processorFacts("words", apiSpec({ rpc, ...schemas, intent: "Analyze" }))).not.to.have.property(
      "outputSchema",
    );
  });
});
