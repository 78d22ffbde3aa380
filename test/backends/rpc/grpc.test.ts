import { getEventListeners } from "node:events";
import { Metadata as CallMetadata, Client, status } from "@grpc/grpc-js";
import { expect } from "chai";
import type { Backend } from "../../../backends/backend.ts";
import { grpcStatusNames, statusTable } from "../../../backends/rpc/errors.ts";
import { MillraceError } from "../../../engine/errors.ts";
import {
  bytesRequest,
  contextOf,
  grpcAt,
  millraceError,
  requestOf,
  rpcBackend,
  specOf,
  until,
} from "../../support/rpc/calls.ts";
import {
  echoed,
  GrpcStatus,
  type GrpcTestServer,
  type ProcessCall,
  startGrpcServer,
} from "../../support/rpc/grpc-server.ts";

const never = new AbortController().signal;

describe("a gRPC processor", () => {
  let backend: Backend;
  beforeEach(() => {
    backend = rpcBackend();
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  function load(server: GrpcTestServer, limits = {}, maxConnections = 4) {
    return backend.load(specOf(grpcAt(server.endpoint, maxConnections), limits), never);
  }

  it("is sent the payload, its content type, metadata, options and context, and gives back the result", async () => {
    let seen: ProcessCall | undefined;
    await using server = await startGrpcServer({
      process: (call) => {
        seen = call;
        return {
          result: { payload: Buffer.from("höhö"), contentType: "text/plain" },
          metadata: { "Words.n": "2\r\nü" },
        };
      },
    });
    const processor = await load(server);
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const response = await processor.process(
      requestOf("hello", { metadata: { "clean.A": "ä,=;%" }, options: { top: 10, deep: { x: [1.5, null] } } }),
      contextOf({ attempt: 3, item: 0, traceparent, secrets: { "api-key": "k3y\n" } }),
    );
    expect(seen?.request).to.deep.equal({
      payload: Buffer.from("hello"),
      contentType: "text/plain; charset=utf-8",
      metadata: { "clean.A": "ä,=;%" },
      optionsJson: '{"top":10,"deep":{"x":[1.5,null]}}',
      context: {
        execution: { namespace: "default", name: "article-1", uid: "0b7e" },
        step: "count",
        attempt: 3,
        idempotencyKey: "0b7e/count",
        item: 0,
      },
      secrets: { "api-key": "k3y\n" },
    });
    expect(seen?.metadata.get("traceparent")).to.deep.equal([traceparent]);
    expect(response.metadata).to.deep.equal({ "Words.n": "2\r\nü" });
    if (!response.ok) throw new Error("expected a result");
    expect(response.payload.contentType).to.equal("text/plain");
    expect(Buffer.from(await response.payload.bytes(never)).toString()).to.equal("höhö");
  });

  it("gives a declared failure as a value, with its metadata and its wish to be asked again", async () => {
    const error = { code: "Quota", message: "no more today", retryable: true, retryAfterMs: 1500 };
    await using server = await startGrpcServer({ process: () => ({ error, metadata: { left: "0" } }) });
    const processor = await load(server);
    expect(await processor.process(requestOf("x"), contextOf())).to.deep.equal({
      ok: false,
      metadata: { left: "0" },
      error,
    });
  });

  it("leaves a traceparent out that is none", async () => {
    let seen: unknown;
    await using server = await startGrpcServer({
      process: (call) => {
        seen = call.metadata.get("traceparent");
        return echoed(call);
      },
    });
    const processor = await load(server);
    await processor.process(requestOf("x"), contextOf({ traceparent: "\r\nx: y" }));
    expect(seen).to.deep.equal([]);
  });

  it("leaves retryAfterMs out where a declared failure does not say", async () => {
    const error = { code: "Bad", message: "m", retryable: false };
    await using server = await startGrpcServer({ process: () => ({ error, metadata: {} }) });
    const processor = await load(server);
    expect(await processor.process(requestOf("x"), contextOf())).to.deep.equal({ ok: false, metadata: {}, error });
  });

  it("takes a result without a content type as bytes, and without bytes as empty", async () => {
    await using server = await startGrpcServer({
      process: () => ({ result: { payload: Buffer.alloc(0), contentType: "" }, metadata: {} }),
    });
    const processor = await load(server);
    const response = await processor.process(requestOf("x"), contextOf());
    if (!response.ok) throw new Error("expected a result");
    expect([response.payload.contentType, response.payload.size]).to.deep.equal(["application/octet-stream", 0]);
  });

  it("takes an answer with neither result nor error as a crash", async () => {
    await using server = await startGrpcServer({ process: () => ({ metadata: {} }) });
    const processor = await load(server);
    const error = await millraceError(processor.process(requestOf("x"), contextOf()));
    expect(error.code).to.equal("ProcessorCrashed");
    expect(error.message).to.contain("neither a result nor an error");
  });

  for (const [number, name] of grpcStatusNames.entries()) {
    if (name === "OK") continue;
    it(`translates ${name} into ${statusTable.grpc[name]}`, async () => {
      await using server = await startGrpcServer({
        process: () => {
          throw new GrpcStatus({ code: number, details: `that was ${number}` });
        },
      });
      const processor = await load(server);
      const error = await millraceError(processor.process(requestOf("x"), contextOf()));
      expect(error.code).to.equal(statusTable.grpc[name]);
      expect(error.message).to.equal(`${server.endpoint} answered ${name}: that was ${number}`);
      expect(error.cause).to.be.instanceOf(Error);
    });
  }

  it("takes a handler that throws as a crash", async () => {
    await using server = await startGrpcServer({ process: () => Promise.reject(new Error("a defect")) });
    const processor = await load(server);
    expect((await millraceError(processor.process(requestOf("x"), contextOf()))).code).to.equal("ProcessorCrashed");
  });

  it("honours grpc-retry-pushback-ms", async () => {
    const metadata = new CallMetadata();
    metadata.set("grpc-retry-pushback-ms", "750");
    await using server = await startGrpcServer({
      process: () => {
        throw new GrpcStatus({ code: status.RESOURCE_EXHAUSTED, details: "busy", metadata });
      },
    });
    const processor = await load(server);
    const error = await millraceError(processor.process(requestOf("x"), contextOf()));
    expect([error.code, error.retryAfterMs]).to.deep.equal(["ResourceExhausted", 750]);
  });

  it("carries payloads above gRPC's own 4 MiB both ways", async () => {
    await using server = await startGrpcServer({ process: echoed });
    const processor = await load(server, { maxOutputBytes: 8 * 1024 * 1024 });
    const response = await processor.process(bytesRequest(6 * 1024 * 1024), contextOf());
    expect(response.ok && response.payload.size).to.equal(6 * 1024 * 1024);
  });

  it("refuses a result far over maxOutputSize without reading it", async () => {
    await using server = await startGrpcServer({ process: echoed });
    const processor = await load(server, { maxOutputBytes: 1024 });
    const error = await millraceError(processor.process(bytesRequest(1024 * 1024), contextOf()));
    expect(error.code).to.equal("PayloadTooLarge");
    expect(error.message).to.match(/larger than max \(\d+ vs \d+\)/);
  });

  it("says PayloadTooLarge when the server takes no message of that size", async () => {
    await using server = await startGrpcServer({
      process: echoed,
      options: { "grpc.max_receive_message_length": 1024 },
    });
    const processor = await load(server);
    const error = await millraceError(processor.process(bytesRequest(100_000), contextOf()));
    expect(error.code).to.equal("PayloadTooLarge");
  });

  it("lets the server see the attempt's deadline", async () => {
    let deadline: unknown;
    await using server = await startGrpcServer({
      process: (call) => {
        deadline = call.getDeadline();
        return echoed(call);
      },
    });
    const processor = await load(server);
    const before = Date.now();
    await processor.process(requestOf("x"), contextOf({ timeoutMs: 60_000 }));
    expect(Number(deadline)).to.be.within(before + 59_000, Date.now() + 60_001);
  });

  it("says DeadlineExceeded in call.ts's words when the deadline passes", async () => {
    await using server = await startGrpcServer({ process: () => new Promise(() => undefined) });
    const processor = await load(server);
    const error = await millraceError(processor.process(requestOf("x"), contextOf({ timeoutMs: 50 })));
    expect(error.code).to.equal("DeadlineExceeded");
    expect(error.message).to.equal("words did not answer within its timeout of 50 ms");
  });

  it("rejects with the signal's reason on cancellation, and the server sees it", async () => {
    const started = Promise.withResolvers<void>();
    const cancelled = Promise.withResolvers<void>();
    await using server = await startGrpcServer({
      process: (call) => {
        call.on("cancelled", () => cancelled.resolve());
        started.resolve();
        return new Promise(() => undefined);
      },
    });
    const processor = await load(server);
    const controller = new AbortController();
    const reason = new MillraceError("Cancelled", "enough");
    const result = millraceError(processor.process(requestOf("x"), contextOf({ signal: controller.signal })));
    await started.promise;
    controller.abort(reason);
    expect(await result).to.equal(reason);
    await cancelled.promise;
  });

  it("calls nothing when the signal has already aborted", async () => {
    let calls = 0;
    await using server = await startGrpcServer({
      process: (call) => {
        calls += 1;
        return echoed(call);
      },
    });
    const processor = await load(server);
    const reason = new MillraceError("Cancelled", "enough");
    const signal = AbortSignal.abort(reason);
    expect(await millraceError(processor.process(requestOf("x"), contextOf({ signal })))).to.equal(reason);
    expect(calls).to.equal(0);
  });

  it("makes 200 concurrent calls over no more connections than maxConnections", async () => {
    const peers = new Set<string>();
    await using server = await startGrpcServer({
      process: async (call) => {
        peers.add(call.getPeer());
        await new Promise((resolve) => setImmediate(resolve));
        return echoed(call);
      },
    });
    const processor = await load(server, { maxConcurrency: 200 }, 3);
    await Promise.all(Array.from({ length: 200 }, () => processor.process(requestOf("x"), contextOf())));
    expect(peers.size).to.equal(3);
  });

  it("keeps one connection while calls come one after another", async () => {
    const peers = new Set<string>();
    await using server = await startGrpcServer({
      process: (call) => {
        peers.add(call.getPeer());
        return echoed(call);
      },
    });
    const processor = await load(server);
    for (let call = 0; call < 10; call++) await processor.process(requestOf("x"), contextOf());
    expect(peers.size).to.equal(1);
  });

  it("gives its connection and its listener back when grpc-js throws instead of calling", async () => {
    await using server = await startGrpcServer({ process: echoed });
    const processor = await load(server);
    const { signal } = new AbortController();
    const original = Object.getOwnPropertyDescriptor(Client.prototype, "makeUnaryRequest") ?? {};
    const thrown = new Error("grpc-js does not want to");
    Client.prototype.makeUnaryRequest = () => {
      throw thrown;
    };
    const outcome = await processor.process(requestOf("x"), contextOf({ signal })).catch((error: unknown) => error);
    Object.defineProperty(Client.prototype, "makeUnaryRequest", original);
    expect(outcome).to.equal(thrown);
    expect(getEventListeners(signal, "abort")).to.deep.equal([]);
    for (let call = 0; call < 2; call += 1) await processor.process(requestOf("x"), contextOf());
    expect(server.connections()).to.equal(1);
  });

  it("waits for its calls when it is disposed, takes no more, and leaves no socket", async () => {
    const release = Promise.withResolvers<void>();
    const started = Promise.withResolvers<void>();
    await using server = await startGrpcServer({
      process: async (call) => {
        started.resolve();
        await release.promise;
        return echoed(call);
      },
    });
    const processor = await load(server);
    const running = processor.process(requestOf("x"), contextOf());
    await started.promise;
    const disposed = processor[Symbol.asyncDispose]();
    expect((await millraceError(processor.process(requestOf("x"), contextOf()))).code).to.equal("Unavailable");
    release.resolve();
    expect((await running).ok).to.equal(true);
    await disposed;
    await processor[Symbol.asyncDispose]();
    await until(() => server.connections() === 0);
  });

  it("refuses an endpoint that is no gRPC target when it is loaded", async () => {
    const error = await millraceError(backend.load(specOf(grpcAt("unix:///run/x.sock")), never));
    expect(error.code).to.equal("InvalidInput");
    expect(error.message).to.match(/^spec\.rpc\.endpoint: /);
  });

  describe("when it is probed", () => {
    const described = { name: "words", version: "1", optionsSchemaJson: "" };

    it("is satisfied by a server without Describe", async () => {
      await using server = await startGrpcServer({ process: echoed });
      await (await load(server)).probe?.(never);
    });

    it("is satisfied while as many calls run as may", async () => {
      const release = Promise.withResolvers<void>();
      await using server = await startGrpcServer({
        process: async (call) => {
          await release.promise;
          return echoed(call);
        },
      });
      const processor = await load(server, { maxConcurrency: 1 });
      const call = processor.process(requestOf("x"), contextOf());
      await processor.probe?.(never);
      release.resolve();
      await call;
    });

    it("is Unavailable once it is disposed, and connects no more", async () => {
      await using server = await startGrpcServer({ process: echoed });
      const processor = await load(server);
      await processor[Symbol.asyncDispose]();
      expect((await millraceError(processor.probe?.(never) ?? Promise.resolve())).code).to.equal("Unavailable");
    });

    it("is satisfied by the same intent, and by none", async () => {
      for (const intent of ["INTENT_TRANSFORM", "INTENT_UNSPECIFIED", 9] as const) {
        await using server = await startGrpcServer({ process: echoed, describe: { ...described, intent } });
        await (await load(server)).probe?.(never);
      }
    });

    it("refuses another intent", async () => {
      await using server = await startGrpcServer({
        process: echoed,
        describe: { ...described, intent: "INTENT_ANALYZE" },
      });
      const processor = await load(server);
      const error = await millraceError(processor.probe?.(never) ?? Promise.resolve());
      expect(error.code).to.equal("InvalidInput");
      expect(error.message).to.match(/^spec\.intent: Transform, but .* describes itself as Analyze/);
    });
  });
});
