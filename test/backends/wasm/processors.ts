// Builders: a WASM backend over modules in memory, processors of it, and calls of them through call.ts.

import type { CallLimits, LoadedProcessor, ProcessorSpec, WasmModule } from "../../../backends/backend.ts";
import { ByteBudget } from "../../../backends/byte-budget.ts";
import { Caller } from "../../../backends/call.ts";
import { noCapabilities } from "../../../backends/wasm/abis/guest.ts";
import { createWasmBackend, type WasmBackend, type WasmBackendOptions } from "../../../backends/wasm/backend.ts";
import { systemPorts } from "../../../engine/clock.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { BytesPayload, type JsonObject, textType } from "../../../engine/payload.ts";
import type { ProcessorResponse } from "../../../engine/processor.ts";

/** More than any of these modules needs in the time that it has. */
export const fuel = 100_000_000_000;
export const mebibyte = 1024 * 1024;

/** A backend whose ConfigMaps have one key for each of `modules`. */
export function backendOf(
  modules: Readonly<Record<string, Uint8Array>>,
  options: Partial<WasmBackendOptions> = {},
): WasmBackend {
  return createWasmBackend({
    ports: systemPorts,
    readConfigMapKey: (_namespace, name, key) => {
      const bytes = modules[key];
      if (bytes === undefined) {
        return Promise.reject(new MillraceError("NotFound", `there is no key ${key} in the ConfigMap ${name}`));
      }
      return Promise.resolve(bytes);
    },
    ...options,
  });
}

export function wasmSpec(
  key: string,
  implementation: Partial<WasmModule> = {},
  limits: Partial<CallLimits> = {},
): ProcessorSpec {
  return {
    namespace: "test",
    name: key,
    intent: "Transform",
    implementation: {
      kind: "WASM",
      source: { kind: "ConfigMapKey", name: "modules", key },
      abi: "Auto",
      entrypoint: "process",
      limits: { maxMemoryBytes: 4 * mebibyte, fuel },
      capabilities: noCapabilities,
      reuse: 1,
      isolation: "Worker",
      ...implementation,
    },
    limits: { timeoutMs: 10_000, maxInputBytes: mebibyte, maxOutputBytes: mebibyte, maxConcurrency: 8, ...limits },
  };
}

/** A loaded processor behind call.ts. */
export async function callerOf(backend: WasmBackend, spec: ProcessorSpec): Promise<Caller> {
  const processor: LoadedProcessor = await backend.load(spec, new AbortController().signal);
  return new Caller(processor, { limits: spec.limits, ports: systemPorts, budget: new ByteBudget() });
}

const attempt = {
  execution: { namespace: "test", name: "run", uid: "00000000-0000-0000-0000-000000000001" },
  step: 0,
  stepName: "step",
  processor: "test",
  attempt: 1,
  idempotencyKey: "00000000-0000-0000-0000-000000000001/step",
};

export function callWith(
  caller: Caller,
  text: string,
  options: JsonObject = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<ProcessorResponse> {
  const payload = new BytesPayload(new TextEncoder().encode(text), textType);
  const timed = { ...attempt, timeoutMs: caller.limits.timeoutMs };
  return caller.call(timed, { payload, metadata: {}, options }, signal);
}

/** The error that a promise rejects with, which must be one of the closed set. */
export async function rejection(promise: Promise<unknown>): Promise<MillraceError> {
  try {
    await promise;
  } catch (thrown) {
    if (thrown instanceof MillraceError) return thrown;
    throw thrown;
  }
  throw new Error("it did not reject");
}

export async function outputOf(response: ProcessorResponse): Promise<string> {
  if (!response.ok) throw new Error(`the processor declared ${response.error.code}: ${response.error.message}`);
  return new TextDecoder().decode(await response.payload.bytes(new AbortController().signal));
}

/** What this process has open of worker threads: a number to compare with an earlier one. */
export function openWorkers(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === "MessagePort" || resource === "Worker")
    .length;
}
