import type { BackendKind, CallLimits, Implementation, ProcessorSpec, WasmSource } from "../../backends/backend.ts";
import { MillraceError } from "../../engine/errors.ts";
import type { JsonObject } from "../../engine/payload.ts";
import type { ProcessorFacts, RetryPolicy } from "../../engine/pipeline.ts";
import { filled } from "../api/filled.ts";
import { parseBytes, parseDurationMs } from "../api/quantities.ts";
import type { Processor } from "../api/types.ts";

type Spec = Processor["spec"];
type Rpc = NonNullable<Spec["rpc"]>;
type Wasm = NonNullable<Spec["wasm"]>;

/** Of `rpc.http.path`, also where there is no `rpc.http` to hold it. */
const defaultHttpPath = "/process";

/**
 * A Processor, defaults filled in, as the backends take it. Throws MillraceError InvalidInput where the object says what
 * the API server would have refused.
 */
export function processorSpec(namespace: string, name: string, spec: Spec): ProcessorSpec {
  return {
    namespace,
    name,
    intent: filled(spec.intent, "spec.intent"),
    implementation: implementation(spec),
    limits: callLimits(spec),
  };
}

/** What the engine needs to know of a Processor to compile a Pipeline that names it. */
export function processorFacts(name: string, spec: Spec): ProcessorFacts {
  return {
    name,
    intent: filled(spec.intent, "spec.intent"),
    options: (spec.options ?? {}) as JsonObject,
    timeoutMs: parseDurationMs(filled(spec.timeout, "spec.timeout"), "spec.timeout"),
    retry: retryPolicy(spec),
  };
}

/** Which backend runs it, as in `status.backend`. */
export function backendKind(spec: Spec): BackendKind {
  if (spec.local !== undefined) return "Local";
  return spec.rpc !== undefined ? "RPC" : "WASM";
}

function callLimits(spec: Spec): CallLimits {
  return {
    timeoutMs: parseDurationMs(filled(spec.timeout, "spec.timeout"), "spec.timeout"),
    maxInputBytes: parseBytes(filled(spec.maxInputSize, "spec.maxInputSize"), "spec.maxInputSize"),
    maxOutputBytes: parseBytes(filled(spec.maxOutputSize, "spec.maxOutputSize"), "spec.maxOutputSize"),
    maxConcurrency: filled(spec.maxConcurrency, "spec.maxConcurrency"),
  };
}

function retryPolicy(spec: Spec): RetryPolicy {
  const retry = filled(spec.retry, "spec.retry");
  const backoff = filled(retry.backoff, "spec.retry.backoff");
  const duration = (field: "initial" | "max") =>
    parseDurationMs(filled(backoff[field], `spec.retry.backoff.${field}`), `spec.retry.backoff.${field}`);
  return {
    limit: filled(retry.limit, "spec.retry.limit"),
    codes: filled(retry.codes, "spec.retry.codes"),
    backoff: {
      initialMs: duration("initial"),
      maxMs: duration("max"),
      factor: filled(backoff.factor, "spec.retry.backoff.factor"),
      jitterPercent: filled(backoff.jitterPercent, "spec.retry.backoff.jitterPercent"),
    },
  };
}

function implementation(spec: Spec): Implementation {
  if (spec.local?.builtin !== undefined) return { kind: "Builtin", name: spec.local.builtin };
  if (spec.local?.module !== undefined) return localModule(spec.local.module);
  if (spec.rpc !== undefined) return endpoint(spec.rpc);
  if (spec.wasm !== undefined) return wasmModule(spec.wasm);
  throw new MillraceError("InvalidInput", "spec: exactly one of local.builtin, local.module, rpc and wasm must be set");
}

function localModule(module: NonNullable<NonNullable<Spec["local"]>["module"]>): Implementation {
  return {
    kind: "Module",
    file: module.file,
    export: filled(module.export, "spec.local.module.export"),
    isolation: filled(module.isolation, "spec.local.module.isolation"),
    ...(module.digest === undefined ? {} : { digest: module.digest }),
  };
}

function endpoint(rpc: Rpc): Implementation {
  const maxConnections = filled(rpc.maxConnections, "spec.rpc.maxConnections");
  if (rpc.protocol === "GRPC") return { kind: "GRPC", endpoint: rpc.endpoint, maxConnections };
  return { kind: "HTTP", endpoint: rpc.endpoint, path: rpc.http?.path ?? defaultHttpPath, maxConnections };
}

function wasmModule(wasm: Wasm): Implementation {
  const limits = filled(wasm.limits, "spec.wasm.limits");
  return {
    kind: "WASM",
    source: wasmSource(wasm.source),
    abi: filled(wasm.abi, "spec.wasm.abi"),
    entrypoint: filled(wasm.entrypoint, "spec.wasm.entrypoint"),
    maxMemoryBytes: parseBytes(filled(limits.memory, "spec.wasm.limits.memory"), "spec.wasm.limits.memory"),
    ...(wasm.digest === undefined ? {} : { digest: wasm.digest }),
  };
}

function wasmSource(source: Wasm["source"]): WasmSource {
  if (source.file !== undefined) return { kind: "File", file: source.file };
  if (source.configMapKeyRef !== undefined) return { kind: "ConfigMapKey", ...source.configMapKeyRef };
  throw new MillraceError("InvalidInput", "spec.wasm.source: exactly one of configMapKeyRef and file must be set");
}
