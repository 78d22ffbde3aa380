import { createRpcBackend } from "../../backends/rpc/backend.ts";
import { systemPorts } from "../../engine/clock.ts";
import { grpcAt } from "../support/rpc/calls.ts";
import { startReferenceGrpc } from "../support/rpc/reference-grpc.ts";
import { type ConformanceTarget, describeConformance } from "./rows.ts";

async function start(): Promise<ConformanceTarget> {
  const server = await startReferenceGrpc();
  const backend = createRpcBackend({ ports: systemPorts });
  return {
    backend,
    implementation: grpcAt(server.endpoint),
    [Symbol.asyncDispose]: async () => {
      await backend[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

describeConformance("Conformance: gRPC", start);
