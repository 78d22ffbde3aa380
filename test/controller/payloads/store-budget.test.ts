import { randomBytes } from "node:crypto";
import { expect } from "chai";
import fc from "fast-check";
import { FileSystemStore } from "../../../controller/payloads/file-system.ts";
import type { StoreLimits } from "../../../controller/payloads/store-budget.ts";
import { systemPorts } from "../../../engine/clock.ts";
import type { MillraceError } from "../../../engine/errors.ts";
import { BytesPayload, digestOf } from "../../../engine/payload.ts";
import { namespaceUid, never, temporaryStore } from "./store-folder.ts";

const bytes = (size: number) => new BytesPayload(randomBytes(size), "a/b");
const key = "0123456789abcdef0123456789abcdef";

async function errorOf(work: Promise<unknown>): Promise<MillraceError | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return error as MillraceError;
  }
}

describe("the byte budget of the payload store", () => {
  let folder: Awaited<ReturnType<typeof temporaryStore>>;
  beforeEach(async () => {
    folder = await temporaryStore();
  });
  afterEach(() => folder[Symbol.asyncDispose]());

  function limited(limits: StoreLimits, makeRoom?: () => Promise<void>): FileSystemStore {
    const options = { root: folder.root, clock: systemPorts.clock, writer: "limited", limits };
    return new FileSystemStore(makeRoom === undefined ? options : { ...options, makeRoom });
  }

  it("refuses what would pass it, saying what is used, the limit and the mend, and takes what fits", async () => {
    const store = limited({ totalBytes: 1_000 });
    await store.put(namespaceUid, bytes(600), never);
    const refused = await errorOf(store.put(namespaceUid, bytes(401), never));
    expect(refused).to.include({ code: "ResourceExhausted" });
    expect(refused?.message).to.contain("no room for 401 bytes").and.contain("600 bytes of at most 1000");
    expect(refused?.message).to.contain("ttlSecondsAfterFinished");
    await store.put(namespaceUid, bytes(400), never);
    expect(store.budget.usedBytes).to.equal(1_000);
  });

  it("lets what is there be put again when it is full", async () => {
    const store = limited({ totalBytes: 600 });
    const payload = bytes(600);
    await store.put(namespaceUid, payload, never);
    await store.put(namespaceUid, payload, never);
    const claimed = { digest: payload.digest, bytes: 600 };
    expect(await store.receive(namespaceUid, claimed, payload.stream(never), never)).to.equal("Known");
    expect(store.budget.usedBytes).to.equal(600);
  });

  it("makes room before it refuses, and takes what fits then", async () => {
    const old = bytes(900);
    let made = 0;
    const store: FileSystemStore = limited({ totalBytes: 1_000 }, async () => {
      made += 1;
      await store.delete(namespaceUid, old.digest, Infinity, never);
    });
    await store.put(namespaceUid, old, never);
    const young = bytes(800);
    await store.put(namespaceUid, young, never);
    expect([made, store.budget.usedBytes]).to.deep.equal([1, 800]);
    expect(await errorOf(store.put(namespaceUid, bytes(300), never))).to.include({ code: "ResourceExhausted" });
    expect(await store.stat(namespaceUid, young.digest, never)).to.equal(800);
  });

  it("keeps the cause when room could not be made", async () => {
    const store = limited({ totalBytes: 10 }, () => Promise.reject(new Error("the API server is away")));
    const refused = await errorOf(store.put(namespaceUid, bytes(11), never));
    expect(refused).to.have.property("code", "ResourceExhausted");
    expect(refused).to.have.nested.property("cause.message", "the API server is away");
  });

  it("leaves each namespace its own room", async () => {
    const store = limited({ totalBytes: 10_000, namespaceBytes: 1_000 });
    await store.put(namespaceUid, bytes(1_000), never);
    const refused = await errorOf(store.put(namespaceUid, bytes(1), never));
    expect(refused?.message).to.contain("this namespace has 1000 bytes of at most 1000");
    await store.put("another", bytes(1_000), never);
  });

  it("counts records too", async () => {
    const store = limited({ totalBytes: 200 });
    const record = (value: string) => ({ expiresAtMs: Date.now() + 60_000, payloads: [], value });
    await store.putRecord(namespaceUid, key, record("x".repeat(100)), never);
    const used = store.budget.usedBytes;
    expect(used).to.be.greaterThan(100);
    await store.putRecord(namespaceUid, key, record("y".repeat(100)), never);
    expect(store.budget.usedBytes).to.equal(used);
    const refused = await errorOf(store.putRecord(namespaceUid, `${key}00`, record("z".repeat(100)), never));
    expect(refused).to.include({ code: "ResourceExhausted" });
    await Array.fromAsync(store.records(namespaceUid, Infinity, never));
    expect(store.budget.usedBytes).to.equal(0);
  });

  it("is never passed by many writers at once, and gives back what was not written", async () => {
    const store = limited({ totalBytes: 10_000 });
    const broken = bytes(3_000);
    broken.stream = () => ReadableStream.from(failing());
    const puts = [...Array.from({ length: 30 }, () => bytes(900)), broken];
    const done = await Promise.all(puts.map((payload) => errorOf(store.put(namespaceUid, payload, never))));
    expect(done.filter((error) => error === undefined).length)
      .to.be.at.least(7)
      .and.at.most(11);
    expect(store.budget.usedBytes).to.be.at.most(10_000);
    const counted = limited({});
    await counted.count(never);
    expect(store.budget.usedBytes).to.equal(counted.budget.usedBytes);
  });

  it("counts what a walk finds, after any puts, receptions and deletions", async () => {
    const step = fc.record({ act: fc.constantFrom("put", "receive", "delete", "record"), content: fc.nat(12) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        await using own = await temporaryStore();
        const { store } = own;
        await Promise.all(
          steps.map(async ({ act, content }) => {
            const data = new Uint8Array(content * 50).fill(content);
            const claimed = { digest: digestOf(data), bytes: data.byteLength };
            if (act === "put") await store.put(namespaceUid, new BytesPayload(data, "a/b"), never);
            else if (act === "receive") await store.receive(namespaceUid, claimed, chunks(data), never);
            else if (act === "delete") await store.delete(namespaceUid, claimed.digest, Infinity, never);
            else {
              const record = { expiresAtMs: Infinity, payloads: [], value: "x".repeat(content) };
              await store.putRecord(namespaceUid, key.replace("0", content.toString(16)), record, never);
            }
          }),
        );
        const counted = new FileSystemStore({ root: own.root, clock: systemPorts.clock, writer: "counts" });
        await counted.count(never);
        expect(store.budget.usedBytes).to.equal(counted.budget.usedBytes);
      }),
      { numRuns: 30 },
    );
  });

  it("sees by a walk what another process has stored", async () => {
    await folder.store.put(namespaceUid, bytes(700), never);
    const store = limited({ totalBytes: 1_000 });
    await store.count(never);
    expect(await errorOf(store.put(namespaceUid, bytes(301), never))).to.include({ code: "ResourceExhausted" });
    await folder.store.put(namespaceUid, bytes(100), never);
    await store.count(never);
    expect(store.budget.usedBytes).to.equal(800);
  });
});

async function* chunks(data: Uint8Array): AsyncGenerator<Uint8Array> {
  yield data;
}

async function* failing(): AsyncGenerator<Uint8Array> {
  yield new Uint8Array(5);
  throw new Error("the source broke off");
}
