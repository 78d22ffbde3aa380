import { expect } from "chai";
import { contextOf, grpcAt, httpAt, millraceError, requestOf, rpcBackend, specOf } from "../../support/rpc/calls.ts";
import { startServerProcess } from "../../support/rpc/child.ts";

const never = new AbortController().signal;
const servers = [
  ["gRPC", "reference-grpc.ts", grpcAt],
  ["HTTP", "reference-http.ts", httpAt],
] as const;

describe("a server process that dies in mid-call", () => {
  for (const [protocol, file, at] of servers) {
    it(`is ProcessorCrashed to that call over ${protocol}, and Unavailable to the next`, async () => {
      await using server = await startServerProcess(file);
      await using backend = rpcBackend();
      const processor = await backend.load(specOf(at(server.endpoint)), never);
      const options = { behaviour: "echo" };
      expect((await processor.process(requestOf("x", { options }), contextOf())).ok).to.equal(true);
      const request = requestOf("x", { options: { behaviour: "crash" } });
      expect((await millraceError(processor.process(request, contextOf()))).code).to.equal("ProcessorCrashed");
      expect(await server.ended).to.equal(70);
      expect((await millraceError(processor.process(requestOf("x"), contextOf()))).code).to.equal("Unavailable");
    });
  }
});
