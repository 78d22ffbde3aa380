import type { IncomingHttpHeaders } from "node:http";
import { expect } from "chai";
import { ModuleNetwork, type NetworkRequest } from "../../../../backends/wasm/network/network.ts";
import { MillraceError } from "../../../../engine/errors.ts";
import { type HttpListener, startHttpServer } from "../../../support/rpc/http-server.ts";
import { rejection } from "../processors.ts";
import { ca, dnsOf, type HttpsTestServer, startHttpsServer } from "./servers.ts";

const secret: HttpListener = (_request, response) => {
  response.end("secret");
};

const never = new AbortController().signal;
const loopback = { allowAddresses: ["127.0.0.1"], ca, lookup: dnsOf("127.0.0.1") };

interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly host: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

describe("redirects of the network of modules", () => {
  let server: HttpsTestServer;
  let network: ModuleNetwork;
  let seen: Seen[];
  /** Where each path leads to. */
  let leads: Record<string, readonly [status: number, location: string]>;

  beforeEach(async () => {
    seen = [];
    leads = {};
    network = new ModuleNetwork(loopback);
    server = await startHttpsServer(async (request, response) => {
      const body = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>)).toString();
      const { method, url, headers } = request;
      seen.push({ method, url, host: headers.host?.replace(/:.*/, ""), headers, body });
      const [status, location] = leads[url ?? ""] ?? [200, undefined];
      response.writeHead(status, location === undefined ? {} : { location }).end("here");
    });
  });
  afterEach(async () => {
    await network[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  const at = (path: string, host = "modules.test") => `https://${host}:${server.port}${path}`;
  const get = async (path: string, more: Partial<NetworkRequest> = {}) => {
    const response = await network.request(at(path), { field: "url", signal: never, maxRedirects: 5, ...more });
    await response.discard();
    return response;
  };

  it("are answers like others where none are followed", async () => {
    leads = { "/a": [302, "/b"] };
    const response = await get("/a", { maxRedirects: 0 });
    expect(response.status).to.equal(302);
    expect(response.headers.location).to.equal("/b");
    expect(seen).to.have.length(1);
  });

  it("are followed, and the answer says where it came from", async () => {
    leads = { "/a": [301, "/b"], "/b": [302, at("/c?d=e", "other.test")], "/c?d=e": [307, "f"], "/f": [308, "/g"] };
    const response = await get("/a");
    expect(response.status).to.equal(200);
    expect(response.url.href).to.equal(at("/g", "other.test"));
    expect(seen.map(({ url }) => url)).to.deep.equal(["/a", "/b", "/c?d=e", "/f", "/g"]);
  });

  it("end after as many as may be, also in a circle", async () => {
    leads = { "/a": [302, "/b"], "/b": [302, "/a"] };
    const error = await rejection(get("/a"));
    expect(error.code).to.equal("Unavailable");
    expect(error.message).to.include("after 5 redirects");
    expect(seen).to.have.length(6);
  });

  it("do not lead inside, by address or by name", async () => {
    await using inside = await startHttpsServer(secret, { host: "127.0.0.2" });
    for (const location of [`https://127.0.0.2:${inside.port}/`, "https://169.254.169.254/", "https://[::1]/"]) {
      leads = { "/a": [302, location] };
      expect((await rejection(get("/a"))).code, location).to.equal("SandboxViolation");
    }
    expect(inside.connections()).to.equal(0);
  });

  it("do not lead from https to http, not even to a host that the administrator calls insecure", async () => {
    await using plain = await startHttpServer(secret);
    await using both = new ModuleNetwork({ ...loopback, allowInsecureRegistries: ["127.0.0.1"] });
    leads = { "/a": [302, `${plain.endpoint}/`] };
    const error = await rejection(both.request(at("/a"), { field: "url", signal: never, maxRedirects: 5 }));
    expect(error.code).to.equal("Unavailable");
    expect(plain.connections()).to.equal(0);
  });

  for (const location of ["https://user:hunter2@other.test/", "ftp://other.test/", "https://", "file:///etc/passwd"]) {
    it(`do not lead to ${location}`, async () => {
      leads = { "/a": [302, location] };
      const error = await rejection(get("/a"));
      expect(error.code).to.be.oneOf(["InvalidInput", "Unavailable"]);
      expect(error.message).not.to.include("hunter2").and.not.include("null");
      if (URL.parse(location)?.username === "") expect(error.message).to.include(location.replace(/\/$/, ""));
      expect(seen).to.have.length(1);
    });
  }

  it("take nothing to another host, or port, by which somebody could be known", async () => {
    await using other = await startHttpsServer((request, response) => {
      seen.push({ method: "GET", url: request.url, host: "port", headers: request.headers, body: "" });
      response.end();
    });
    const headers = { Authorization: "Bearer a", Cookie: "b", "X-Api-Key": "c", Accept: "d", "If-None-Match": "e" };
    for (const elsewhere of [at("/z", "other.test"), `https://modules.test:${other.port}/z`]) {
      leads = { "/a": [307, "/b"], "/b": [307, elsewhere] };
      seen = [];
      await get("/a", { headers });
      const [, same, last] = seen;
      expect(same?.headers).to.include({ authorization: "Bearer a", cookie: "b", "x-api-key": "c" });
      expect(last?.headers).to.include({ accept: "d", "if-none-match": "e" });
      expect(last?.headers).not.to.have.any.keys("authorization", "cookie", "x-api-key");
    }
  });

  it("ask each time whether the host may be reached, before it is", async () => {
    leads = { "/a": [302, at("/b", "other.test")] };
    const asked: string[] = [];
    const mayReach = (url: URL) => {
      asked.push(url.hostname);
      if (url.hostname === "other.test") throw new MillraceError("SandboxViolation", "not there");
    };
    const error = await rejection(get("/a", { mayReach }));
    expect(error.message).to.equal("not there");
    expect(asked).to.deep.equal(["modules.test", "other.test"]);
    expect(seen).to.have.length(1);
  });

  const methods: readonly (readonly [status: number, method: string, then: string, body: string])[] = [
    [301, "POST", "GET", ""],
    [302, "POST", "GET", ""],
    [303, "POST", "GET", ""],
    [303, "PUT", "GET", ""],
    [303, "HEAD", "HEAD", ""],
    [301, "HEAD", "HEAD", ""],
    [307, "POST", "POST", "content"],
    [308, "PUT", "PUT", "content"],
  ];
  for (const [status, method, then, body] of methods) {
    it(`turn ${method} into ${then} by ${status}`, async () => {
      leads = { "/a": [status, "/b"] };
      const sent = method === "HEAD" ? {} : { body: Buffer.from("content") };
      await get("/a", { method, headers: { "content-type": "text/plain" }, ...sent });
      expect(seen[1]).to.include({ method: then, body });
      expect(seen[1]?.headers["content-type"]).to.equal(then === "GET" ? undefined : "text/plain");
    });
  }

  it("are none without a place, as 304 and 300 are none", async () => {
    leads = { "/a": [304, "/b"], "/b": [300, "/c"] };
    expect((await get("/a")).status).to.equal(304);
    expect((await get("/b")).status).to.equal(300);
  });
});
