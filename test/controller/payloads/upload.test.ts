import { randomBytes } from "node:crypto";
import { readdir, stat, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { expect } from "chai";
import { RemotePayloads } from "../../../controller/payloads/remote.ts";
import { systemPorts } from "../../../engine/clock.ts";
import { BytesPayload, digestOf, textPayload } from "../../../engine/payload.ts";
import { VirtualTime } from "../../support/virtual-time.ts";
import { opened, Reviews } from "./served.ts";
import { namespaceUid, never } from "./store-folder.ts";

type Served = Awaited<ReturnType<typeof opened>>;

const text = textPayload("from outside");

function pathOf(payload: { readonly digest: string }, namespace = "team"): string {
  return `/v1/namespaces/${namespace}/payloads/${payload.digest}`;
}

async function put(at: Served, path: string, body: Uint8Array, token = "writer"): Promise<[number, string]> {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(`${at.endpoint.url}${path}`, { method: "PUT", headers, body: Buffer.from(body) });
  return [response.status, await response.text()];
}

/** Names of all files of the store, half-written ones too. */
async function filesOf(at: Served): Promise<string[]> {
  const found = await readdir(at.folder.root, { recursive: true, withFileTypes: true }).catch(() => []);
  return found.filter((entry) => entry.isFile()).map(({ name }) => name);
}

async function sizesOf(at: Served): Promise<number[]> {
  const found = await readdir(at.folder.root, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = found.filter((entry) => entry.isFile());
  return await Promise.all(files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size));
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** A client that sends what it is told to, by hand. */
class RawClient {
  readonly socket: Socket;
  received = "";

  constructor(at: Served) {
    this.socket = connect(Number(new URL(at.endpoint.url).port), "127.0.0.1");
    this.socket.on("data", (data) => {
      this.received += data.toString();
    });
    this.socket.on("error", () => {});
  }

  begin(path: string, ...headers: readonly string[]): this {
    this.socket.write(
      [`PUT ${path} HTTP/1.1`, "Host: x", "Authorization: Bearer writer", ...headers, "", ""].join("\r\n"),
    );
    return this;
  }

  async status(): Promise<string> {
    await until(async () => /^HTTP\/1\.1 \d{3}/m.test(this.received));
    return this.received.slice(9, 12);
  }
}

/** Begins to send to each of these namespaces; half of it never comes. */
async function slowOnes(at: Served, namespaces: readonly string[]): Promise<readonly RawClient[]> {
  const slow = namespaces.map((namespace, index) => {
    const payload = textPayload(`slow payload ${index}`);
    const client = new RawClient(at).begin(pathOf(payload, namespace), `Content-Length: ${payload.size}`);
    client.socket.write("slow");
    return client;
  });
  await until(async () => (await filesOf(at)).length === namespaces.length);
  return slow;
}

describe("a payload that is put", () => {
  it("is kept under its digest for whoever may add payloads, once however often it is put", async () => {
    await using at = await opened(new Reviews());
    const answer = JSON.stringify({ digest: text.digest, bytes: text.size });
    expect(await put(at, pathOf(text), text.data)).to.deep.equal([201, answer]);
    expect(await put(at, pathOf(text), text.data)).to.deep.equal([200, answer]);
    expect(await filesOf(at)).to.deep.equal([text.digest.slice("sha256:".length)]);
    const got = await at.get(pathOf(text), "reader");
    expect([got.status, await got.text()]).to.deep.equal([200, "from outside"]);
  });

  it("may be empty, and as large as a payload may be", async function () {
    this.timeout(20_000);
    await using at = await opened(new Reviews());
    for (const size of [0, 64 * 1024 * 1024]) {
      const payload = new BytesPayload(new Uint8Array(size).fill(7), "a/b");
      expect((await put(at, pathOf(payload), payload.data))[0]).to.equal(201);
      expect(await at.folder.store.stat(namespaceUid, payload.digest, never)).to.equal(size);
    }
  });

  it("is refused without the right to create, which the right to get is not", async () => {
    await using at = await opened(new Reviews());
    for (const [token, code] of [
      ["nobody", 401],
      ["stranger", 403],
      ["reader", 403],
    ] as const) {
      expect((await put(at, pathOf(text), text.data, token))[0], token).to.equal(code);
    }
    expect((await put(at, pathOf(text, "other"), text.data))[0]).to.equal(403);
    expect((await at.get(pathOf(text), "writer")).status).to.equal(403);
    expect(await filesOf(at)).to.deep.equal([]);
  });

  it("is refused, and not kept, when its bytes have another digest, also where the right ones are there already", async () => {
    await using at = await opened(new Reviews());
    const other = Buffer.from("from elsewhr");
    const [code, body] = await put(at, pathOf(text), other);
    expect([code, JSON.parse(body)]).to.deep.include.members([400]);
    expect(body).to.contain(digestOf(other)).and.contain("BadRequest");
    expect(await filesOf(at)).to.deep.equal([]);
    await put(at, pathOf(text), text.data);
    expect((await put(at, pathOf(text), other))[0]).to.equal(400);
    expect(await (await at.get(pathOf(text), "reader")).text()).to.equal("from outside");
    expect((await put(at, "/v1/namespaces/team/payloads/sha256:xyz", other))[0]).to.equal(400);
  });

  it("mends a corrupt one", async () => {
    await using at = await opened(new Reviews());
    await put(at, pathOf(text), text.data);
    const hex = text.digest.slice("sha256:".length);
    await writeFile(join(at.folder.root, namespaceUid, hex.slice(0, 2), hex), "FROM OUTSIDE");
    expect((await put(at, pathOf(text), text.data))[0]).to.equal(201);
    expect(await (await at.get(pathOf(text), "reader")).text()).to.equal("from outside");
    expect(at.folder.store.budget.usedBytes).to.equal(text.size);
  });

  it("is refused before a byte of it is sent when it is too large or does not say its length", async () => {
    await using at = await opened(new Reviews());
    const large = new RawClient(at).begin(pathOf(text), `Content-Length: ${64 * 1024 * 1024 + 1}`);
    expect(await large.status()).to.equal("413");
    await until(async () => large.received.includes('"code":413'));
    expect(large.received).to.contain('"reason":"RequestEntityTooLarge"').and.contain("the limit is 67108864");
    const chunked = new RawClient(at).begin(pathOf(text), "Transfer-Encoding: chunked");
    expect(await chunked.status()).to.equal("411");
    const asking = new RawClient(at).begin(pathOf(text, "other"), "Content-Length: 12", "Expect: 100-continue");
    expect(await asking.status()).to.equal("403");
    const wanted = new RawClient(at).begin(pathOf(text), "Content-Length: 12", "Expect: 100-continue");
    expect(await wanted.status()).to.equal("100");
    wanted.received = "";
    wanted.socket.write("from outside");
    expect(await wanted.status()).to.equal("201");
    for (const { socket } of [large, chunked, asking, wanted]) socket.destroy();
  });

  it("leaves nothing when it breaks off midway", async () => {
    await using at = await opened(new Reviews());
    const client = new RawClient(at).begin(pathOf(text), "Content-Length: 12");
    client.socket.write("from");
    await until(async () => (await filesOf(at)).length === 1);
    client.socket.destroy();
    await until(async () => (await filesOf(at)).length === 0);
    expect(at.folder.store.budget.usedBytes).to.equal(0);
  });

  it("is not waited for when nothing comes of it for half a minute, however long it takes in all", async () => {
    const time = new VirtualTime();
    await using at = await opened(new Reviews(), time);
    const client = new RawClient(at).begin(pathOf(text), "Content-Length: 12");
    for (const [index, part] of ["f", "r", "o"].entries()) {
      client.socket.write(part);
      await until(async () => (await sizesOf(at))[0] === index + 1 && time.pendingTimers === 1);
      await time.advance(29_000);
    }
    expect(client.received).to.equal("");
    await time.advance(30_000);
    expect(await client.status()).to.equal("408");
    await until(async () => client.socket.destroyed);
    await until(async () => (await filesOf(at)).length === 0);
    expect(time.pendingTimers).to.equal(0);
  });

  it("waits for no other of the same digest that is slow, nor shares its fate; nor does a step's output", async () => {
    await using at = await opened(new Reviews());
    const slow = new RawClient(at).begin(pathOf(text), "Content-Length: 12");
    slow.socket.write("FROM");
    await until(async () => (await filesOf(at)).length === 1);
    expect((await put(at, pathOf(text), text.data))[0]).to.equal(201);
    await at.folder.store.put(namespaceUid, text, never);
    slow.socket.write(" OUTSIDE");
    expect(await slow.status()).to.equal("400");
    slow.socket.destroy();
    expect(await (await at.get(pathOf(text), "reader")).text()).to.equal("from outside");
    expect(at.folder.store.budget.usedBytes).to.equal(12);
  });

  it("is taken beside those of another namespace, however slow and many those are", async () => {
    await using at = await opened(new Reviews());
    const slow = await slowOnes(at, ["neighbour", "neighbour", "neighbour", "neighbour"]);
    expect((await put(at, pathOf(text, "neighbour"), text.data))[0]).to.equal(429);
    expect((await put(at, pathOf(text), text.data))[0]).to.equal(201);
    for (const { socket } of slow) socket.destroy();
    await until(async () => (await filesOf(at)).length === 1);
    expect((await put(at, pathOf(text, "neighbour"), text.data))[0]).to.equal(200);
  });

  it("is told to come again where eight others are being received", async () => {
    await using at = await opened(new Reviews());
    const slow = await slowOnes(at, [
      "team",
      "neighbour",
      "team",
      "neighbour",
      "team",
      "neighbour",
      "team",
      "neighbour",
    ]);
    expect((await put(at, pathOf(text), text.data))[0]).to.equal(429);
    const time = new VirtualTime();
    await using remote = new RemotePayloads({
      server: at.endpoint.url,
      token: "writer",
      scheduler: time.scheduler,
    });
    const patient = remote.put("team", text, never);
    await until(async () => time.pendingTimers === 1);
    for (const { socket } of slow) socket.destroy();
    await until(async () => (await filesOf(at)).length === 0);
    await time.advance(1_000);
    await patient;
    expect((await filesOf(at)).length).to.equal(1);
  });

  it("is not taken for a namespace that this controller does not work in", async () => {
    await using at = await opened(new Reviews(), systemPorts, ["another"]);
    const [code, body] = await put(at, pathOf(text), text.data);
    expect([code, body.includes("works in another only")]).to.deep.equal([404, true]);
  });

  it("is told by the errors of whoever puts it from afar", async () => {
    await using at = await opened(new Reviews());
    const remote = (token: string) =>
      new RemotePayloads({ server: at.endpoint.url, token, scheduler: systemPorts.scheduler });
    await using writer = remote("writer");
    await using reader = remote("reader");
    const large = new BytesPayload(randomBytes(2_000_000), "a/b");
    await writer.put("team", large, never);
    await writer.put("team", large, never);
    expect(await at.folder.store.stat(namespaceUid, large.digest, never)).to.equal(2_000_000);
    const refused = await reader.put("team", text, never).catch((error: unknown) => error);
    expect(refused).to.include({ code: "InvalidInput" }).and.to.have.property("message").that.contains('"create"');
  });
});
