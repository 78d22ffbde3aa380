import { expect } from "chai";
import type { Backend } from "../../../backends/backend.ts";
import { contextOf, grpcAt, httpAt, requestOf, rpcBackend, specOf, until } from "../../support/rpc/calls.ts";
import { echoed, type GrpcServerOptions, startGrpcServer } from "../../support/rpc/grpc-server.ts";

const never = new AbortController().signal;

function versioned(version: string, more: Partial<GrpcServerOptions> = {}): GrpcServerOptions {
  const describe = { name: "words", version, intent: "INTENT_UNSPECIFIED", optionsSchemaJson: "" } as const;
  return { process: echoed, describe, ...more };
}

describe("the digest of a gRPC endpoint", () => {
  let backend: Backend;
  beforeEach(() => {
    backend = rpcBackend();
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  it("is known once it has been described, and is the same for the same name, version and endpoint", async () => {
    await using server = await startGrpcServer(versioned("1.0.0"));
    const [one, two] = await Promise.all([0, 1].map(() => backend.load(specOf(grpcAt(server.endpoint)), never)));
    expect(one?.digests).to.deep.equal([]);
    await Promise.all([one?.probe?.(never), two?.probe?.(never)]);
    await until(() => one?.digests.length === 1 && two?.digests.length === 1);
    expect(one?.digests[0]).to.match(/^sha256:[0-9a-f]{64}$/);
    expect(one?.digests).to.deep.equal(two?.digests);
  });

  it("is known after a first call, too, without a probe", async () => {
    await using server = await startGrpcServer(versioned("1.0.0"));
    const processor = await backend.load(specOf(grpcAt(server.endpoint)), never);
    await processor.process(requestOf("x"), contextOf());
    await until(() => processor.digests.length === 1);
    expect(server.connections()).to.equal(1);
  });

  it("goes with the connection, and is another one when another version answers there", async () => {
    const first = await startGrpcServer(versioned("1.0.0"));
    const processor = await backend.load(specOf(grpcAt(first.endpoint)), never);
    await processor.probe?.(never);
    await until(() => processor.digests.length === 1);
    const [before] = processor.digests;
    await first[Symbol.asyncDispose]();
    await until(() => processor.digests.length === 0);
    await using second = await startGrpcServer(versioned("1.1.0", { port: first.port }));
    await until(() => second.connections() === 0);
    while (processor.digests.length === 0) await processor.probe?.(never).catch(() => undefined);
    expect(processor.digests).to.have.length(1).and.not.include(before);
  });

  it("is not there where no version is given, nor without Describe, nor for HTTP", async () => {
    await using unversioned = await startGrpcServer(versioned(""));
    await using undescribed = await startGrpcServer({ process: echoed });
    for (const { endpoint } of [unversioned, undescribed]) {
      const processor = await backend.load(specOf(grpcAt(endpoint)), never);
      await processor.probe?.(never);
      await processor.process(requestOf("x"), contextOf());
      expect(processor.digests).to.deep.equal([]);
    }
    expect((await backend.load(specOf(httpAt("http://127.0.0.1:9")), never)).digests).to.deep.equal([]);
  });
});
