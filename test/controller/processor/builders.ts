import type { LoadedProcessor, ProcessorSpec } from "../../../backends/backend.ts";
import type { ProcessorSpec as ApiProcessorSpec, Processor, WasmSpec } from "../../../controller/api/types.ts";
import { callSecrets } from "../../../controller/processor/secret-refs.ts";
import { processorFacts, processorSpec } from "../../../controller/processor/spec.ts";
import type { Candidate } from "../../../controller/processor/versions.ts";
import type { CallContext, ProcessorRequest, ProcessorResponse } from "../../../engine/processor.ts";
import type { Attempt } from "../../../engine/run/run-options.ts";

/** A Processor's spec as the API server gives it: with all defaults. */
export function apiSpec(more: Partial<ApiProcessorSpec> = { local: { builtin: "text.trim" } }): ApiProcessorSpec {
  return {
    intent: "Transform",
    delivery: "AtLeastOnce",
    timeout: "30s",
    retry: {
      backoff: { initial: "100ms", factor: 2, max: "10s", jitterPercent: 20 },
      budgetPercent: 20,
      codes: ["Unavailable", "ResourceExhausted", "ProcessorCrashed"],
    },
    maxInputSize: "4Mi",
    maxOutputSize: "4Mi",
    maxConcurrency: 64,
    ...more,
  };
}

/** `spec.wasm` as the API server gives it: with all defaults. */
export function wasmSpec(more: Pick<WasmSpec, "source"> & Partial<WasmSpec>): WasmSpec {
  return {
    abi: "Auto",
    entrypoint: "process",
    limits: { memory: "64Mi", fuel: 10_000_000_000 },
    reuse: 1,
    isolation: "Worker",
    ...more,
  };
}

export function apiProcessor(
  generation = 1,
  spec: ApiProcessorSpec = apiSpec(),
  status?: Processor["status"],
): Processor {
  return {
    apiVersion: "millrace.dev/v1alpha1",
    kind: "Processor",
    metadata: { name: "words", namespace: "team", uid: "uid-1", generation, resourceVersion: String(generation) },
    spec,
    ...(status === undefined ? {} : { status }),
  };
}

export function candidate(generation = 1, spec: ApiProcessorSpec = apiSpec()): Candidate {
  return {
    fingerprint: `uid-1 ${generation} `,
    generation,
    backend: "Local",
    spec: processorSpec("team", "words", spec),
    facts: processorFacts("words", spec),
    secrets: callSecrets(spec),
  };
}

/** A loaded processor whose calls the test ends by hand. */
export class ManualProcessor implements LoadedProcessor {
  readonly name = "words";
  readonly intent = "Transform";
  digests: readonly string[];
  readonly calls: PromiseWithResolvers<ProcessorResponse>[] = [];
  readonly requests: ProcessorRequest[] = [];
  readonly contexts: CallContext[] = [];
  probe?: (signal: AbortSignal) => Promise<void>;
  disposed = false;

  constructor(digest: string, spec?: ProcessorSpec) {
    this.digests = [`${digest}${spec === undefined ? "" : `-${spec.name}`}`];
  }

  process(request: ProcessorRequest, context: CallContext): Promise<ProcessorResponse> {
    this.contexts.push(context);
    this.requests.push(request);
    const call = Promise.withResolvers<ProcessorResponse>();
    this.calls.push(call);
    return call.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true;
  }
}

export const attempt: Attempt = {
  step: 0,
  stepName: "a",
  processor: "words",
  attempt: 1,
  idempotencyKey: "uid/a",
  timeoutMs: 30_000,
  execution: { namespace: "team", name: "run", uid: "uid" },
};
