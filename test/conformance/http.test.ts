import { createRpcBackend } from "../../backends/rpc/backend.ts";
import { systemPorts } from "../../engine/clock.ts";
import { httpAt } from "../support/rpc/calls.ts";
import { startReferenceHttp } from "../support/rpc/reference-http.ts";
import { type ConformanceTarget, describeConformance } from "./rows.ts";

async function start(): Promise<ConformanceTarget> {
  const server = await startReferenceHttp();
  const backend = createRpcBackend({ ports: systemPorts });
  return {
    backend,
    implementation: httpAt(server.endpoint),
    [Symbol.asyncDispose]: async () => {
      await backend[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

describeConformance("Conformance: HTTP", start);
