import { expect } from "chai";
import { isGarbage, sweep } from "../../../controller/payloads/sweep.ts";
import type { Clock } from "../../../engine/clock.ts";
import { textPayload } from "../../../engine/payload.ts";
import { namespaceUid, never, temporaryStore } from "./store-folder.ts";

const options = { markedAt: 10_000, graceMs: 1_000 };

describe("the sweep of the payload store", () => {
  for (const [title, touchedAt, marked, garbage] of [
    ["an old one that nobody names goes", 8_999, false, true],
    ["an old one that somebody names stays", 0, true, false],
    ["one within the grace period stays", 9_000, false, false],
    ["one that was touched after the marks were gathered stays", 12_000, false, false],
  ] as const) {
    it(title, () => {
      const digest = textPayload("x").digest;
      expect(isGarbage({ digest, bytes: 1, touchedAt }, new Set(marked ? [digest] : []), options)).to.equal(garbage);
    });
  }

  it("deletes what no Execution of its own namespace names, whoever else does", async () => {
    let nowMs = 1_000;
    const clock: Clock = { now: () => nowMs, monotonic: () => nowMs };
    await using folder = await temporaryStore(clock);
    const other = "99999999-2222-3333-4444-555555555555";
    const [kept, gone] = [textPayload("kept"), textPayload("gone")];
    for (const payload of [kept, gone]) {
      for (const uid of [namespaceUid, other]) {
        await folder.store.put(uid, payload, never);
      }
    }
    nowMs = 10_000;
    const marks = new Map([[namespaceUid, new Set([kept.digest])]]);
    const result = await sweep(folder.store, marks, options, never);
    expect(result).to.deep.equal({ kept: 1, deleted: 3, deletedBytes: 12 });
    expect(await folder.store.stat(namespaceUid, kept.digest, never)).to.equal(4);
    expect(await folder.store.stat(namespaceUid, gone.digest, never)).to.equal(undefined);
    expect(await folder.store.stat(other, kept.digest, never)).to.equal(undefined);
  });

  it("keeps what is touched between its being listed and its turn", async () => {
    let nowMs = 1_000;
    const clock: Clock = { now: () => nowMs, monotonic: () => nowMs };
    await using folder = await temporaryStore(clock);
    const payload = textPayload("wanted again");
    await folder.store.put(namespaceUid, payload, never);
    nowMs = 10_000;
    const store = {
      namespaces: folder.store.namespaces.bind(folder.store),
      delete: folder.store.delete.bind(folder.store),
      async *list() {
        for await (const stored of folder.store.list(namespaceUid, never)) {
          await folder.store.put(namespaceUid, payload, never);
          yield stored;
        }
      },
    };
    expect(await sweep(store, new Map(), options, never)).to.deep.equal({ kept: 1, deleted: 0, deletedBytes: 0 });
    expect(await folder.store.stat(namespaceUid, payload.digest, never)).to.equal(payload.size);
  });
});
