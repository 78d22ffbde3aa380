import type { ProcessorSpec, WasmCapabilities, WasmModule } from "../../../backends/backend.ts";
import { ByteBudget } from "../../../backends/byte-budget.ts";
import { Caller } from "../../../backends/call.ts";
import { Secrets } from "../../../backends/secrets.ts";
import { createWasmBackend } from "../../../backends/wasm/backend.ts";
import type { NetworkOptions } from "../../../backends/wasm/network/network.ts";
import { MillraceError } from "../../../engine/errors.ts";
import type { ProcessorRequest, ProcessorResponse } from "../../../engine/processor.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";
import type { ModuleFile } from "./module-flags.ts";

/** One call of a module. */
export interface ModuleCall {
  readonly file: ModuleFile;
  readonly request: ProcessorRequest;
  readonly secrets: Readonly<Record<string, string>>;
  readonly capabilities: WasmCapabilities;
  readonly isolation: WasmModule["isolation"];
  readonly timeoutMs: number;
  readonly network: NetworkOptions;
}

/** What came of it. */
export interface CallReport {
  /** Absent: it could not be called, or was ended, as `error` says. */
  readonly response?: ProcessorResponse;
  readonly error?: MillraceError;
  /** Absent: it did not get as far as running. */
  readonly fuel?: number;
  readonly durationMs: number;
  readonly log: readonly string[];
}

/** As large as any Processor's. */
const maxPayloadBytes = 64 * 1024 * 1024;

/** Loads the module as a Processor's, makes the call as an attempt of a step, and lets go of everything. Throws CliError when it is interrupted. */
export async function callModule(call: ModuleCall, context: CliContext): Promise<CallReport> {
  const log: string[] = [];
  let fuel: number | undefined;
  let startMs = context.ports.clock.monotonic();
  try {
    await using backend = createWasmBackend({
      ports: context.ports,
      modulesDir: call.file.directory,
      readConfigMapKey: () => Promise.reject(new MillraceError("NotFound", "there are no ConfigMaps here")),
      allowIsolation: [call.isolation],
      network: call.network,
      maxWorkers: 2,
    });
    const spec = specOf(call);
    const processor = await backend.load(spec, context.interrupted);
    const secrets = new Secrets(call.secrets);
    const budget = new ByteBudget();
    const { ports } = context;
    await using caller = new Caller(processor, { limits: spec.limits, ports, budget, secrets: () => secrets });
    startMs = ports.clock.monotonic();
    const attempt = {
      ...attemptOf(spec),
      log: (line: string) => void log.push(line),
      reportFuel: (units: number) => {
        fuel = units;
      },
    };
    const response = await caller.call(attempt, call.request, context.interrupted);
    return { ...ended(), response };
  } catch (error) {
    if (context.interrupted.aborted) throw new CliError("", exitCodes.cancelled, { cause: error });
    if (!(error instanceof MillraceError)) throw error;
    return { ...ended(), error };
  }

  function ended(): Omit<CallReport, "response" | "error"> {
    const durationMs = context.ports.clock.monotonic() - startMs;
    return { durationMs, log, ...(fuel === undefined ? {} : { fuel }) };
  }
}

function specOf({ file, capabilities, isolation, timeoutMs }: ModuleCall): ProcessorSpec {
  return {
    namespace: "default",
    name: "module",
    intent: "Transform",
    implementation: { ...file.module, capabilities, isolation, reuse: 1 },
    limits: { timeoutMs, maxInputBytes: maxPayloadBytes, maxOutputBytes: maxPayloadBytes, maxConcurrency: 1 },
  };
}

function attemptOf({ name, limits }: ProcessorSpec): Parameters<Caller["call"]>[0] {
  const uid = "00000000-0000-0000-0000-000000000000";
  return {
    step: 0,
    stepName: name,
    processor: name,
    idempotencyKey: `${uid}/${name}`,
    execution: { namespace: "default", name: "wasm-call", uid },
    attempt: 1,
    timeoutMs: limits.timeoutMs,
  };
}
