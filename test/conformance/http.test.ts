import { expect } from "chai";
import { conformanceCases } from "../../backends/conformance/cases.ts";
import { type ConformanceResult, runConformance } from "../../backends/conformance/suite.ts";
import { createRpcBackend } from "../../backends/rpc/backend.ts";
import { systemPorts } from "../../engine/clock.ts";
import { httpAt } from "../support/rpc/calls.ts";
import { startReferenceHttp } from "../support/rpc/reference-http.ts";

describe("the reference processor behind HTTP", () => {
  let results: readonly ConformanceResult[];

  before(async () => {
    await using server = await startReferenceHttp();
    await using backend = createRpcBackend({ ports: systemPorts });
    results = await runConformance(backend, httpAt(server.endpoint), systemPorts);
  });

  for (const [index, { name }] of conformanceCases.entries()) {
    it(name, () => expect(results[index]?.differences).to.deep.equal([]));
  }
});
