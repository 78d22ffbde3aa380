import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { expect } from "chai";
import type { Backend } from "../../../backends/backend.ts";
import { ByteBudget } from "../../../backends/byte-budget.ts";
import { Caller } from "../../../backends/call.ts";
import { createRpcBackend } from "../../../backends/rpc/backend.ts";
import { statusTable } from "../../../backends/rpc/errors.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { BytesPayload } from "../../../engine/payload.ts";
import {
  bytesRequest,
  contextOf,
  httpAt,
  millraceError,
  requestOf,
  rpcBackend,
  specOf,
  until,
} from "../../support/rpc/calls.ts";
import { echo, type HttpTestServer, startHttpServer } from "../../support/rpc/http-server.ts";
import { attemptOf, ManualPorts } from "../support.ts";

const never = new AbortController().signal;

function problem(response: ServerResponse, status: number, document: unknown, headers = {}): void {
  response.writeHead(status, { "content-type": "application/problem+json", ...headers });
  response.end(typeof document === "string" ? document : JSON.stringify(document));
}

describe("an HTTP processor", () => {
  let backend: Backend;
  beforeEach(() => {
    backend = rpcBackend();
  });
  afterEach(() => backend[Symbol.asyncDispose]());

  function load(server: HttpTestServer, limits = {}, maxConnections = 4) {
    return backend.load(specOf(httpAt(server.endpoint, maxConnections), limits), never);
  }

  /** Calls a server that answers everything in the same way. */
  async function ask(answer: (response: ServerResponse) => void, limits = {}) {
    await using server = await startHttpServer((_request, response) => answer(response));
    const processor = await load(server, limits);
    return await processor.process(requestOf("x"), contextOf());
  }

  it("posts the payload with its content type, and says in headers what it is for", async () => {
    let headers: IncomingHttpHeaders = {};
    let line = "";
    await using server = await startHttpServer((request, response) => {
      headers = request.headers;
      line = `${request.method} ${request.url}`;
      void echo(request, response);
    });
    const processor = await load(server);
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const response = await processor.process(
      requestOf("hello", { metadata: { "clean.A": "ä,=;%", b: "" }, options: { top: 10, t: "\r\nx: y" } }),
      contextOf({ attempt: 3, traceparent, timeoutMs: 60_000 }),
    );
    expect(line).to.equal("POST /process");
    expect(headers).to.include({
      "content-type": "text/plain; charset=utf-8",
      "content-length": "5",
      "millrace-execution": "default/article-1",
      "millrace-execution-uid": "0b7e",
      "millrace-step": "count",
      "millrace-attempt": "3",
      "idempotency-key": "0b7e/count",
      "millrace-metadata": "clean.A=%C3%A4%2C%3D%3B%25,b=",
      traceparent,
    });
    expect(JSON.parse(decodeURIComponent(String(headers["millrace-options"])))).to.deep.equal({
      top: 10,
      t: "\r\nx: y",
    });
    expect(Number(headers["millrace-timeout-ms"])).to.be.within(59_000, 60_000);
    expect(response.metadata).to.deep.equal({ "clean.A": "ä,=;%", b: "" });
    if (!response.ok) throw new Error("expected a result");
    expect(response.payload.contentType).to.equal("text/plain; charset=utf-8");
    expect(Buffer.from(await response.payload.bytes(never)).toString()).to.equal("hello");
  });

  it("keeps any text in metadata and options from becoming a header of its own", async () => {
    let headers: IncomingHttpHeaders = {};
    await using server = await startHttpServer((request, response) => {
      headers = request.headers;
      void echo(request, response);
    });
    const processor = await load(server);
    const metadata = { a: "1\r\nX-Injected: yes\r\n\r\nPOST / HTTP/1.1", b: "\0\u2028\ud800" };
    const response = await processor.process(
      requestOf("x", { metadata, options: { o: "\r\nx-injected: yes" } }),
      contextOf({
        step: "a\r\nx-injected: yes",
        idempotencyKey: "k\nx-injected: yes",
        traceparent: "\r\nx-injected: 1",
      }),
    );
    expect(headers).not.to.have.property("x-injected");
    expect(headers).not.to.have.property("traceparent");
    expect(response.metadata).to.deep.equal({ ...metadata, b: "\0\u2028\ufffd" });
  });

  it("refuses a content type that no header can carry", async () => {
    await using server = await startHttpServer(echo);
    const processor = await load(server);
    for (const contentType of ["text/plain\r\nx: y", "", "text/ü"]) {
      const payload = new BytesPayload(new Uint8Array(1), contentType);
      const error = await millraceError(processor.process(requestOf("", { payload }), contextOf()));
      expect(error.code).to.equal("InvalidInput");
    }
  });

  it("carries the most metadata and options that there may be, at their longest in headers, both ways", async () => {
    await using server = await startHttpServer(echo);
    const processor = await load(server);
    const metadata = { key: "ü".repeat(4094) };
    const options = { o: "ü".repeat(2040) };
    const response = await processor.process(requestOf("x", { metadata, options }), contextOf());
    expect(response.metadata).to.deep.equal(metadata);
  });

  it("takes 204 as an empty payload and an answer without a content type as bytes", async () => {
    const response = await ask((answer) => answer.writeHead(204).end());
    if (!response.ok) throw new Error("expected a result");
    expect([response.payload.size, response.payload.contentType]).to.deep.equal([0, "application/octet-stream"]);
  });

  it("is not taken in by an informational answer before the real one", async () => {
    const response = await ask((answer) => {
      answer.writeProcessing();
      answer.writeEarlyHints({ link: "</x>; rel=preload" });
      answer.end("real");
    });
    expect(response.ok && Buffer.from(await response.payload.bytes(never)).toString()).to.equal("real");
  });

  for (const [name, code] of Object.entries(statusTable.http)) {
    const status = Number(name.replace("4xx", "418").replace("5xx", "507"));
    it(`translates ${name} into ${code}`, async () => {
      const error = await millraceError(
        ask((answer) => answer.writeHead(status, { "content-type": "text/plain" }).end("that  was\nit")),
      );
      expect(error.code).to.equal(code);
      expect(error.message).to.match(/^http:\/\/127\.0\.0\.1:\d+\/process answered \d+: that was it$/);
    });
  }

  for (const status of [301, 302, 303, 307, 308]) {
    it(`refuses the redirect ${status} and says where it leads`, async () => {
      const error = await millraceError(ask((answer) => answer.writeHead(status, { location: "http://else/" }).end()));
      expect(error.code).to.equal(statusTable.fault.Redirect);
      expect(error.message).to.contain("http://else/");
    });
  }

  it("honours Retry-After in seconds and as a date", async () => {
    const date = new Date(Date.now() + 90_000).toUTCString();
    for (const [value, minMs, maxMs] of [
      ["7", 7000, 7000],
      [date, 60_000, 90_000],
    ] as const) {
      const error = await millraceError(ask((answer) => answer.writeHead(429, { "retry-after": value }).end()));
      expect(error.code).to.equal("ResourceExhausted");
      expect(error.retryAfterMs).to.be.within(minMs, maxMs);
    }
  });

  it("gives a problem document as a declared failure, with metadata and Retry-After", async () => {
    const response = await ask((answer) =>
      problem(
        answer,
        422,
        { type: "https://words.dev/p/quota", title: "Quota", detail: "no more", code: "Quota", retryable: true },
        { "millrace-metadata": "left=0", "retry-after": "2" },
      ),
    );
    expect(response).to.deep.equal({
      ok: false,
      metadata: { left: "0" },
      error: { code: "Quota", message: "no more", retryable: true, retryAfterMs: 2000 },
    });
  });

  it("falls back to the status when a problem document is malformed", async () => {
    for (const text of ["{", "[]", '"x"', "", "null", "\xff"]) {
      const error = await millraceError(ask((answer) => problem(answer, 503, text)));
      expect(error.code).to.equal("Unavailable");
      expect(error.message).to.contain("malformed problem document");
    }
  });

  it("reads no more than 64 KiB of a failure", async () => {
    const error = await millraceError(
      ask((answer) => problem(answer, 503, { code: "X", detail: "y".repeat(270_000) })),
    );
    expect(error.code).to.equal("Unavailable");
  });

  it("takes a metadata header that is not percent-encoded as a crash", async () => {
    for (const value of ["a=%ff", "a=%zz", "a", "a=1,a=2", "-x=1", "__proto__=1", ",", "=1"]) {
      const error = await millraceError(ask((answer) => answer.writeHead(200, { "millrace-metadata": value }).end()));
      expect(error.code, value).to.equal("ProcessorCrashed");
      expect(error.message).to.contain("millrace-metadata");
    }
  });

  it("refuses a compressed answer, as none was asked for", async () => {
    const error = await millraceError(ask((answer) => answer.writeHead(200, { "content-encoding": "gzip" }).end("x")));
    expect(error.code).to.equal("ProcessorCrashed");
  });

  it("refuses headers over 256 KiB", async () => {
    const error = await millraceError(ask((answer) => answer.writeHead(200, { x: "y".repeat(270_000) }).end()));
    expect(error.code).to.equal("PayloadTooLarge");
  });

  it("refuses an announced answer over maxOutputSize with its size, and closes the connection", async () => {
    const closed = Promise.withResolvers<void>();
    const error = await millraceError(
      ask(
        (answer) => {
          answer.on("close", () => closed.resolve());
          answer.writeHead(200, { "content-length": "5000" });
          answer.write("x");
        },
        { maxOutputBytes: 1024 },
      ),
    );
    expect(error.code).to.equal("PayloadTooLarge");
    expect(error.message).to.contain("5000 bytes, over the limit of 1024 bytes");
    await closed.promise;
  });

  it("stops reading an endless answer at maxOutputSize", async () => {
    const closed = Promise.withResolvers<void>();
    const error = await millraceError(
      ask(
        (answer) => {
          const timer = setInterval(() => answer.write("x".repeat(1000)), 1);
          answer.on("close", () => {
            clearInterval(timer);
            closed.resolve();
          });
        },
        { maxOutputBytes: 10_000 },
      ),
    );
    expect(error.code).to.equal("PayloadTooLarge");
    await closed.promise;
  });

  it("takes an answer of exactly maxOutputSize", async () => {
    const response = await ask((answer) => answer.end("x".repeat(1024)), { maxOutputBytes: 1024 });
    expect(response.ok && response.payload.size).to.equal(1024);
  });

  it("rejects with the signal's reason on cancellation, and the server sees the connection close", async () => {
    const started = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    await using server = await startHttpServer((request, _response) => {
      request.socket.on("close", () => closed.resolve());
      started.resolve();
    });
    const processor = await load(server);
    const controller = new AbortController();
    const reason = new MillraceError("DeadlineExceeded", "too late");
    const result = millraceError(processor.process(requestOf("x"), contextOf({ signal: controller.signal })));
    await started.promise;
    controller.abort(reason);
    expect(await result).to.equal(reason);
    await closed.promise;
  });

  it("sends nothing when it is cancelled while its connection is being made", async () => {
    const seen: unknown[] = [];
    await using server = await startHttpServer((request, response) => {
      seen.push(request.headers["millrace-step"]);
      return echo(request, response);
    });
    const processor = await load(server, {}, 1);
    const controller = new AbortController();
    const context = contextOf({ step: "given-up", signal: controller.signal });
    const first = millraceError(processor.process(requestOf("x"), context));
    // Long enough for the request to be with undici, too short for a connection.
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    const reason = new MillraceError("Cancelled", "enough");
    controller.abort(reason);
    expect(await first).to.equal(reason);
    expect((await processor.process(requestOf("x"), contextOf({ step: "next" }))).ok).to.equal(true);
    expect([seen, server.connections()]).to.deep.equal([["next"], 1]);
  });

  it("lets a call wait for a connection before its time starts, and takes no bytes for it meanwhile", async () => {
    const ports = new ManualPorts();
    const arrivals = Array.from({ length: 4 }, () => Promise.withResolvers<() => void>());
    const seen: unknown[] = [];
    await using server = await startHttpServer(async (request, response) => {
      const arrival = arrivals[seen.push(request.headers["millrace-timeout-ms"]) - 1];
      arrival?.resolve(() => void echo(request, response));
    });
    await using own = createRpcBackend({ ports });
    const spec = specOf(httpAt(server.endpoint, 1));
    const budget = new ByteBudget();
    await using caller = new Caller(await own.load(spec, never), { limits: spec.limits, ports, budget });
    const timeoutMs = 1500;
    const calls = arrivals.map(() => caller.call(attemptOf({ timeoutMs }), requestOf("x"), never));
    for (const [index, call] of calls.entries()) {
      const answer = await Promise.race([arrivals[index]?.promise, call]);
      ports.advance(1000);
      expect(budget.totalBytes - budget.freeBytes).to.equal(1 + spec.limits.maxOutputBytes);
      if (typeof answer === "function") answer();
      expect((await call).ok).to.equal(true);
    }
    expect([seen, server.connections()]).to.deep.equal([["1500", "1500", "1500", "1500"], 1]);
  });

  it("gives up waiting for a connection when it is cancelled", async () => {
    const release = Promise.withResolvers<void>();
    await using server = await startHttpServer(async (request, response) => {
      await release.promise;
      await echo(request, response);
    });
    const processor = await load(server, {}, 1);
    const first = processor.process(requestOf("x"), contextOf());
    const controller = new AbortController();
    const second = millraceError(processor.process(requestOf("x"), contextOf({ signal: controller.signal })));
    const reason = new MillraceError("Cancelled", "enough");
    controller.abort(reason);
    expect(await second).to.equal(reason);
    release.resolve();
    expect((await first).ok).to.equal(true);
  });

  it("makes 200 concurrent calls over no more connections than maxConnections, and keeps them", async () => {
    await using server = await startHttpServer(echo);
    const processor = await load(server, { maxConcurrency: 200 }, 3);
    for (let round = 0; round < 2; round++) {
      const calls = Array.from({ length: 200 }, () => processor.process(bytesRequest(1000), contextOf()));
      await Promise.all(calls);
    }
    expect(server.connections()).to.equal(3);
  });

  it("waits for its calls when it is disposed, takes no more, and leaves no socket", async () => {
    const release = Promise.withResolvers<void>();
    const started = Promise.withResolvers<void>();
    await using server = await startHttpServer(async (request, response) => {
      started.resolve();
      await release.promise;
      await echo(request, response);
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
    await until(() => server.open() === 0);
  });

  it("is probed by a connection alone", async () => {
    let requests = 0;
    await using server = await startHttpServer(() => {
      requests += 1;
    });
    await (await load(server)).probe?.(never);
    expect([server.connections(), requests]).to.deep.equal([1, 0]);
  });

  it("does not pass a probe over TLS when the server speaks none", async () => {
    await using server = await startHttpServer(() => undefined);
    const processor = await backend.load(specOf(httpAt(server.endpoint.replace("http:", "https:"))), never);
    expect((await millraceError(processor.probe?.(never) ?? Promise.resolve())).code).to.equal("Unavailable");
  });
});
