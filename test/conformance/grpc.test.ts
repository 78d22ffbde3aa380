import { expect } from "chai";
import { conformanceCases } from "../../backends/conformance/cases.ts";
import { type ConformanceResult, runConformance } from "../../backends/conformance/suite.ts";
import { createRpcBackend } from "../../backends/rpc/backend.ts";
import { systemPorts } from "../../engine/clock.ts";
import { grpcAt } from "../support/rpc/calls.ts";
import { startReferenceGrpc } from "../support/rpc/reference-grpc.ts";

describe("the reference processor behind gRPC", () => {
  let results: readonly ConformanceResult[];

  before(async () => {
    await using server = await startReferenceGrpc();
    await using backend = createRpcBackend({ ports: systemPorts });
    results = await runConformance(backend, grpcAt(server.endpoint), systemPorts);
  });

  for (const [index, { name }] of conformanceCases.entries()) {
    it(name, () => expect(results[index]?.differences).to.deep.equal([]));
  }
});
