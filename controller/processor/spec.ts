import type {
  BackendKind,
  CallLimits,
  Implementation,
  ProcessorSpec,
  WasmCapabilities,
  WasmPublicKey,
  WasmSource,
} from "../../backends/backend.ts";
import { builtinOptionsSchema } from "../../backends/local/builtins/catalogue.ts";
import { MillraceError } from "../../engine/errors.ts";
import type { JsonObject } from "../../engine/payload.ts";
import type { ProcessorFacts, RetryPolicy } from "../../engine/pipeline.ts";
import { parseBytes, parseDurationMs } from "../api/quantities.ts";
import type * as api from "../api/types.ts";

/** Of `rpc.http.path`, also where there is no `rpc.http` to hold it. */
const defaultHttpPath = "/process";

/** Retries where `retry.limit` is absent: the schema has no default, as it depends on `delivery`. */
const defaultRetryLimit = 1;

/**
 * A Processor, defaults filled in, as the backends take it. Throws MillraceError InvalidInput where the object says what
 * the API server would have refused.
 */
export function processorSpec(namespace: string, name: string, spec: api.ProcessorSpec): ProcessorSpec {
  return {
    namespace,
    name,
    intent: spec.intent,
    implementation: implementation(spec),
    limits: callLimits(spec),
  };
}

/** What the engine needs to know of a Processor to compile a Pipeline that names it. */
export function processorFacts(name: string, spec: api.ProcessorSpec): ProcessorFacts {
  return {
    name,
    intent: spec.intent,
    lane: backendKind(spec),
    delivery: spec.delivery,
    budgetPercent: spec.retry.budgetPercent,
    ...schemasOf(spec),
    options: (spec.options ?? {}) as JsonObject,
    timeoutMs: parseDurationMs(spec.timeout, "spec.timeout"),
    retry: retryPolicy(spec),
  };
}

/** What its options are held to: its own schema, else that of the built-in; absent: anything. */
function optionsSchemaOf(spec: api.ProcessorSpec): JsonObject | undefined {
  if (spec.optionsSchema !== undefined) return spec.optionsSchema as JsonObject;
  return spec.local?.builtin === undefined ? undefined : builtinOptionsSchema(spec.local.builtin);
}

/** An Analyze processor has no output of its own: what passes through it is not held to an `outputSchema`. */
function schemasOf(spec: api.ProcessorSpec): Pick<ProcessorFacts, "optionsSchema" | "outputSchema" | "metadataSchema"> {
  const optionsSchema = optionsSchemaOf(spec);
  const outputSchema = spec.intent === "Analyze" ? undefined : (spec.outputSchema as JsonObject | undefined);
  const metadataSchema = spec.metadataSchema as JsonObject | undefined;
  return {
    ...(optionsSchema === undefined ? {} : { optionsSchema }),
    ...(outputSchema === undefined ? {} : { outputSchema }),
    ...(metadataSchema === undefined ? {} : { metadataSchema }),
  };
}

/** Which backend runs it, as in `status.backend`. */
export function backendKind(spec: api.ProcessorSpec): BackendKind {
  if (spec.local !== undefined) return "Local";
  return spec.rpc !== undefined ? "RPC" : "WASM";
}

function callLimits(spec: api.ProcessorSpec): CallLimits {
  return {
    timeoutMs: parseDurationMs(spec.timeout, "spec.timeout"),
    maxInputBytes: parseBytes(spec.maxInputSize, "spec.maxInputSize"),
    maxOutputBytes: parseBytes(spec.maxOutputSize, "spec.maxOutputSize"),
    maxConcurrency: spec.maxConcurrency,
  };
}

function retryPolicy(spec: api.ProcessorSpec): RetryPolicy {
  const retry = spec.retry;
  const backoff = retry.backoff;
  const duration = (field: "initial" | "max") => parseDurationMs(backoff[field], `spec.retry.backoff.${field}`);
  return {
    limit: retry.limit ?? (spec.delivery === "AtMostOnce" ? 0 : defaultRetryLimit),
    codes: retry.codes,
    backoff: {
      initialMs: duration("initial"),
      maxMs: duration("max"),
      factor: backoff.factor,
      jitterPercent: backoff.jitterPercent,
    },
  };
}

function implementation(spec: api.ProcessorSpec): Implementation {
  if (spec.local?.builtin !== undefined) return { kind: "Builtin", name: spec.local.builtin };
  if (spec.local?.module !== undefined) return localModule(spec.local.module);
  if (spec.rpc !== undefined) return endpoint(spec.rpc);
  if (spec.wasm !== undefined) return wasmModule(spec.wasm);
  throw new MillraceError("InvalidInput", "spec: exactly one of local.builtin, local.module, rpc and wasm must be set");
}

function localModule(module: api.ModuleSpec): Implementation {
  return {
    kind: "Module",
    file: module.file,
    export: module.export,
    isolation: module.isolation,
    ...(module.digest === undefined ? {} : { digest: module.digest }),
  };
}

function endpoint(rpc: api.RpcSpec): Implementation {
  const maxConnections = rpc.maxConnections;
  if (rpc.protocol === "GRPC") return { kind: "GRPC", endpoint: rpc.endpoint, maxConnections };
  return { kind: "HTTP", endpoint: rpc.endpoint, path: rpc.http?.path ?? defaultHttpPath, maxConnections };
}

function wasmModule(wasm: api.WasmSpec): Implementation {
  const { source, digest, pullPolicy, pullSecretRef, verify, limits, capabilities = {} } = wasm;
  return {
    kind: "WASM",
    source: wasmSource(source),
    abi: wasm.abi,
    entrypoint: wasm.entrypoint,
    limits: { maxMemoryBytes: parseBytes(limits.memory, "spec.wasm.limits.memory"), fuel: limits.fuel },
    capabilities: wasmCapabilities(capabilities),
    reuse: wasm.reuse,
    isolation: wasm.isolation,
    ...(digest === undefined ? {} : { digest }),
    ...(pullPolicy === undefined ? {} : { pullPolicy }),
    ...(pullSecretRef === undefined ? {} : { pullSecret: pullSecretRef.name }),
    ...(verify === undefined ? {} : { verify: publicKey(verify.publicKeySecretRef) }),
  };
}

function publicKey({ name, key }: api.PublicKeySecretRef): WasmPublicKey {
  return { secret: name, ...(key === undefined ? {} : { key }) };
}

/** Variables that come from Secrets are among the secrets of each call: see `secret-refs.ts`. */
function wasmCapabilities({ allowedHosts, env, config, randomSeed }: api.WasmCapabilities): WasmCapabilities {
  const plain = (env ?? []).flatMap(({ name, value }) => (value === undefined ? [] : [[name, value] as const]));
  const secretEnv = (env ?? []).flatMap(({ name, valueFrom }) => (valueFrom === undefined ? [] : [name]));
  return {
    allowedHosts: allowedHosts ?? [],
    env: Object.fromEntries(plain),
    config: Object.fromEntries((config ?? []).map(({ name, value }) => [name, value])),
    ...(secretEnv.length === 0 ? {} : { secretEnv }),
    ...(randomSeed === undefined ? {} : { randomSeed }),
  };
}

function wasmSource({ oci, http, file, configMapKeyRef }: api.WasmSource): WasmSource {
  if (oci !== undefined) return { kind: "OCI", reference: oci };
  if (http !== undefined) return { kind: "HTTP", url: http };
  if (file !== undefined) return { kind: "File", file };
  if (configMapKeyRef !== undefined) return { kind: "ConfigMapKey", ...configMapKeyRef };
  throw new MillraceError(
    "InvalidInput",
    "spec.wasm.source: exactly one of oci, http, configMapKeyRef and file must be set",
  );
}
