import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { parseReference } from "../../../../backends/wasm/sources/oci/reference.ts";
import type { OciRegistryOptions } from "../../../../backends/wasm/sources/oci/registry.ts";
import type { ErrorCode, MillraceError } from "../../../../engine/errors.ts";
import { type Fault, type FaultyProxy, headersOf, startFaultyProxy } from "../../../support/faulty-proxy.ts";
import { registryUser, sha256, useRegistry } from "../../../support/registry.ts";
import { startHttpServer } from "../../../support/rpc/http-server.ts";
import { clientOf, credential, never, now, rejection } from "./support.ts";

/** Enough for several packets. */
const content = Uint8Array.from({ length: 200_000 }, (_, index) => index % 251);
const password = Buffer.from(`${registryUser.username}:${registryUser.password}`).toString("base64");

const ofBlobs =
  (fault: Fault): Fault =>
  (request, response, answer) =>
    request.url?.includes("/blobs/") === true && answer.status === 200 && fault(request, response, answer);
const ofManifests =
  (fault: Fault): Fault =>
  (request, response, answer) =>
    request.url?.includes("/manifests/") === true && answer.status === 200 && fault(request, response, answer);

/** Answers in the place of what was asked for, with headers and a body of its own. */
const answers =
  (status: number, headers: Readonly<Record<string, string>>, body = ""): Fault =>
  (_request, response) => {
    response.writeHead(status, headers).end(body);
    return true;
  };

const failure = (code: string, message = "") => JSON.stringify({ errors: [{ code, message }] });

/** Sends part of the answer, and says the length of all of it where it is told to. */
const sends =
  (body: (all: Buffer) => Uint8Array, length: "Whole" | "Own" | "None"): Fault =>
  (_request, response, answer) => {
    const sent = body(answer.body);
    const { "content-length": _whole, ...headers } = headersOf(answer);
    const said = { Whole: answer.body.byteLength, Own: sent.byteLength, None: undefined }[length];
    response.writeHead(200, said === undefined ? headers : { ...headers, "content-length": String(said) });
    response.write(sent, () => (length === "Whole" ? response.socket?.destroy() : response.end()));
    return true;
  };

async function drip(response: ServerResponse, body: Uint8Array, everyMs: number): Promise<void> {
  for (let at = 0; at < body.byteLength && !response.destroyed; at += 1) {
    response.write(body.subarray(at, at + 1));
    await delay(everyMs);
  }
}

describe("an OCI registry behind what lies, breaks and dawdles", () => {
  const suite = useRegistry(() => ({ auth: { kind: "Basic" } }));
  const made: { proxy?: FaultyProxy; digest?: string } = {};
  const proxy = (): FaultyProxy => made.proxy ?? expect.fail("the proxy is not there");

  before(async () => {
    made.proxy = await startFaultyProxy(suite.registry.url);
    made.digest = (await suite.registry.pushWasm("words", "1", content)).digest;
  });
  afterEach(() => {
    if (made.proxy !== undefined) made.proxy.fault = undefined;
  });
  after(() => made.proxy?.[Symbol.asyncDispose]());

  async function fetchThrough(
    fault: Fault | undefined,
    options: Partial<OciRegistryOptions> & {
      readonly idleTimeoutMs?: number;
      readonly insecure?: readonly string[];
    } = {},
    tag = "words:1",
  ): Promise<Uint8Array> {
    const { insecure = [], ...rest } = options;
    await using own = clientOf([proxy().host, ...insecure], rest);
    proxy().fault = fault;
    const resolved = await own.client.resolve(parseReference(`${proxy().host}/${tag}`), credential, never);
    return await own.client.pull(resolved, credential, never);
  }
  const failing = (...args: Parameters<typeof fetchThrough>): Promise<MillraceError> =>
    rejection(fetchThrough(...args));

  /** Each time the next attempt finds everything in order. */
  async function expectFailure(code: ErrorCode, says: string | RegExp, ...args: Parameters<typeof fetchThrough>) {
    const error = await failing(...args);
    expect(error.message).to.match(says instanceof RegExp ? says : new RegExp(says));
    expect(error.code).to.equal(code);
    expect(error.message).to.match(/^spec\.wasm\.source\.oci: /);
    expect(Buffer.from(await fetchThrough(undefined)).equals(content)).to.equal(true);
    return error;
  }

  it("gives what it should where nothing is wrong", async () => {
    expect(Buffer.from(await fetchThrough(undefined)).equals(content)).to.equal(true);
  });

  it("is not waited for when it sends a byte now and then", async () => {
    const slowly: Fault = async (_request, response, answer) => {
      response.writeHead(200, headersOf(answer));
      await drip(response, answer.body, 20);
      return true;
    };
    await expectFailure("Unavailable", "too slowly", ofBlobs(slowly), {
      layerPace: { graceMs: 300, bytesPerSecond: 1_000 },
    });
    await expectFailure("Unavailable", "within 300 ms", ofManifests(slowly), { manifestTimeoutMs: 300 });
  });

  it("is not waited for when it falls silent", async () => {
    const silently: Fault = (_request, response, answer) => {
      response.writeHead(200, headersOf(answer)).write(answer.body.subarray(0, 1000));
      return true;
    };
    await expectFailure("Unavailable", "fell silent", ofBlobs(silently), { idleTimeoutMs: 200 });
  });

  it("ends with who waits for it", async () => {
    const stopped = new Error("stopped");
    const controller = new AbortController();
    await using own = clientOf([proxy().host]);
    proxy().fault = ofBlobs((_request, response, answer) => {
      response.writeHead(200, headersOf(answer)).write(answer.body.subarray(0, 1000), () => controller.abort(stopped));
      return true;
    });
    const resolved = await own.client.resolve(parseReference(`${proxy().host}/words:1`), credential, never);
    const thrown = await own.client.pull(resolved, credential, controller.signal).catch((error: unknown) => error);
    expect(thrown).to.equal(stopped);
  });

  it("is not believed with other bytes than the digest says", async () => {
    const flipped = (all: Buffer) => Uint8Array.from(all, (byte, index) => (index === 777 ? byte ^ 1 : byte));
    await expectFailure("Unavailable", sha256(content), ofBlobs(sends(flipped, "Own")));
  });

  for (const [name, body, length] of [
    ["fewer bytes, and says so", (all: Buffer) => all.subarray(1), "Own"],
    ["fewer bytes, of no said length", (all: Buffer) => all.subarray(0, -1), "None"],
    ["none", () => new Uint8Array(), "Own"],
    ["more bytes, and says so", (all: Buffer) => Buffer.concat([all, all]), "Own"],
    ["more bytes, of no said length", (all: Buffer) => Buffer.concat([all, Buffer.from([0])]), "None"],
  ] as const) {
    it(`is not believed when it sends ${name}`, async () => {
      await expectFailure(
        "Unavailable",
        `of the ${content.byteLength} bytes|than the ${content.byteLength} bytes`,
        ofBlobs(sends(body, length)),
      );
    });
  }

  it("may die in the middle of a layer, or of a manifest", async () => {
    const half = (all: Buffer) => all.subarray(0, all.byteLength / 2);
    const error = await expectFailure("Unavailable", "", ofBlobs(sends(half, "Whole")));
    expect(error.cause).to.be.instanceOf(Error);
    await expectFailure("Unavailable", "", ofManifests(sends(half, "Whole")));
  });

  it("cannot send a manifest without end", async () => {
    let sent = 0;
    let closed = false;
    const endlessly: Fault = (_request, response) => {
      response.writeHead(200, { "content-type": "application/vnd.oci.image.manifest.v1+json" });
      response.on("close", () => {
        closed = true;
      });
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536, " "))) sent += 65_536;
        sent += 65_536;
      };
      response.on("drain", more);
      more();
      return true;
    };
    await expectFailure("PayloadTooLarge", "4194304", ofManifests(endlessly));
    for (let waited = 0; !closed && waited < 2000; waited += 10) await delay(10);
    expect(closed, "the connection is closed").to.equal(true);
    expect(sent).to.be.lessThan(64 * 1024 * 1024);
  });

  it("cannot have a manifest that announces too much", async () => {
    const huge: Fault = (_request, response) => {
      response.writeHead(200, { "content-length": String(2 ** 40) }).write("{");
      return true;
    };
    await expectFailure("PayloadTooLarge", String(2 ** 40), ofManifests(huge));
  });

  for (const [name, body, says] of [
    ["no JSON", "<html>", "no JSON"],
    ["no object", "null", "no JSON object"],
    ["nothing that its media type has", "{}", "without the list"],
    ["a descriptor without a digest", '{"layers":[{"mediaType":"application/wasm","size":1}]}', "descriptor"],
    [
      "a descriptor of a negative size",
      `{"layers":[{"mediaType":"application/wasm","size":-1,"digest":"${sha256(content)}"}]}`,
      "descriptor",
    ],
    [
      "a path for a digest",
      '{"layers":[{"mediaType":"application/wasm","size":1,"digest":"sha256:../../x"}]}',
      "descriptor",
    ],
  ] as const) {
    it(`is not believed with a manifest that is ${name}`, async () => {
      const headers = { "content-type": "application/vnd.oci.image.manifest.v1+json" };
      await expectFailure("Unavailable", says, ofManifests(answers(200, headers, body)));
    });
  }

  it("is refused a manifest of version 1, and one that is image and index at once", async () => {
    const old = { "content-type": "application/vnd.docker.distribution.manifest.v1+prettyjws" };
    await expectFailure("InvalidInput", "v1\\+prettyjws", ofManifests(answers(200, old, "{}")));
    const oci = { "content-type": "application/vnd.oci.image.manifest.v1+json" };
    await expectFailure("InvalidInput", "both", ofManifests(answers(200, oci, '{"layers":[],"manifests":[]}')));
  });

  it("is not believed when a manifest is not the one of its digest", async () => {
    const other: Fault = (_request, response, answer) => {
      response
        .writeHead(200, { "content-type": String(answer.headers["content-type"]) })
        .end(Buffer.concat([answer.body, Buffer.from(" ")]));
      return true;
    };
    await expectFailure("Unavailable", made.digest ?? "?", ofManifests(other), {}, `words@${made.digest}`);
    const headed: Fault = (_request, response, answer) => {
      const { "content-length": _length, ...headers } = headersOf(answer);
      response.writeHead(200, headers).end(Buffer.concat([answer.body, Buffer.from(" ")]));
      return true;
    };
    await expectFailure("Unavailable", made.digest ?? "?", ofManifests(headed));
  });

  it("need not say a manifest's digest", async () => {
    await using client = clientOf([proxy().host]);
    proxy().fault = ofManifests((_request, response, answer) => {
      const { "docker-content-digest": _digest, ...headers } = headersOf(answer);
      response.writeHead(200, headers).end(answer.body);
      return true;
    });
    const reference = parseReference(`${proxy().host}/words:1`);
    expect(await client.client.resolveDigest(reference, credential, never)).to.equal(made.digest);
  });

  describe("that sends readers on", () => {
    interface Store extends AsyncDisposable {
      readonly host: string;
      readonly seen: IncomingMessage["headers"][];
    }
    async function startStore(status = 200, headers: Readonly<Record<string, string>> = {}): Promise<Store> {
      const seen: IncomingMessage["headers"][] = [];
      const server = await startHttpServer((request, response) => {
        seen.push(request.headers);
        response.writeHead(status, headers).end(content);
      });
      return { host: new URL(server.endpoint).host, seen, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
    }
    const to = (location: string) => ofBlobs(answers(307, { location }));

    it("is followed to a store, which is not told who asks", async () => {
      await using store = await startStore();
      const bytes = await fetchThrough(to(`http://${store.host}/blob?signature=1`), { insecure: [store.host] });
      expect(Buffer.from(bytes).equals(content)).to.equal(true);
      expect(store.seen).to.have.length(1);
      expect(store.seen[0]).not.to.have.property("authorization");
    });

    it("is not followed over plain http, or to an address inside, without leave", async () => {
      await using store = await startStore();
      await expectFailure("InvalidInput", "--insecure-registry", to(`http://${store.host}/blob`));
      await expectFailure("SandboxViolation", "127.0.0.1", to(`https://${store.host}/blob`));
      await expectFailure("SandboxViolation", "169.254.169.254", to("https://169.254.169.254/latest/meta-data"));
      expect(store.seen).to.have.length(0);
    });

    it("is not followed for ever", async () => {
      const round: Fault = (request, response) => {
        response.writeHead(307, { location: request.url ?? "" }).end();
        return true;
      };
      await expectFailure("Unavailable", "after 5 redirects", ofBlobs(round));
    });

    it("does not get the store told the password that this asks for", async () => {
      await using store = await startStore(401, { "www-authenticate": 'Basic realm="store"' });
      const error = await failing(to(`http://${store.host}/blob`), { insecure: [store.host] });
      expect(error.code).to.equal("InvalidInput");
      expect(store.seen.map(({ authorization }) => authorization)).to.deep.equal([undefined]);
    });
  });

  describe("that asks who one is", () => {
    const challenge = (value: string): Fault => answers(401, { "www-authenticate": value }, failure("UNAUTHORIZED"));

    it("has a foreign server told only where that may be reached", async () => {
      let asked = 0;
      await using foreign = await startHttpServer((_request, response) => {
        asked += 1;
        response.end('{"token":"t"}');
      });
      const { host } = new URL(foreign.endpoint);
      const plain = await expectFailure("InvalidInput", "plain http", challenge(`Bearer realm="http://${host}/token"`));
      expect(plain.message).to.match(
        /^spec\.wasm\.source\.oci: .* has its tokens made out by the authorization server http:/,
      );
      await expectFailure("SandboxViolation", "127.0.0.1", challenge(`Bearer realm="https://${host}/token"`));
      expect(foreign.connections()).to.equal(0);
      // Even a token that the registry then does not take is asked for once.
      await expectFailure("InvalidInput", "pullSecretRef", challenge(`Bearer realm="http://${host}/token"`), {
        insecure: [host],
      });
      expect(asked).to.equal(1);
    });

    it("cannot have a token made out for another repository", async () => {
      const scopes: (string | null)[] = [];
      await using server = await startHttpServer((request, response) => {
        scopes.push(new URL(request.url ?? "", "http://x").searchParams.get("scope"));
        response.end('{"access_token":"t"}');
      });
      const asks = challenge(`Bearer realm="${server.endpoint}/token",scope="repository:payroll:pull,push aws"`);
      await failing(asks, { insecure: [new URL(server.endpoint).host] });
      expect(scopes).to.deep.equal(["repository:words:pull aws"]);
    });

    for (const [name, status, body] of [
      ["no token", 200, "{}"],
      ["no JSON", 200, "secret"],
      ["what no header takes", 200, '{"token":"a\\r\\nx: y"}'],
      ["far too much", 200, `{"token":"${"t".repeat(300_000)}"}`],
      ["a redirect", 302, ""],
      ["an error", 503, ""],
    ] as const) {
      it(`fails for now when its authorization server gives ${name}`, async () => {
        await using server = await startHttpServer((_request, response) => {
          response.writeHead(status, { location: `${proxy().host}/elsewhere` }).end(body);
        });
        const insecure = [new URL(server.endpoint).host];
        const error = await expectFailure("Unavailable", "", challenge(`Bearer realm="${server.endpoint}/"`), {
          insecure,
        });
        expect(error.message).not.to.include("secret");
      });
    }

    it("is told anew where it has forgotten", async () => {
      await using own = clientOf([proxy().host]);
      const resolve = () => own.client.resolve(parseReference(`${proxy().host}/words:1`), credential, never);
      await resolve();
      const before = proxy().requests.length;
      let refusals = 0;
      proxy().fault = (request, response, answer) =>
        refusals++ === 0 && challenge('Basic realm="again"')(request, response, answer);
      expect((await resolve()).manifestDigest).to.equal(made.digest);
      expect(proxy().requests.length - before).to.equal(2);
    });

    it("is given no password where it asks in a way that nobody knows, or in none", async () => {
      for (const asks of ["Negotiate", 'Digest realm="x"', "", "Bearer"]) {
        const error = await failing(challenge(asks));
        expect(error.code, asks).to.equal(asks === "Bearer" ? "Unavailable" : "InvalidInput");
      }
    });
  });

  describe("that answers with an error", () => {
    for (const [status, code, expected, says] of [
      [404, "MANIFEST_UNKNOWN", "NotFound", "words:1"],
      [404, "NAME_UNKNOWN", "NotFound", "words:1"],
      [403, "DENIED", "InvalidInput", "pullSecretRef"],
      [429, "TOOMANYREQUESTS", "Unavailable", "429"],
      [400, "UNSUPPORTED", "Unavailable", "400"],
      [500, "UNKNOWN", "Unavailable", "500"],
    ] as const) {
      it(`${status} ${code} is told as ${expected}, with the code`, async () => {
        const error = await expectFailure(expected, says, ofManifests(answers(status, {}, failure(code))));
        expect(error.message).to.include(`HTTP ${status} ${code}`);
      });
    }

    it("has its codes shown, and none of the text, which may repeat the password", async () => {
      const body = JSON.stringify({ errors: [{ code: password, message: password }, null, { code: "DENIED" }] });
      const error = await expectFailure(
        "InvalidInput",
        "DENIED",
        ofManifests(answers(403, { "x-echo": password }, body)),
      );
      expect(`${error.message} ${String(error.cause)}`).not.to.include(password);
      await expectFailure("Unavailable", "HTTP 502,", ofManifests(answers(502, {}, "<html>Bad Gateway</html>")));
    });

    it("says when it wants to be asked again, in seconds or as a date", async () => {
      const asking = (value: string) => ofBlobs(answers(429, { "retry-after": value }, failure("TOOMANYREQUESTS")));
      expect((await expectFailure("Unavailable", "429", asking("7"))).retryAfterMs).to.equal(7000);
      expect((await failing(asking(new Date(now + 90_000).toUTCString()))).retryAfterMs).to.equal(90_000);
      expect((await failing(asking("soon"))).retryAfterMs).to.equal(undefined);
      const busy = await failing(ofManifests(answers(503, { "retry-after": "7" }, "")));
      expect(busy).to.include({ code: "Unavailable", retryAfterMs: 7000 });
    });
  });
});

describe("an OCI registry that is not there", () => {
  it("is told as unavailable, with its address", async () => {
    const server = await startHttpServer(() => undefined);
    const { host } = new URL(server.endpoint);
    await server[Symbol.asyncDispose]();
    await using own = clientOf([host]);
    const error = await rejection(own.client.resolve(parseReference(`${host}/words`), undefined, never));
    expect(error.code).to.equal("Unavailable");
    expect(error.message).to.include(host);
  });

  it("is not looked for at an address inside", async () => {
    await using own = clientOf([]);
    const error = await rejection(own.client.resolve(parseReference("127.0.0.1:5000/words"), undefined, never));
    expect(error.code).to.equal("SandboxViolation");
  });
});
