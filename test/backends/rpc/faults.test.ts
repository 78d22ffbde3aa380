import { once } from "node:events";
import type { Socket } from "node:net";
import { expect } from "chai";
import type { Backend, LoadedProcessor } from "../../../backends/backend.ts";
import {
  contextOf,
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
import { closedPort, startTcpServer } from "../../support/rpc/tcp-server.ts";

const never = new AbortController().signal;

describe("a network that fails", () => {
  let backend: Backend;
  beforeEach(() => {
    backend = rpcBackend();
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  const protocols = {
    GRPC: (port: number) => backend.load(specOf(grpcAt(`dns:///127.0.0.1:${port}`)), never),
    HTTP: (port: number) => backend.load(specOf(httpAt(`http://127.0.0.1:${port}`)), never),
  };

  function call(processor: LoadedProcessor, timeoutMs = 5000) {
    const signal = AbortSignal.timeout(timeoutMs + 5000);
    return processor.process(requestOf("hello"), contextOf({ timeoutMs, signal }));
  }

  for (const [protocol, at] of Object.entries(protocols)) {
    describe(`below either, here ${protocol}`, () => {
      it("is Unavailable where nothing listens, for a call and for a probe, and loads none the less", async () => {
        const processor = await at(await closedPort());
        expect((await millraceError(call(processor))).code).to.equal("Unavailable");
        expect((await millraceError(processor.probe?.(never) ?? Promise.resolve())).code).to.equal("Unavailable");
      });

      it("is Unavailable where the name does not resolve", async () => {
        const spec = protocol === "GRPC" ? grpcAt("no-such.invalid:1") : httpAt("http://no-such.invalid:1");
        const processor = await backend.load(specOf(spec), never);
        expect((await millraceError(call(processor))).code).to.equal("Unavailable");
      });

      it("ends a probe when its signal aborts", async () => {
        await using server = await startTcpServer((socket) => socket.pause());
        const processor =
          protocol === "GRPC"
            ? await at(server.port)
            : await backend.load(specOf(httpAt(`https://127.0.0.1:${server.port}`)), never);
        const controller = new AbortController();
        const probed = processor.probe?.(controller.signal).then(
          () => undefined,
          (error: unknown) => error,
        );
        await until(() => server.sockets.size > 0);
        controller.abort(new Error("stopped"));
        expect(await probed).to.equal(controller.signal.reason);
      });
    });
  }

  describe("below HTTP", () => {
    /** Calls a server that does as it likes with the connection once the request has come. */
    async function against(onRequest: (socket: Socket) => void) {
      await using server = await startTcpServer((socket) => socket.once("data", () => onRequest(socket)));
      return await millraceError(call(await protocols.HTTP(server.port)));
    }

    it("is ProcessorCrashed when the connection is reset before the answer", async () => {
      expect((await against((socket) => socket.resetAndDestroy())).code).to.equal("ProcessorCrashed");
    });

    it("is ProcessorCrashed when the connection is closed before the answer", async () => {
      expect((await against((socket) => socket.end())).code).to.equal("ProcessorCrashed");
    });

    it("is ProcessorCrashed when the connection is reset in mid-body", async () => {
      const error = await against((socket) => {
        socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", () => socket.resetAndDestroy());
      });
      expect(error.code).to.equal("ProcessorCrashed");
    });

    it("is ProcessorCrashed when a chunked body ends without its last chunk", async () => {
      const error = await against((socket) => {
        socket.end("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
      });
      expect(error.code).to.equal("ProcessorCrashed");
    });

    it("is ProcessorCrashed when the answer is not HTTP", async () => {
      const error = await against((socket) => socket.end("220 mail.example ESMTP\r\n"));
      expect(error.code).to.equal("ProcessorCrashed");
      expect(error.message).to.contain("not HTTP/1.1");
    });

    it("ends at the signal when the server accepts and never answers", async () => {
      await using server = await startTcpServer((socket) => socket.resume());
      const processor = await protocols.HTTP(server.port);
      const controller = new AbortController();
      const result = processor
        .process(requestOf("x"), contextOf({ signal: controller.signal }))
        .catch((error) => error);
      await until(() => server.sockets.size > 0);
      controller.abort(new Error("late"));
      expect(await result).to.equal(controller.signal.reason);
      await until(() => server.sockets.size === 0);
    });

    it("ends at the signal while the server sends byte by byte", async () => {
      const first = Promise.withResolvers<void>();
      await using server = await startTcpServer((socket) => {
        socket.once("data", () => {
          socket.write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
          const timer = setInterval(() => {
            socket.write("x");
            first.resolve();
          }, 2);
          socket.on("close", () => clearInterval(timer));
        });
      });
      const processor = await protocols.HTTP(server.port);
      const controller = new AbortController();
      const result = processor
        .process(requestOf("x"), contextOf({ signal: controller.signal }))
        .catch((error) => error);
      await first.promise;
      controller.abort(new Error("late"));
      expect(await result).to.equal(controller.signal.reason);
      await until(() => server.sockets.size === 0);
    });

    it("reads an answer that comes in single bytes", async () => {
      await using server = await startTcpServer((socket) => {
        socket.setNoDelay(true);
        const answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nmillrace-metadata: a=1\r\n\r\nhello";
        const write = (index: number) => {
          if (index < answer.length) socket.write(answer.charAt(index), () => write(index + 1));
        };
        socket.once("data", () => write(0));
      });
      const response = await call(await protocols.HTTP(server.port));
      expect(response).to.deep.include({ ok: true, metadata: { a: "1" } });
    });

    it("goes on over a new connection when the server has closed the kept one", async () => {
      await using server = await startHttpServer((request, response) => {
        response.on("finish", () => request.socket.end());
        void echo(request, response);
      });
      const processor = await protocols.HTTP(server.port);
      for (let round = 1; round <= 3; round++) {
        expect((await call(processor)).ok).to.equal(true);
        await until(() => server.open() === 0);
        expect(server.connections()).to.equal(round);
      }
    });

    it("goes on when the server comes back on its port", async () => {
      const first = await startHttpServer(echo);
      const processor = await protocols.HTTP(first.port);
      expect((await call(processor)).ok).to.equal(true);
      await first[Symbol.asyncDispose]();
      expect((await millraceError(call(processor))).code).to.be.oneOf(["Unavailable", "ProcessorCrashed"]);
      await using second = await startHttpServer(echo, first.port);
      expect((await call(processor)).ok).to.equal(true);
      expect(second.connections()).to.equal(1);
    });
  });

  describe("below gRPC", () => {
    it("is ProcessorCrashed when the connection is lost in mid-call, and goes on when the server comes back", async () => {
      const started = Promise.withResolvers<void>();
      const first = await startGrpcServer({
        process: () => {
          started.resolve();
          return new Promise(() => undefined);
        },
      });
      const processor = await protocols.GRPC(first.port);
      const result = millraceError(call(processor));
      await started.promise;
      await first[Symbol.asyncDispose]();
      expect((await result).code).to.equal("ProcessorCrashed");
      await using _second = await startGrpcServer({ process: echoed, port: first.port });
      await recovered(processor);
    });

    it("does not stay in its failure when a server comes late", async () => {
      const port = await closedPort();
      const processor = await protocols.GRPC(port);
      for (let attempt = 0; attempt < 5; attempt++) await millraceError(call(processor));
      await using _server = await startGrpcServer({ process: echoed, port });
      await recovered(processor);
    });

    it("is ProcessorCrashed when the proxy between is reset in mid-call", async () => {
      await using server = await startTcpServer((socket) => {
        // A SETTINGS frame makes the connection ready; the call's own frames are met by a reset.
        socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
        socket.on("data", (bytes) => {
          if (bytes.includes("content-type") || bytes.length > 150) socket.resetAndDestroy();
        });
      });
      expect((await millraceError(call(await protocols.GRPC(server.port)))).code).to.equal("ProcessorCrashed");
    });

    it("is DeadlineExceeded when the server accepts and never answers", async () => {
      await using server = await startTcpServer((socket) => socket.resume());
      const error = await millraceError(call(await protocols.GRPC(server.port), 100));
      expect(error.code).to.equal("DeadlineExceeded");
    });

    it("is Unavailable when the server speaks something else", async () => {
      await using server = await startTcpServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
      const error = await millraceError(call(await protocols.GRPC(server.port)));
      expect(error.code).to.equal("Unavailable");
    });

    it("is ProcessorCrashed when the answer is garbage instead of a message", async () => {
      const { Server, ServerCredentials } = await import("@grpc/grpc-js");
      const server = new Server();
      const pass = (bytes: Buffer) => bytes;
      const method = {
        path: "/millrace.processor.v1.Processor/Process",
        requestStream: false,
        responseStream: false,
        requestSerialize: pass,
        requestDeserialize: pass,
        responseSerialize: pass,
        responseDeserialize: pass,
      };
      server.addService(
        { Process: method },
        {
          Process: (_call: unknown, callback: (error: null, bytes: Buffer) => void) =>
            callback(null, Buffer.from([0x0a, 0xff, 0xff, 0xff, 0x7f, 1])),
        },
      );
      const port = await new Promise<number>((resolve) => {
        server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (_error, bound) => resolve(bound));
      });
      try {
        const error = await millraceError(call(await protocols.GRPC(port)));
        expect(error.code).to.equal("ProcessorCrashed");
        expect(error.message).to.contain("parsing error");
      } finally {
        server.forceShutdown();
      }
    });
  });

  /** Tries until a call succeeds: the connection is made anew in the background. */
  async function recovered(processor: LoadedProcessor): Promise<void> {
    for (;;) {
      const ok = await call(processor).then(
        (response) => response.ok,
        () => false,
      );
      if (ok) return;
      await once(AbortSignal.timeout(10), "abort");
    }
  }
});
