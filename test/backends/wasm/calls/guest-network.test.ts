import type { IncomingHttpHeaders } from "node:http";
import { Worker } from "node:worker_threads";
import { expect } from "chai";
import type { GuestHttpRequest, GuestHttpResponse } from "../../../../backends/wasm/abis/guest.ts";
import { AllowedHosts } from "../../../../backends/wasm/calls/allowed-hosts.ts";
import { GuestNetwork, type GuestNetworkOptions } from "../../../../backends/wasm/calls/guest-network.ts";
import { ModuleNetwork } from "../../../../backends/wasm/network/network.ts";
import { MillraceError } from "../../../../engine/errors.ts";
import { type HttpListener, type HttpTestServer, startHttpServer } from "../../../support/rpc/http-server.ts";
import { closedPort } from "../../../support/rpc/tcp-server.ts";
import { ca, dnsOf, type HttpsTestServer, startHttpsServer } from "../network/servers.ts";

/** What a guest gets: an answer or an error. */
interface Result {
  readonly response?: GuestHttpResponse;
  readonly code?: string;
  readonly message?: string;
}

interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

describe("the hosts that a guest may reach", () => {
  const cases: readonly (readonly [rule: string, reached: readonly string[], closed: readonly string[]])[] = [
    [
      "api.test",
      ["https://api.test/", "http://api.test/", "https://API.test./", "https://api.test:8443/"],
      ["https://sub.api.test/", "https://api.test.evil.test/", "https://evil-api.test/", "https://evil.test/api.test"],
    ],
    [
      "*.api.test",
      ["https://a.api.test/", "https://a.b.api.test/"],
      ["https://api.test/", "https://evilapi.test/", "https://a.api.test.evil.test/"],
    ],
    ["API.test:443", ["https://api.test/", "http://api.test:443/"], ["http://api.test/", "https://api.test:444/"]],
    ["*.api.test:80", ["http://a.api.test/"], ["https://a.api.test/", "http://api.test/"]],
    ["10.0.0.1", ["https://10.0.0.1/", "https://0xa.1/"], ["https://10.0.0.11/"]],
    ["[fd00::1]:8080", ["https://[fd00:0::1]:8080/"], ["https://[fd00::1]/"]],
    ["[fd00::1]", ["https://[fd00::1]/", "https://[fd00::1]:1/"], ["https://[fd00::2]/"]],
    ["", [], ["https://api.test/"]],
    ["*", [], ["https://api.test/"]],
    ["*.", [], ["https://api.test/", "https://api.test./"]],
  ];
  for (const [rule, reached, closed] of cases) {
    it(`are those of ${JSON.stringify(rule)}`, () => {
      const hosts = new AllowedHosts([rule]);
      for (const url of reached) expect(hosts.has(new URL(url)), url).to.equal(true);
      for (const url of closed) expect(hosts.has(new URL(url)), url).to.equal(false);
    });
  }

  it("are none where none are named, and those of each of several", () => {
    expect(new AllowedHosts([]).has(new URL("https://api.test/"))).to.equal(false);
    expect(new AllowedHosts(["other.test", "api.test"]).has(new URL("https://api.test/"))).to.equal(true);
  });
});

describe("the network of a guest in a worker", () => {
  let plain: HttpTestServer;
  let secure: HttpsTestServer;
  let network: ModuleNetwork;
  let worker: Worker;
  let seen: Seen[];
  let answer: HttpListener;

  before(async () => {
    const listener: HttpListener = async (request, response) => {
      const body = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>)).toString();
      seen.push({ method: request.method, url: request.url, headers: request.headers, body });
      await answer(request, response);
    };
    plain = await startHttpServer(listener);
    secure = await startHttpsServer(listener);
    worker = new Worker(new URL("guest-http-worker.ts", import.meta.url));
  });
  after(async () => {
    await worker.terminate();
    await plain[Symbol.asyncDispose]();
    await secure[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    seen = [];
    answer = (_request, response) => void response.end("hello");
    network = new ModuleNetwork({ allowAddresses: ["127.0.0.1"], plainHttp: "All", ca, lookup: dnsOf("127.0.0.1") });
  });
  afterEach(() => network[Symbol.asyncDispose]());

  function run(by: Worker, guest: GuestNetwork, requests: readonly GuestHttpRequest[]): Promise<readonly Result[]> {
    const link = guest.open();
    return new Promise((resolve, reject) => {
      by.once("message", resolve).once("exit", () => reject(new Error("the worker ended")));
      by.postMessage({ link, requests }, [link.port]);
    });
  }

  async function ask(
    requests: readonly Partial<GuestHttpRequest>[],
    more: Partial<GuestNetworkOptions> = {},
  ): Promise<readonly Result[]> {
    const signal = new AbortController().signal;
    using guest = new GuestNetwork({
      network,
      allowedHosts: ["api.test", "modules.test"],
      signal,
      maxBytes: 1000,
      ...more,
    });
    return await run(
      worker,
      guest,
      requests.map((request) => ({ method: "GET", url: at("/"), headers: {}, ...request })),
    );
  }

  const at = (path: string, host = "api.test") => `http://${host}:${plain.port}${path}`;
  const textOf = (result: Result | undefined) => Buffer.from(result?.response?.body ?? []).toString();

  it("answers one request after another, over http and https, with any status", async () => {
    answer = (request, response) => {
      response
        .writeHead(request.url === "/missing" ? 404 : 200, { "X-Mine": "yes" })
        .end(`you asked for ${request.url}`);
    };
    const results = await ask([
      { url: at("/a?b=c") },
      { url: `https://modules.test:${secure.port}/d` },
      { url: at("/missing") },
      { url: at("/body"), method: "post", headers: { "content-type": "text/plain" }, body: Buffer.from("content") },
    ]);
    expect(results.map(textOf)).to.deep.equal(
      ["/a?b=c", "/d", "/missing", "/body"].map((url) => `you asked for ${url}`),
    );
    expect(results.map(({ response }) => response?.status)).to.deep.equal([200, 200, 404, 200]);
    expect(results[0]?.response?.headers["x-mine"]).to.equal("yes");
    expect(seen[3]).to.include({ method: "POST", body: "content" });
    expect(seen[3]?.headers["content-type"]).to.equal("text/plain");
  });

  it("carries bodies both ways, large or a part of a larger memory, and leaves the guest its own", async () => {
    const large = Buffer.alloc(3_000_000, "large ");
    answer = (_request, response) => void response.end(seen[0]?.body.toUpperCase());
    const [result] = await ask([{ method: "PUT", body: large.subarray(6, 2_400_006) }], { maxBytes: 2_400_000 });
    expect(result?.response?.body.byteLength).to.equal(2_400_000);
    expect(textOf(result).startsWith("LARGE LARGE ")).to.equal(true);
  });

  it("answers hundreds of requests without missing a turn", async () => {
    answer = (request, response) => void response.end(request.url);
    const urls = Array.from({ length: 300 }, (_, index) => `/${index}`);
    expect((await ask(urls.map((url) => ({ url: at(url) })))).map(textOf)).to.deep.equal(urls);
  });

  it("reaches no host that is not allowed, and says which, and by what field it would be", async () => {
    const [result] = await ask([{ url: at("/", "evil.test") }]);
    expect(result?.code).to.equal("SandboxViolation");
    expect(result?.message).to.include(`evil.test:${plain.port}`).and.include("spec.wasm.capabilities.allowedHosts");
    const [none] = await ask([{}], { allowedHosts: [] });
    expect(none?.code).to.equal("SandboxViolation");
    expect(seen).to.deep.equal([]);
  });

  it("reaches no address inside by a host that is allowed", async () => {
    await using closed = new ModuleNetwork({ plainHttp: "All", ca, lookup: dnsOf("127.0.0.1") });
    const options = { network: closed, allowedHosts: ["api.test", "127.0.0.1", "localhost"] };
    const results = await ask([{}, { url: at("/", "127.0.0.1") }, { url: at("/", "localhost") }], options);
    expect(results.map(({ code }) => code)).to.deep.equal(Array(3).fill("SandboxViolation"));
    expect(results[0]?.message).to.include("127.0.0.1");
    expect(seen).to.deep.equal([]);
  });

  it("follows 5 redirects at most, each only to where the guest might have gone itself", async () => {
    answer = (request, response) => {
      const lead = {
        "/evil": at("/", "evil.test"),
        "/inside": "http://169.254.169.254/",
        "/loop": "/loop",
        "/ok": "/",
      };
      const location = lead[request.url as keyof typeof lead];
      if (location === undefined) response.end("here");
      else response.writeHead(302, { location }).end();
    };
    const allowedHosts = ["api.test", "169.254.169.254"];
    const urls = ["/ok", "/evil", "/inside", "/loop"].map((path) => ({ url: at(path) }));
    const results = await ask(urls, { allowedHosts });
    expect(textOf(results[0])).to.equal("here");
    expect(results.map(({ code }) => code)).to.deep.equal([
      undefined,
      "SandboxViolation",
      "SandboxViolation",
      "Unavailable",
    ]);
    expect(seen.filter(({ url }) => url === "/loop")).to.have.length(6);
  });

  it("takes no larger bodies than it may, whether they say so or not", async () => {
    answer = (request, response) => {
      if (request.url === "/chunked") response.write("x".repeat(600));
      response.end("x".repeat(request.url === "/fits" ? 1000 : 1001));
    };
    const urls = ["/fits", "/said", "/chunked"].map((path) => ({ url: at(path) }));
    const results = await ask([...urls, { method: "POST", body: new Uint8Array(1001) }]);
    expect(results.map(({ code }) => code)).to.deep.equal([undefined, ...Array<string>(3).fill("PayloadTooLarge")]);
    expect(results[1]?.message).to.include("1001 bytes").and.include("1000 bytes");
    expect(seen).to.have.length(3);
  });

  it("asks by HEAD how large something is that is larger than the guest could take", async () => {
    answer = (_request, response) => void response.setHeader("content-length", 5000).end();
    const [result] = await ask([{ method: "head" }]);
    expect(result?.code).to.equal(undefined);
    expect(result?.response?.headers["content-length"]).to.equal("5000");
    expect(textOf(result)).to.equal("");
    expect(seen[0]?.method).to.equal("HEAD");
  });

  it("writes itself what says to whom a request goes and how it is framed", async () => {
    const headers = {
      Host: "evil.test",
      "Content-Length": "3",
      Connection: "close",
      Upgrade: "x",
      "Proxy-Authorization": "y",
    };
    const [result] = await ask([
      { method: "POST", headers: { ...headers, "X-Mine": "z" }, body: Buffer.from("content") },
    ]);
    expect(textOf(result)).to.equal("hello");
    expect(seen[0]?.body).to.equal("content");
    expect(seen[0]?.headers).to.include({ host: `api.test:${plain.port}`, "content-length": "7", "x-mine": "z" });
    expect(seen[0]?.headers).not.to.have.any.keys("upgrade", "proxy-authorization");
  });

  it("refuses what HTTP cannot send", async () => {
    const results = await ask([
      { url: "no url" },
      { url: "ftp://api.test/" },
      { url: "http://user:word@api.test/" },
      { method: "GET / HTTP/1.1\r\nx: y\r\n\r\nGET" },
      { method: "CONNECT" },
      { method: "TRACE" },
      { method: "track" },
      { url: "file:///etc/passwd" },
      { method: "" },
      { headers: { "x y": "z" } },
      { headers: { x: "y\r\nhost: evil.test" } },
    ]);
    expect(results.map(({ code }) => code)).to.deep.equal(Array(11).fill("InvalidInput"));
    for (const index of [4, 5, 6]) expect(results[index]?.message).to.include("may not be sent");
    expect(results[7]?.message).to.include("file:///etc/passwd").and.not.include("null");
    const [large] = await ask([{ headers: { x: "y".repeat(40_000) } }]);
    expect(large?.code).to.equal("PayloadTooLarge");
    expect(seen).to.deep.equal([]);
  });

  it("tells the guest that nobody answers", async () => {
    const [result] = await ask([{ url: `http://api.test:${await closedPort()}/` }]);
    expect(result?.code).to.equal("Unavailable");
  });

  it("ends what it fetches when the attempt does, by the attempt's reason", async () => {
    const attempt = new AbortController();
    answer = () => attempt.abort(new MillraceError("DeadlineExceeded", "too late"));
    const results = await ask([{}, {}], { signal: attempt.signal });
    expect(results.map(({ code }) => code)).to.deep.equal(["DeadlineExceeded", "DeadlineExceeded"]);
    expect(seen).to.have.length(1);
  });

  it("lets the worker be ended while its guest waits, and lets go of the server then", async () => {
    await using silent = await startHttpServer(() => new Promise(() => {}));
    const spare = new Worker(new URL("guest-http-worker.ts", import.meta.url));
    const signal = new AbortController().signal;
    const guest = new GuestNetwork({ network, allowedHosts: ["api.test"], signal, maxBytes: 1000 });
    const url = `http://api.test:${silent.port}/`;
    const ended = run(spare, guest, [{ method: "GET", url, headers: {} }]).catch((thrown: unknown) => thrown);
    while (silent.open() === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await spare.terminate();
    expect(await ended).to.be.an("error");
    guest[Symbol.dispose]();
    while (silent.open() > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  });

  it("can be opened anew for a job that was not taken", async () => {
    const signal = new AbortController().signal;
    using guest = new GuestNetwork({ network, allowedHosts: ["api.test"], signal, maxBytes: 1000 });
    guest.open();
    const [result] = await run(worker, guest, [{ method: "GET", url: at("/"), headers: {} }]);
    expect(textOf(result)).to.equal("hello");
  });
});
