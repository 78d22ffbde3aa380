import type { LoadedProcessor } from "../../../backends/backend.ts";
import { ByteBudget } from "../../../backends/byte-budget.ts";
import { Caller } from "../../../backends/call.ts";
import { systemPorts } from "../../../engine/clock.ts";
import type { ProcessorRequest } from "../../../engine/processor.ts";
import type { Attempt } from "../../../engine/run/run-options.ts";
import { defaultLimits } from "./calls.ts";

/** Makes `total` calls, `inFlight` at a time; gives how many of them answered well. */
export async function callMany(total: number, inFlight: number, call: () => Promise<boolean>): Promise<number> {
  let started = 0;
  let good = 0;
  const worker = async () => {
    while (started < total) {
      started += 1;
      if (await call()) good += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return good;
}

/** A processor as the engine calls it: through call.ts. */
export function callerOf(processor: LoadedProcessor): Caller {
  return new Caller(processor, { limits: defaultLimits, ports: systemPorts, budget: new ByteBudget() });
}

/** One attempt whose answer must be as long as what was sent. */
export async function echoes(caller: Caller, request: ProcessorRequest, signal: AbortSignal): Promise<boolean> {
  const response = await caller.call(attempt, request, signal);
  return response.ok && response.payload.size === request.payload.size;
}

const attempt: Attempt = {
  step: 0,
  stepName: "count",
  processor: "words",
  attempt: 1,
  idempotencyKey: "0b7e6d5f-9c7b-4c1e-8a55-000000000001/count",
  timeoutMs: 30_000,
  execution: { namespace: "default", name: "article-x7k2p", uid: "0b7e6d5f-9c7b-4c1e-8a55-000000000001" },
};
