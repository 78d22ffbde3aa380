import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import type { FileSystemStore } from "../../../controller/payloads/file-system.ts";
import {
  digestsOf,
  type ItemRecord,
  itemsPerChunk,
  ManifestWriter,
  readItem,
  readItems,
} from "../../../controller/payloads/manifest.ts";
import type { MillraceError } from "../../../engine/errors.ts";
import { namespaceUid, never, temporaryStore } from "./store-folder.ts";

function succeeded(index: number): ItemRecord {
  const ref = `sha256:${index.toString(16).padStart(64, "0")}`;
  const output = { payload: { ref, bytes: index }, contentType: "text/plain" };
  const log = { digest: ref.replace(/^sha256:0/, "sha256:1"), bytes: index, contentType: "text/plain" };
  const request = index.toString(16).padStart(32, "0");
  return { index, state: "Succeeded", attempts: 1, output, log, request, metadata: { words: String(index) } };
}

describe("a fan-out's manifest", () => {
  it("gives the items back in the order of their indices, whatever order they came in", async () => {
    await using folder = await temporaryStore();
    const indices = fc.uniqueArray(fc.nat(2_000), { maxLength: 300 });
    await fc.assert(
      fc.asyncProperty(indices, fc.nat(5), async (order, flushes) => {
        const writer = ManifestWriter.empty(folder.store, namespaceUid);
        const size = Math.max(1, Math.ceil(order.length / (flushes + 1)));
        for (let start = 0; start < order.length; start += size) {
          await writer.add(order.slice(start, start + size).map(succeeded), never);
          await writer.flush(never);
        }
        const ref = await writer.flush(never);
        const read = await Array.fromAsync(readItems(folder.store, namespaceUid, ref, never));
        expect(read).to.deep.equal(order.toSorted((a, b) => a - b).map(succeeded));
      }),
      { numRuns: 30 },
    );
  });

  it("writes a chunk for each 256 items and leaves those alone that did not change", async () => {
    await using folder = await temporaryStore();
    const writer = ManifestWriter.empty(folder.store, namespaceUid);
    await writer.add(
      Array.from({ length: 2 * itemsPerChunk }, (_, index) => succeeded(index)),
      never,
    );
    await writer.flush(never);
    const before = (await Array.fromAsync(folder.store.list(namespaceUid, never))).length;
    expect(before).to.equal(3);
    await writer.add([succeeded(2 * itemsPerChunk)], never);
    await writer.flush(never);
    const after = (await Array.fromAsync(folder.store.list(namespaceUid, never))).length;
    expect(after - before).to.equal(2);
  });

  it("stays right for a status that names an older one", async () => {
    await using folder = await temporaryStore();
    const writer = ManifestWriter.empty(folder.store, namespaceUid);
    await writer.add([succeeded(1)], never);
    const older = await writer.flush(never);
    await writer.add([succeeded(0), { index: 1, state: "Failed", attempts: 2 }], never);
    await writer.flush(never);
    const read = await Array.fromAsync(readItems(folder.store, namespaceUid, older, never));
    expect(read).to.deep.equal([succeeded(1)]);
  });

  it("goes on in another process from what was recorded", async () => {
    await using folder = await temporaryStore();
    const first = ManifestWriter.empty(folder.store, namespaceUid);
    await first.add([succeeded(3), succeeded(300)], never);
    const recorded = await first.flush(never);
    const second = await ManifestWriter.resume(folder.store, namespaceUid, recorded, never);
    await second.add([succeeded(2)], never);
    const ref = await second.flush(never);
    const read = await Array.fromAsync(readItems(folder.store, namespaceUid, ref, never));
    expect(read.map(({ index }) => index)).to.deep.equal([2, 3, 300]);
  });

  it("names every digest that it keeps alive", async () => {
    await using folder = await temporaryStore();
    const writer = ManifestWriter.empty(folder.store, namespaceUid);
    await writer.add([succeeded(3), succeeded(300)], never);
    const ref = await writer.flush(never);
    const named = new Set(await Array.fromAsync(digestsOf(folder.store, namespaceUid, ref, never)));
    const stored = (await Array.fromAsync(folder.store.list(namespaceUid, never))).map(({ digest }) => digest);
    expect(stored.filter((digest) => digest !== ref.digest && !named.has(digest))).to.deep.equal([]);
    for (const { output, log } of [succeeded(3), succeeded(300)]) {
      expect([named.has(output?.payload?.ref ?? ""), named.has(log?.digest ?? "")]).to.deep.equal([true, true]);
    }
  });

  it("reads nothing back while items come in about in order, and opens one chunk for one item", async () => {
    await using folder = await temporaryStore();
    let opened = 0;
    const counting = Object.create(folder.store) as FileSystemStore;
    counting.put = folder.store.put.bind(folder.store);
    counting.open = (...args) => {
      opened += 1;
      return folder.store.open(...args);
    };
    const writer = ManifestWriter.empty(counting, namespaceUid);
    const order = Array.from({ length: 10_000 }, (_, index) => index).sort(
      (a, b) => a + (a % 7) * 90 - b - (b % 7) * 90,
    );
    for (let start = 0; start < order.length; start += 100) {
      await writer.add(order.slice(start, start + 100).map(succeeded), never);
      await writer.flush(never);
    }
    expect(opened).to.equal(0);
    const ref = await writer.flush(never);
    expect(await readItem(counting, namespaceUid, ref, 7_777, never)).to.deep.equal(succeeded(7_777));
    expect(opened).to.equal(2);
    expect(await readItem(counting, namespaceUid, ref, 10_000, never)).to.equal(undefined);
    const read = await Array.fromAsync(readItems(folder.store, namespaceUid, ref, never));
    expect(read.map(({ index }) => index)).to.deep.equal(Array.from({ length: 10_000 }, (_, index) => index));
  });

  it("says PayloadLost for a corrupt chunk", async () => {
    await using folder = await temporaryStore();
    const writer = ManifestWriter.empty(folder.store, namespaceUid);
    await writer.add([succeeded(3)], never);
    const ref = await writer.flush(never);
    for await (const { digest } of folder.store.list(namespaceUid, never)) {
      const hex = digest.slice("sha256:".length);
      if (digest !== ref.digest) await writeFile(join(folder.root, namespaceUid, hex.slice(0, 2), hex), "[]");
    }
    let code = "";
    try {
      await Array.fromAsync(readItems(folder.store, namespaceUid, ref, never));
    } catch (error) {
      code = (error as MillraceError).code;
    }
    expect(code).to.equal("PayloadLost");
  });
});
