import { expect } from "chai";
import type { ProcessorSpec } from "../../../backends/backend.ts";
import {
  contextOf,
  defaultLimits,
  grpcAt,
  httpAt,
  millraceError,
  requestOf,
  rpcBackend,
  specOf,
  until,
} from "../../support/rpc/calls.ts";
import { echoed, startGrpcServer } from "../../support/rpc/grpc-server.ts";
import { echo, startHttpServer } from "../../support/rpc/http-server.ts";
import { closedPort } from "../../support/rpc/tcp-server.ts";

const never = new AbortController().signal;

describe("the RPC backend", () => {
  it("closes the connections of all that it has loaded when it is disposed, twice too", async () => {
    await using grpc = await startGrpcServer({ process: echoed });
    await using http = await startHttpServer(echo);
    const backend = rpcBackend();
    const specs = [grpcAt(grpc.endpoint), grpcAt(grpc.endpoint), httpAt(http.endpoint)];
    for (const implementation of specs) {
      const processor = await backend.load(specOf(implementation), never);
      expect((await processor.process(requestOf("x"), contextOf())).ok).to.equal(true);
    }
    expect([grpc.connections(), http.open()]).to.deep.equal([2, 1]);
    await backend[Symbol.asyncDispose]();
    await until(() => grpc.connections() === 0 && http.open() === 0);
    await backend[Symbol.asyncDispose]();
  });

  it("keeps what it has loaded apart: disposing one leaves the other", async () => {
    await using server = await startHttpServer(echo);
    await using backend = rpcBackend();
    const one = await backend.load(specOf(httpAt(server.endpoint)), never);
    const other = await backend.load(specOf(httpAt(server.endpoint)), never);
    await one[Symbol.asyncDispose]();
    expect((await other.process(requestOf("x"), contextOf())).ok).to.equal(true);
  });

  it("says what it knows of a processor: its name, its intent, and no digest", async () => {
    await using backend = rpcBackend();
    for (const implementation of [grpcAt("words:1"), httpAt("http://words")]) {
      const { name, intent, digests, module } = await backend.load(specOf(implementation, {}, "Analyze"), never);
      expect({ name, intent, digests, module }).to.deep.equal({
        name: "words",
        intent: "Analyze",
        digests: [],
        module: undefined,
      });
    }
  });

  it("loads nothing once the signal has aborted", async () => {
    await using backend = rpcBackend();
    const reason = new Error("stopped");
    const loaded = backend.load(specOf(grpcAt(`127.0.0.1:${await closedPort()}`)), AbortSignal.abort(reason));
    expect(await loaded.catch((error: unknown) => error)).to.equal(reason);
  });

  it("refuses another backend's processor as a defect", async () => {
    await using backend = rpcBackend();
    const spec: ProcessorSpec = {
      namespace: "default",
      name: "upper",
      intent: "Transform",
      implementation: { kind: "Builtin", name: "text.uppercase" },
      limits: defaultLimits,
    };
    expect((await millraceError(backend.load(spec, never))).code).to.equal("Internal");
  });
});
