import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { expect } from "chai";
import { readBody } from "../../../../backends/wasm/network/body.ts";
import type { LookupAll } from "../../../../backends/wasm/network/connect.ts";
import { ModuleNetwork, type NetworkOptions, type NetworkRequest } from "../../../../backends/wasm/network/network.ts";
import { MillraceError } from "../../../../engine/errors.ts";
import { createAuthority } from "../../../cluster/certificates.ts";
import { type HttpListener, startHttpServer } from "../../../support/rpc/http-server.ts";
import { closedPort, startTcpServer } from "../../../support/rpc/tcp-server.ts";
import { rejection } from "../processors.ts";
import { ca, dnsOf, startHttpsServer } from "./servers.ts";

const never = new AbortController().signal;
const field = "spec.wasm.source.http";
const loopback = { allowAddresses: ["127.0.0.1"], ca, lookup: dnsOf("127.0.0.1") };

const tooLarge = (bytes: number) => new MillraceError("PayloadTooLarge", `${bytes} bytes`);

async function get(network: ModuleNetwork, url: string, more: Partial<NetworkRequest> = {}) {
  const response = await network.request(url, { field, signal: never, ...more });
  return { ...response, text: Buffer.from(await readBody(response, 1_000_000, tooLarge)).toString() };
}

async function once<T>(options: NetworkOptions, use: (network: ModuleNetwork) => Promise<T>): Promise<T> {
  await using network = new ModuleNetwork(options);
  return await use(network);
}

const hello: HttpListener = (_request, response) => {
  response.end("hello");
};

describe("the network of modules", () => {
  it("gets what is behind https, with an authority besides those that the platform trusts", async () => {
    await using server = await startHttpsServer((request, response) => {
      response.setHeader("X-Twice", ["a", "b"]);
      response.writeHead(203).end(`${request.method} ${request.url} ${request.headers["accept-encoding"]}`);
    });
    await using network = new ModuleNetwork(loopback);
    const answer = await get(network, `https://modules.test:${server.port}/a/b?c=d#e`);
    expect(answer.status).to.equal(203);
    expect(answer.text).to.equal("GET /a/b?c=d identity");
    expect(answer.headers["x-twice"]).to.equal("a, b");
    await get(network, `https://127.0.0.1:${server.port}/`);
  });

  it("sends methods, headers and bodies", async () => {
    await using server = await startHttpsServer(async (request, response) => {
      const body = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>));
      response.end(`${request.method} ${String(request.headers["x-mine"])} ${body.toString()}`);
    });
    const request = { method: "PUT", headers: { "X-Mine": "yes" }, body: Buffer.from("content") };
    const { text } = await once(loopback, (network) => get(network, `https://modules.test:${server.port}/`, request));
    expect(text).to.equal("PUT yes content");
  });

  it("does not trust an authority that nobody named, nor a certificate for another host", async () => {
    await using server = await startHttpsServer(hello);
    const { ca: _, ...strange } = loopback;
    const untrusted = await rejection(once(strange, (network) => get(network, `https://modules.test:${server.port}/`)));
    expect(untrusted.code).to.equal("Unavailable");
    expect(untrusted.message).to.include("--registry-ca-file");
    const other = await rejection(once(loopback, (network) => get(network, `https://evil.test:${server.port}/`)));
    expect(other.code).to.equal("Unavailable");
    expect(other.message).to.include("evil.test");
  });

  it("says of a port that speaks no TLS that it does not, in one line", async () => {
    await using server = await startHttpServer(hello);
    const error = await rejection(once(loopback, (network) => get(network, `https://modules.test:${server.port}/`)));
    expect(error.code).to.equal("Unavailable");
    expect(error.message).to.include("no TLS").and.include("http://").and.include("--insecure-registry");
    expect(error.message).not.to.match(/\n|openssl|SSL routines/);
  });

  it("trusts what the platform trusts, also besides an authority of its own", async () => {
    await using server = await startHttpsServer(hello);
    const before = getCACertificates("default");
    setDefaultCACertificates([...before, ca]);
    try {
      for (const own of [undefined, createAuthority("another").certificate]) {
        const { ca: _, ...options } = loopback;
        await using network = new ModuleNetwork(own === undefined ? options : { ...options, ca: own });
        expect((await get(network, `https://modules.test:${server.port}/`)).text).to.equal("hello");
      }
    } finally {
      setDefaultCACertificates(before);
    }
  });

  it("goes through no proxy of the environment", async () => {
    await using server = await startHttpsServer(hello);
    process.env.HTTPS_PROXY = process.env.https_proxy = `http://127.0.0.1:${await closedPort()}`;
    try {
      const { text } = await once(loopback, (network) => get(network, `https://modules.test:${server.port}/`));
      expect(text).to.equal("hello");
    } finally {
      delete process.env.HTTPS_PROXY;
      delete process.env.https_proxy;
    }
  });

  it("uses connections again, also after bodies that nobody read, and has 8 to a host at most", async () => {
    let now = 0;
    let most = 0;
    await using server = await startHttpsServer(async (_request, response) => {
      now += 1;
      most = Math.max(most, now);
      await new Promise((resolve) => setTimeout(resolve, 20));
      now -= 1;
      response.end("hello");
    });
    await using network = new ModuleNetwork(loopback);
    const url = `https://modules.test:${server.port}/`;
    for (let count = 0; count < 6; count += 1) await (await network.request(url, { field, signal: never })).discard();
    // A connection is free again some microtasks after its answer's end: a second one may have been made by then.
    expect(server.connections()).to.be.at.most(2);
    await Promise.all(Array.from({ length: 24 }, () => get(network, url)));
    expect(server.connections()).to.equal(8);
    expect(most).to.equal(8);
  });
});

describe("addresses that the network of modules does not reach", () => {
  for (const host of ["127.0.0.1", "0x7f.1", "2130706433", "0", "[::1]", "[::ffff:127.0.0.1]", "localhost"]) {
    it(`include that of ${host}`, async () => {
      await using server = await startHttpsServer(hello);
      const error = await rejection(
        once({ ca }, (network) => get(network, `https://${host}:${server.port}/module.wasm`)),
      );
      expect(error.code).to.equal("SandboxViolation");
      expect(error.message)
        .to.include(field)
        .and.include("--allow-addresses")
        .and.match(/loopback|unspecified/);
      expect(server.connections()).to.equal(0);
    });
  }

  it("include those that only a name leads to", async () => {
    for (const address of ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "fd00::1", "64:ff9b::a00:1"]) {
      const options = { lookup: dnsOf(address) };
      const error = await rejection(once(options, (network) => get(network, "https://modules.test/")));
      expect(error.code, address).to.equal("SandboxViolation");
      expect(error.message).to.include(address).and.include("modules.test");
    }
  });

  it("are left out where a name has others too", async () => {
    await using closed = await startHttpsServer(hello);
    await using server = await startHttpsServer(hello, { host: "127.0.0.2", port: closed.port });
    const options = { ca, allowAddresses: ["127.0.0.2"], lookup: dnsOf("::1", "127.0.0.1", "127.0.0.2") };
    const { text } = await once(options, (network) => get(network, `https://modules.test:${server.port}/`));
    expect(text).to.equal("hello");
    expect([closed.connections(), server.connections()]).to.deep.equal([0, 1]);
  });

  it("are not reached by a name that turns into another's address once it has been checked", async () => {
    await using inside = await startHttpsServer(hello);
    const listener: HttpListener = (_request, response) => {
      response.writeHead(200, { connection: "close" }).end("outside");
    };
    await using outside = await startHttpsServer(listener, { host: "127.0.0.2", port: inside.port });
    let lookups = 0;
    const rebinding: LookupAll = (_hostname, answer) => {
      lookups += 1;
      answer(null, [{ address: lookups === 1 ? "127.0.0.2" : "127.0.0.1", family: 4 }]);
    };
    await using network = new ModuleNetwork({ ca, allowAddresses: ["127.0.0.2"], lookup: rebinding });
    const url = `https://modules.test:${outside.port}/`;
    expect((await get(network, url)).text).to.equal("outside");
    expect(lookups).to.equal(1);
    expect((await rejection(get(network, url))).code).to.equal("SandboxViolation");
    expect(lookups).to.equal(2);
    expect(inside.connections()).to.equal(0);
  });

  it("are no wider than the administrator allows", async () => {
    await using server = await startHttpsServer(hello);
    const options = { ...loopback, allowAddresses: ["10.0.0.0/8", "127.0.0.2/31"] };
    const error = await rejection(once(options, (network) => get(network, `https://modules.test:${server.port}/`)));
    expect(error.code).to.equal("SandboxViolation");
    expect(() => new ModuleNetwork({ allowAddresses: ["10.0.0.0/64"] })).to.throw(MillraceError, "10.0.0.0/64");
  });
});

describe("URLs that the network of modules takes", () => {
  const cases: readonly (readonly [url: string, said: string])[] = [
    ["http://modules.test/module.wasm", "--insecure-registry"],
    ["ftp://modules.test/module.wasm", "https"],
    ["file:///etc/passwd", "https"],
    ["data:application/wasm,a", "https"],
    ["https://user:word@modules.test/", "password"],
    ["https://user@modules.test/", "user"],
    ["modules.test/module.wasm", "no URL"],
    ["https://", "no URL"],
    ["", "no URL"],
  ];
  for (const [url, said] of cases) {
    it(`are not ${JSON.stringify(url)}`, async () => {
      const error = await rejection(once(loopback, (network) => get(network, url)));
      expect(error.code).to.equal("InvalidInput");
      expect(error.message).to.include(said).and.include(field);
      expect(error.message).not.to.include("word@");
    });
  }

  it("are http ones, and https ones whose certificate nobody signed, of hosts that the administrator calls insecure", async () => {
    await using plain = await startHttpServer(hello);
    await using unverified = await startHttpsServer(hello);
    const allowInsecureRegistries = [`127.0.0.1:${plain.port}`, "registry.test"];
    await using network = new ModuleNetwork({ allowInsecureRegistries, lookup: dnsOf("127.0.0.1") });
    expect((await get(network, `${plain.endpoint}/`)).text).to.equal("hello");
    expect((await get(network, `http://Registry.test:${plain.port}/`)).text).to.equal("hello");
    expect((await get(network, `https://registry.test:${unverified.port}/`)).text).to.equal("hello");
    const other = await rejection(get(network, `https://127.0.0.1:${unverified.port}/`));
    expect(other.code).to.equal("SandboxViolation");
    expect((await rejection(get(network, `http://127.0.0.1:${unverified.port}/`))).code).to.equal("InvalidInput");
    expect((await rejection(get(network, `http://sub.registry.test:${plain.port}/`))).code).to.equal("InvalidInput");
  });

  it("come from hosts that are written as hosts", () => {
    for (const host of ["", "http://a", "a/b", "a:0", "a:70000", "a:b", "user@a", "[::1", "a b"]) {
      expect(() => new ModuleNetwork({ allowInsecureRegistries: [host] }), host).to.throw(
        MillraceError,
        JSON.stringify(host),
      );
    }
    for (const host of ["a", "a:1", "[::1]:5000", "10.0.0.1:5000"])
      new ModuleNetwork({ allowInsecureRegistries: [host] });
  });
});

describe("servers that fail the network of modules", () => {
  it("are unavailable when there is none, and when it does not speak TLS or HTTP", async () => {
    await using network = new ModuleNetwork({ ...loopback, allowInsecureRegistries: ["insecure.test"] });
    const nobody = await rejection(get(network, `https://modules.test:${await closedPort()}/`));
    expect(nobody.code).to.equal("Unavailable");
    expect(nobody.message).to.include("ECONNREFUSED");
    await using plain = await startHttpServer(hello);
    expect((await rejection(get(network, `https://modules.test:${plain.port}/`))).code).to.equal("Unavailable");
    await using babble = await startTcpServer((socket) => socket.end("hello, who is there?\r\n\r\n"));
    expect((await rejection(get(network, `http://insecure.test:${babble.port}/`))).code).to.equal("Unavailable");
  });

  it("are unavailable when their name is none", async () => {
    const lookup: LookupAll = (_hostname, answer) =>
      answer(Object.assign(new Error("ENOTFOUND"), { code: "ENOTFOUND" }), []);
    const error = await rejection(once({ lookup }, (network) => get(network, "https://modules.test/")));
    expect(error.code).to.equal("Unavailable");
    const nothing = await rejection(once({ lookup: dnsOf() }, (network) => get(network, "https://modules.test/")));
    expect(nothing.message).to.include("no address");
  });

  it("are unavailable when they never answer, or fall silent", async () => {
    await using server = await startHttpsServer((request, response) => {
      if (request.url === "/silent") response.write("hel");
    });
    await using network = new ModuleNetwork({ ...loopback, idleTimeoutMs: 100 });
    for (const path of ["/never", "/silent"]) {
      const error = await rejection(get(network, `https://modules.test:${server.port}${path}`));
      expect(error.code).to.equal("Unavailable");
      expect(error.message).to.include("in time");
    }
  });

  it("are unavailable when they die in the middle of an answer, or send less than they said", async () => {
    await using server = await startHttpsServer((request, response) => {
      response.setHeader("content-length", "100");
      response.write("hello", () => (request.url === "/short" ? request.socket.end() : request.socket.destroy()));
    });
    await using network = new ModuleNetwork(loopback);
    for (const path of ["/die", "/short"]) {
      const error = await rejection(get(network, `https://modules.test:${server.port}${path}`));
      expect(error.code).to.equal("Unavailable");
    }
  });

  it("are let go of when the caller is no longer interested", async () => {
    await using server = await startHttpsServer((request, response) => {
      if (request.url === "/silent") response.write("hel");
    });
    await using network = new ModuleNetwork(loopback);
    for (const path of ["/never", "/silent"]) {
      const controller = new AbortController();
      const got = rejection(get(network, `https://modules.test:${server.port}${path}`, { signal: controller.signal }));
      setTimeout(() => controller.abort(new MillraceError("Cancelled", "gone")), 50);
      expect((await got).code).to.equal("Cancelled");
    }
    const gone = AbortSignal.abort(new MillraceError("Cancelled", "gone"));
    expect((await rejection(get(network, "https://modules.test/", { signal: gone }))).code).to.equal("Cancelled");
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server.open()).to.equal(0);
  });
});

describe("a body", () => {
  it("that is too large is refused when it is announced, and when it has come, and not read on", async () => {
    let sent = 0;
    await using server = await startHttpsServer(async (request, response) => {
      if (request.url === "/announced") response.setHeader("content-length", String(2 ** 40));
      response.on("error", () => undefined);
      while (!response.destroyed && sent < 2 ** 26) {
        sent += 2 ** 16;
        if (!response.write(Buffer.alloc(2 ** 16))) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    });
    await using network = new ModuleNetwork(loopback);
    const url = `https://modules.test:${server.port}`;
    const announced = await rejection(get(network, `${url}/announced`));
    expect(announced.message).to.equal(`${2 ** 40} bytes`);
    expect((await rejection(get(network, `${url}/endless`))).code).to.equal("PayloadTooLarge");
    expect(sent).to.be.lessThan(2 ** 26);
  });

  it("is put together of its parts, however small they are", async () => {
    await using server = await startHttpsServer(async (_request, response) => {
      for (let index = 0; index < 40_000; index += 1) response.write(Buffer.from([index % 251]));
      response.end();
    });
    await using network = new ModuleNetwork(loopback);
    const response = await network.request(`https://modules.test:${server.port}/`, { field, signal: never });
    const bytes = await readBody(response, 40_000, tooLarge);
    expect(bytes.every((byte, index) => byte === index % 251)).to.equal(true);
    expect([bytes.byteLength, bytes.buffer.byteLength]).to.deep.equal([40_000, 40_000]);
  });
});
