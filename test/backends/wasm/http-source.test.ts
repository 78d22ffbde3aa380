import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { Socket } from "node:net";
import { expect } from "chai";
import { ModuleNetwork } from "../../../backends/wasm/network/network.ts";
import { fetchHttp, fetchHttpSignatures, type HttpModule, resolveHttp } from "../../../backends/wasm/sources/http.ts";
import type { HttpListener } from "../../support/rpc/http-server.ts";
import { startTcpServer } from "../../support/rpc/tcp-server.ts";
import { ca, dnsOf, type HttpsTestServer, startHttpsServer } from "./network/servers.ts";
import { rejection } from "./processors.ts";

const never = new AbortController().signal;
const now = Date.parse("2026-11-28T05:00:00Z");
const content = Buffer.from("\0asm, or so");
const digest = `sha256:${createHash("sha256").update(content).digest("hex")}`;

describe("WASM modules over HTTP", () => {
  let server: HttpsTestServer;
  let network: ModuleNetwork;
  let answer: HttpListener;
  let asked: { readonly url: string | undefined; readonly headers: IncomingHttpHeaders }[];

  beforeEach(async () => {
    asked = [];
    answer = (_request, response) => {
      response.end(content);
    };
    server = await startHttpsServer((request, response) => {
      asked.push({ url: request.url, headers: request.headers });
      return answer(request, response);
    });
    network = new ModuleNetwork({
      allowAddresses: ["127.0.0.1"],
      allowInsecureRegistries: ["insecure.test"],
      ca,
      lookup: dnsOf("127.0.0.1"),
      idleTimeoutMs: 500,
    });
  });
  afterEach(async () => {
    await network[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  const module = (path = "/words.wasm", maxBytes = 100): HttpModule => ({
    network,
    url: `https://modules.test:${server.port}${path}`,
    maxBytes,
    now: () => now,
  });
  const raw = (port: number): HttpModule => ({
    network,
    url: `http://insecure.test:${port}/words.wasm`,
    maxBytes: 100,
    now: () => now,
  });

  it("are fetched as they are, without credentials or compression", async () => {
    const { bytes } = await fetchHttp(module(), never);
    expect(Buffer.from(bytes)).to.deep.equal(content);
    expect(asked[0]?.headers["accept-encoding"]).to.equal("identity");
    expect(asked[0]?.headers).not.to.have.any.keys("authorization", "cookie");
  });

  it("say when a server that is busy wants to be asked again", async () => {
    const answers = (status: number, wait: string) => {
      answer = (_request, response) => void response.writeHead(status, { "retry-after": wait }).end();
      return rejection(fetchHttp(module(), never));
    };
    expect((await answers(429, "7")).retryAfterMs).to.equal(7000);
    const date = new Date(now + 90_000).toUTCString();
    expect(await answers(503, date)).to.include({ code: "Unavailable", retryAfterMs: 90_000 });
    expect((await answers(404, "7")).retryAfterMs).to.equal(undefined);
    expect((await answers(503, "soon")).retryAfterMs).to.equal(undefined);
  });

  it("may be as large as modules may be, and no larger, whether they say so or not", async () => {
    expect((await fetchHttp(module("/", content.length), never)).bytes).to.have.length(content.length);
    const announced = await rejection(fetchHttp(module("/", content.length - 1), never));
    expect(announced.code).to.equal("PayloadTooLarge");
    expect(announced.message)
      .to.include(`${content.length} bytes`)
      .and.include(`${content.length - 1} bytes`);
    answer = (_request, response) => {
      response.write(content);
      response.end(content);
    };
    expect((await rejection(fetchHttp(module("/", content.length), never))).code).to.equal("PayloadTooLarge");
    expect((await rejection(resolveHttp(module("/", content.length), undefined, never))).code).to.equal(
      "PayloadTooLarge",
    );
  });

  describe("of servers that say what a URL holds", () => {
    const cases: readonly (readonly [header: string, first: string, then: string, condition: string])[] = [
      ["etag", '"1"', '"2"', "if-none-match"],
      ["etag", 'W/"1"', 'W/"2"', "if-none-match"],
      ["last-modified", "Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:01 GMT", "if-modified-since"],
    ];
    for (const [header, first, then, condition] of cases) {
      it(`by ${header}, as ${first}, are not read in order to know it`, async () => {
        let now = first;
        answer = (request, response) => {
          response.setHeader(header, now);
          if (request.headers[condition] === now) response.writeHead(304).end();
          else response.end(content);
        };
        const resolved = await resolveHttp(module(), undefined, never);
        expect(resolved.digest).to.equal(undefined);
        expect(await resolveHttp(module(), resolved, never)).to.equal(resolved);
        expect(asked[1]?.headers[condition]).to.equal(first);
        now = then;
        const moved = await resolveHttp(module(), resolved, never);
        expect(moved.version).not.to.equal(resolved.version);
        const fetched = await fetchHttp(module(), never);
        expect(fetched.resolution).to.deep.equal(moved);
        expect(asked.at(-1)?.headers).not.to.have.any.keys(condition);
      });
    }

    it("in no way are read", async () => {
      const resolved = await resolveHttp(module(), undefined, never);
      expect(resolved).to.deep.equal({ version: digest, digest, details: {} });
      expect(await resolveHttp(module(), resolved, never)).to.deep.equal(resolved);
      expect((await fetchHttp(module(), never)).resolution).to.deep.equal(resolved);
    });

    it("by another length at the same date hold something else", async () => {
      answer = (_request, response) => {
        response.setHeader("last-modified", "Wed, 21 Oct 2026 07:28:00 GMT");
        response.setHeader("content-length", content.length + asked.length);
        response.end(Buffer.concat([content, Buffer.alloc(asked.length)]));
      };
      const first = await resolveHttp(module(), undefined, never);
      expect((await resolveHttp(module(), first, never)).version).not.to.equal(first.version);
    });

    it("with a 304 for which nobody asked have no module", async () => {
      answer = (_request, response) => void response.writeHead(304).end();
      expect((await rejection(resolveHttp(module(), undefined, never))).code).to.equal("Unavailable");
      expect((await rejection(fetchHttp(module(), never))).code).to.equal("Unavailable");
    });
  });

  const statuses: readonly (readonly [status: number, code: string])[] = [
    [204, "Unavailable"],
    [206, "Unavailable"],
    [300, "Unavailable"],
    [400, "InvalidInput"],
    [401, "InvalidInput"],
    [403, "InvalidInput"],
    [404, "NotFound"],
    [408, "Unavailable"],
    [410, "NotFound"],
    [429, "Unavailable"],
    [500, "Unavailable"],
    [503, "Unavailable"],
  ];
  for (const [status, code] of statuses) {
    it(`are ${code} when the server answers ${status}`, async () => {
      answer = (_request, response) => void response.writeHead(status).end();
      const error = await rejection(fetchHttp(module("/words.wasm?token=hunter2"), never));
      expect(error.code).to.equal(code);
      expect(error.message).to.include(`answered ${status}`).and.include("spec.wasm.source.http");
      expect(error.message).not.to.include("hunter2");
      expect((await rejection(resolveHttp(module(), undefined, never))).code).to.equal(code);
    });
  }

  it("are refused when they come encoded", async () => {
    answer = (_request, response) => void response.writeHead(200, { "content-encoding": "gzip" }).end(content);
    const error = await rejection(fetchHttp(module(), never));
    expect(error.code).to.equal("InvalidInput");
    expect(error.message).to.include("gzip");
  });

  it("are got by way of 5 redirects, and not of 6 or of a circle", async () => {
    answer = (request, response) => {
      const left = Number(/\d+/.exec(request.url ?? "")?.[0] ?? 0);
      if (left === 0) response.end(content);
      else response.writeHead(302, { location: request.url === "/99" ? "/99" : `/${left - 1}` }).end();
    };
    expect((await fetchHttp(module("/5"), never)).bytes).to.have.length(content.length);
    for (const path of ["/6", "/99"]) {
      expect((await rejection(fetchHttp(module(path), never))).code).to.equal("Unavailable");
    }
  });

  it("are not got from inside, nor by a user's name and password", async () => {
    const url = `https://user:hunter2@modules.test:${server.port}/`;
    const error = await rejection(fetchHttp({ ...module(), url }, never));
    expect(error.code).to.equal("InvalidInput");
    expect(error.message).not.to.include("hunter2");
    answer = (_request, response) => void response.writeHead(302, { location: "https://169.254.169.254/latest" }).end();
    const inside = await rejection(fetchHttp(module(), never));
    expect(inside.code).to.equal("SandboxViolation");
    expect(inside.message).to.include("169.254.169.254");
  });

  describe("of servers that lie or fail", () => {
    const head = (length: number) => `HTTP/1.1 200 OK\r\ncontent-length: ${length}\r\n\r\n`;
    const serve = (write: (socket: Socket) => void) =>
      startTcpServer((socket) => void socket.once("data", () => write(socket)));

    it("are unavailable when less comes than was said", async () => {
      await using tcp = await serve((socket) => socket.end(`${head(50)}short`));
      const error = await rejection(fetchHttp(raw(tcp.port), never));
      expect(error.code).to.equal("Unavailable");
    });

    it("end where they were said to, whatever comes after, which is no answer to the next request", async () => {
      await using tcp = await serve((socket) => socket.write(`${head(5)}first and ${head(6)}forged`));
      for (let count = 0; count < 3; count += 1) {
        const { bytes } = await fetchHttp(raw(tcp.port), never);
        expect(Buffer.from(bytes).toString()).to.equal("first");
      }
    });

    for (const [what, text] of [
      ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nfirst"],
      ["a length that is none", "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nfirst"],
      [
        "a length and chunks",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n",
      ],
      ["chunks that break off", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n"],
      ["a head without end", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(100_000)}`],
      ["no HTTP", "220 mail.test ESMTP\r\n"],
    ] as const) {
      it(`are unavailable when there is ${what}`, async () => {
        await using tcp = await serve((socket) => socket.end(text));
        expect((await rejection(fetchHttp(raw(tcp.port), never))).code).to.equal("Unavailable");
      });
    }

    it("are unavailable when the server dies in the middle, or falls silent", async () => {
      await using dying = await serve((socket) => socket.write(`${head(50)}begin`, () => socket.resetAndDestroy()));
      expect((await rejection(fetchHttp(raw(dying.port), never))).code).to.equal("Unavailable");
      await using silent = await serve((socket) => void socket.write(`${head(50)}begin`));
      expect((await rejection(fetchHttp(raw(silent.port), never))).message).to.include("in time");
    });

    it("are waited for as long as something comes, and the caller waits", async () => {
      const drip = (socket: Socket) => {
        socket.write(head(20));
        const timer = setInterval(() => socket.write("x"), 50);
        socket.once("close", () => clearInterval(timer));
      };
      await using tcp = await serve(drip);
      expect((await fetchHttp(raw(tcp.port), never)).bytes).to.have.length(20);
      const error = await fetchHttp(raw(tcp.port), AbortSignal.timeout(200)).catch((thrown: unknown) => thrown);
      expect(error).to.have.property("name", "TimeoutError");
    });

    it("are not waited for when too little comes, however often, and are when enough does", async () => {
      const drip = (socket: Socket, bytes: number) => {
        socket.write(head(100));
        const timer = setInterval(() => socket.write("x".repeat(bytes)), 50);
        socket.once("close", () => clearInterval(timer));
      };
      const pace = { graceMs: 300, bytesPerSecond: 50 };
      await using slow = await serve((socket) => drip(socket, 1));
      for (const work of [fetchHttp, (module: HttpModule) => resolveHttp(module, undefined, never)]) {
        const error = await rejection(work({ ...raw(slow.port), pace }, never));
        expect(error.code).to.equal("Unavailable");
        expect(error.message).to.include("too slowly").and.include("50 bytes");
      }
      await using steady = await serve((socket) => drip(socket, 10));
      expect((await fetchHttp({ ...raw(steady.port), pace }, never)).bytes).to.have.length(100);
    });
  });

  it("have their signatures beside them", async () => {
    answer = (request, response) => {
      if (request.url === "/words.wasm.sig?v=1") response.end("signature");
      else response.writeHead(404).end();
    };
    const { files, sought } = await fetchHttpSignatures(module("/words.wasm?v=1"), never);
    expect(files.map((file) => Buffer.from(file).toString())).to.deep.equal(["signature"]);
    expect(sought).to.include("/words.wasm.minisig").and.include("/words.wasm.sig");
    expect((await fetchHttpSignatures(module("/other.wasm"), never)).files).to.deep.equal([]);
    answer = (_request, response) => void response.writeHead(500).end();
    expect((await rejection(fetchHttpSignatures(module(), never))).code).to.equal("Unavailable");
    answer = (_request, response) => void response.end(Buffer.alloc(70_000));
    expect((await rejection(fetchHttpSignatures(module(), never))).code).to.equal("InvalidInput");
  });
});
