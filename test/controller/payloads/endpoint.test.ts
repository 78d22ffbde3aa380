import { createHash, randomBytes } from "node:crypto";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { EventEmitter } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { ApiError } from "../../../controller/api/client.ts";
import { servePayloads } from "../../../controller/payloads/endpoint.ts";
import { NamespaceUids } from "../../../controller/payloads/namespaces.ts";
import { RemotePayloads } from "../../../controller/payloads/remote.ts";
import { systemPorts } from "../../../engine/clock.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { BytesPayload, textPayload } from "../../../engine/payload.ts";
import { silentLogger, VirtualTime } from "../runtime/fakes.ts";
import { opened, Reviews } from "./served.ts";
import { namespaceUid, never, temporaryStore } from "./store-folder.ts";

const text = textPayload("for readers");
const path = `/v1/namespaces/team/payloads/${text.digest}`;

async function statusOf(response: Response): Promise<{ code: number; reason: string; message: string; kind: string }> {
  return (await response.json()) as never;
}

describe("the payload endpoint", () => {
  it("gives a payload, with its type and size, to whoever the cluster lets read it", async () => {
    await using at = await opened(new Reviews());
    await at.folder.store.put(namespaceUid, text, never);
    const response = await at.get(`${path}?contentType=text%2Fplain`, "reader");
    expect(response.status).to.equal(200);
    expect(response.headers.get("content-type")).to.equal("text/plain");
    expect(response.headers.get("content-length")).to.equal("11");
    expect(await response.text()).to.equal("for readers");
    const head = await at.get(path, "reader", "HEAD");
    expect([head.status, head.headers.get("content-length"), await head.text()]).to.deep.equal([200, "11", ""]);
    expect(head.headers.get("content-type")).to.equal("application/octet-stream");
  });

  it("refuses as the API server would: 401 without a known token, 403 without the right, 404 for what is not there", async () => {
    await using at = await opened(new Reviews());
    await at.folder.store.put(namespaceUid, text, never);
    const codes = async (...args: Parameters<typeof at.get>) => {
      const status = await statusOf(await at.get(...args));
      expect(status.kind).to.equal("Status");
      return [status.code, status.reason];
    };
    expect(await codes(path)).to.deep.equal([401, "Unauthorized"]);
    expect(await codes(path, "nobody")).to.deep.equal([401, "Unauthorized"]);
    expect(await codes(path, "stranger")).to.deep.equal([403, "Forbidden"]);
    expect(await codes(path.replace("team", "other"), "reader")).to.deep.equal([403, "Forbidden"]);
    expect(await codes(path.replace(/.{4}$/, "0000"), "reader")).to.deep.equal([404, "NotFound"]);
    expect(await codes("/v1/namespaces/team/payloads/sha256:..%2F..%2Fetc", "reader")).to.deep.equal([404, "NotFound"]);
    expect(await codes("/", "reader")).to.deep.equal([404, "NotFound"]);
    expect(await codes("//", "reader")).to.deep.equal([400, "BadRequest"]);
    expect(await codes(path, "reader", "DELETE")).to.deep.equal([405, "MethodNotAllowed"]);
    expect(await codes(`${path}?contentType=text%2Fhtml%0d%0ax:y`, "reader")).to.deep.equal([400, "BadRequest"]);
  });

  it("takes a token that is good for payloads alone, and one that is good for the API server, but none for others", async () => {
    const reviews = new Reviews();
    await using at = await opened(reviews);
    await at.folder.store.put(namespaceUid, text, never);
    const jwt = (...aud: string[]) => `e30.${Buffer.from(JSON.stringify({ aud })).toString("base64url")}.signature`;
    const codes = async (...aud: string[]) => (await at.get(path, jwt(...aud))).status;
    expect(await codes("millrace")).to.equal(200);
    expect(await codes("the API server")).to.equal(200);
    expect(await codes("somebody else")).to.equal(401);
    reviews.knowsAudiences = false;
    expect(await codes("millrace", "of a server that knows nothing of audiences")).to.equal(401);
  });

  it("tells nobody without the right whether a payload exists", async () => {
    await using at = await opened(new Reviews());
    await at.folder.store.put(namespaceUid, text, never);
    const known = await statusOf(await at.get(path, "stranger"));
    const unknown = await statusOf(await at.get(path.replace(/.{4}$/, "0000"), "stranger"));
    expect(known).to.deep.equal(unknown);
  });

  it("asks again after ten seconds, and after one where the answer was no", async () => {
    const time = new VirtualTime();
    const reviews = new Reviews();
    await using at = await opened(reviews, time.ports);
    await at.folder.store.put(namespaceUid, text, never);
    for (let count = 0; count < 3; count++) expect((await at.get(path, "reader")).status).to.equal(200);
    expect(reviews.asked).to.equal(2);
    reviews.allowed = false;
    await time.advance(10_001);
    expect((await at.get(path, "reader")).status).to.equal(403);
    reviews.allowed = true;
    const asked = reviews.asked;
    for (let count = 0; count < 3; count++) expect((await at.get(path, "reader")).status).to.equal(403);
    for (let count = 0; count < 3; count++) expect((await at.get(path, "nobody")).status).to.equal(401);
    expect(reviews.asked).to.equal(asked + 1);
    await time.advance(1_001);
    expect((await at.get(path, "reader")).status).to.equal(200);
  });

  it("asks the API server about few tokens at a time, and once about one", async () => {
    const reviews = new Reviews();
    const create = reviews.client.create.bind(reviews.client);
    const [gate, full] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    (reviews.client as { create: unknown }).create = async (...args: Parameters<typeof create>) => {
      const answer = create(...args);
      if (reviews.asked === 8) full.resolve();
      await gate.promise;
      return await answer;
    };
    await using at = await opened(reviews);
    const first = Array.from({ length: 8 }, (_, index) => at.get(path, `unknown-${index}`));
    await full.promise;
    const busy = await at.get(path, "reader");
    expect([busy.status, busy.headers.get("retry-after")]).to.deep.equal([429, "1"]);
    const again = at.get(path, "unknown-0");
    gate.resolve();
    for (const response of await Promise.all([...first, again])) expect(response.status).to.equal(401);
    expect(reviews.asked).to.equal(8);
    expect((await at.get(path, "reader")).status).to.equal(404);
  });

  it("says PayloadLost for a small corrupt payload, and breaks off a large one", async () => {
    await using at = await opened(new Reviews());
    const large = new BytesPayload(randomBytes(500_000), "a/b");
    for (const payload of [text, large]) {
      const { digest, size } = await at.folder.store
        .put(namespaceUid, payload, never)
        .then((ref) => ({ ...ref, size: ref.bytes }));
      const hex = digest.slice("sha256:".length);
      await writeFile(join(at.folder.root, namespaceUid, hex.slice(0, 2), hex), Buffer.alloc(size, 1));
    }
    const refused = await at.get(path, "reader");
    expect([refused.status, (await statusOf(refused)).reason]).to.deep.equal([503, "PayloadLost"]);
    const broken = await at.get(`/v1/namespaces/team/payloads/${large.digest}`, "reader");
    let failed = false;
    await broken.arrayBuffer().catch(() => {
      failed = true;
    });
    expect(failed).to.equal(true);
  });

  it("answers 503 when the API server cannot be asked", async () => {
    const reviews = new Reviews();
    const status = { code: 0, reason: "Unreachable", message: "connection refused" };
    (reviews.client as { create: unknown }).create = () => Promise.reject(new ApiError(status));
    await using at = await opened(reviews);
    expect((await at.get(path, "reader")).status).to.equal(503);
  });

  it("outlives connections that it cannot accept", async () => {
    const servers: EventEmitter[] = [];
    const onListening = (message: unknown) => servers.push((message as { readonly server: EventEmitter }).server);
    subscribe("tracing:net.server.listen:asyncEnd", onListening);
    await using at = await opened(new Reviews());
    unsubscribe("tracing:net.server.listen:asyncEnd", onListening);
    expect(servers).to.have.length(1);
    // As node:net reports a failed accept; without a listener the second one would throw.
    for (let count = 0; count < 3; count++) servers[0]?.emit("error", new Error("accept EMFILE"));
    expect((await at.get(path)).status).to.equal(401);
  });

  it("says that the address is taken", async () => {
    await using at = await opened(new Reviews());
    const port = Number(new URL(at.endpoint.url).port);
    const namespaces = new NamespaceUids(new Reviews().client, systemPorts.clock);
    const common = {
      client: new Reviews().client,
      store: at.folder.store,
      namespaces,
      worksIn: [],
      ports: systemPorts,
    };
    const second = servePayloads({ ...common, logger: silentLogger, host: "127.0.0.1", port });
    expect(await second.catch((error: unknown) => error)).to.include({ code: "Unavailable" });
  });

  it("does not listen on other addresses than loopback without TLS, and says what would be right", async () => {
    const reviews = new Reviews();
    await using folder = await temporaryStore();
    const namespaces = new NamespaceUids(reviews.client, systemPorts.clock);
    const common = {
      client: reviews.client,
      store: folder.store,
      namespaces,
      worksIn: [],
      ports: systemPorts,
      logger: silentLogger,
    };
    let refused: unknown;
    await servePayloads({ ...common, host: "0.0.0.0", port: 0 }).catch((error: unknown) => {
      refused = error;
    });
    expect(refused).to.be.instanceOf(MillraceError);
    expect((refused as MillraceError).message).to.contain("give a certificate and its key");
  });
});

describe("payloads read from afar", () => {
  it("come as they are, and with a message that says what is missing when they do not", async () => {
    await using at = await opened(new Reviews());
    const large = new BytesPayload(randomBytes(500_000), "a/b");
    const ref = await at.folder.store.put(namespaceUid, large, never);
    await using reader = new RemotePayloads({
      server: at.endpoint.url,
      token: "reader",
      scheduler: systemPorts.scheduler,
    });
    const hash = createHash("sha256");
    for await (const chunk of reader.read("team", ref, never)) hash.update(chunk);
    expect(`sha256:${hash.digest("hex")}`).to.equal(ref.digest);
    await using stranger = new RemotePayloads({
      server: at.endpoint.url,
      token: "stranger",
      scheduler: systemPorts.scheduler,
    });
    expect(await errorOf(stranger.read("team", ref, never))).to.include({ code: "InvalidInput" });
    await at.folder.store.delete(namespaceUid, ref.digest, Infinity, never);
    expect(await errorOf(reader.read("team", ref, never))).to.include({ code: "PayloadLost" });
    await at.endpoint[Symbol.asyncDispose]();
    expect(await errorOf(reader.read("team", ref, never))).to.include({ code: "Unavailable" });
  });
});

async function errorOf(chunks: AsyncIterable<Uint8Array>): Promise<unknown> {
  try {
    for await (const _chunk of chunks);
    return undefined;
  } catch (error) {
    return error;
  }
}
