import { readdir, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { maxRecordBytes, type PayloadRecord } from "../../../controller/payloads/store.ts";
import type { Clock } from "../../../engine/clock.ts";
import { textPayload } from "../../../engine/payload.ts";
import { namespaceUid, never, temporaryStore } from "./store-folder.ts";

const key = "0123456789abcdef0123456789abcdef";
const other = `${key}${key}`;
const folderOf = (root: string) => join(root, namespaceUid, "records", key.slice(0, 2));

function record(expiresAtMs: number, value: PayloadRecord["value"] = { words: 3 }): PayloadRecord {
  return { expiresAtMs, payloads: [textPayload("kept").digest], value };
}

/** A clock that tests set. */
function clockAt(nowMs: number): Clock & { nowMs: number } {
  return {
    nowMs,
    now() {
      return this.nowMs;
    },
    monotonic: () => 0,
  };
}

describe("records beside the payloads", () => {
  it("are given back until they expire, and to their own namespace alone", async () => {
    const clock = clockAt(1_000);
    await using folder = await temporaryStore(clock);
    await folder.store.putRecord(namespaceUid, key, record(2_000), never);
    expect(await folder.store.getRecord(namespaceUid, key, never)).to.deep.equal(record(2_000));
    expect(await folder.store.getRecord(namespaceUid, other, never)).to.equal(undefined);
    expect(await folder.store.getRecord("another", key, never)).to.equal(undefined);
    clock.nowMs = 2_000;
    expect(await folder.store.getRecord(namespaceUid, key, never)).to.equal(undefined);
  });

  it("replace each other under one key, and many writers at once leave one of them whole", async () => {
    await using folder = await temporaryStore(clockAt(0));
    await folder.store.putRecord(namespaceUid, key, record(1_000, "first"), never);
    await folder.store.putRecord(namespaceUid, key, record(1_000, "second"), never);
    expect((await folder.store.getRecord(namespaceUid, key, never))?.value).to.equal("second");
    const values = Array.from({ length: 50 }, (_, index) => String(index).repeat(10_000));
    await Promise.all(values.map((value) => folder.store.putRecord(namespaceUid, key, record(1_000, value), never)));
    expect(values).to.include((await folder.store.getRecord(namespaceUid, key, never))?.value);
    expect(await readdir(folderOf(folder.root))).to.deep.equal([key]);
  });

  it("are taken for absent when they cannot be read", async () => {
    await using folder = await temporaryStore(clockAt(0));
    const path = join(folderOf(folder.root), key);
    await folder.store.putRecord(namespaceUid, key, record(1_000), never);
    await truncate(path, 10);
    expect(await folder.store.getRecord(namespaceUid, key, never)).to.equal(undefined);
    for (const text of ["null", "{}", '{"expiresAtMs":1000,"payloads":[7],"value":1}']) {
      await writeFile(path, text);
      expect(await folder.store.getRecord(namespaceUid, key, never), text).to.equal(undefined);
    }
  });

  it("are listed for the sweep, which deletes expired and unreadable ones, and what a crash left", async () => {
    const clock = clockAt(0);
    await using folder = await temporaryStore(clock);
    await folder.store.putRecord(namespaceUid, key, record(3_000), never);
    await folder.store.putRecord(namespaceUid, other, record(2_000), never);
    const left = folderOf(folder.root);
    await writeFile(join(left, "0".repeat(32)), "torn");
    for (const name of ["dead-1.tmp", "alive-1.tmp"]) await writeFile(join(left, `${key}.${name}`), "half");
    await utimes(join(left, `${key}.dead-1.tmp`), 1, 1);
    await utimes(join(left, `${key}.alive-1.tmp`), 3_600, 3_600);
    clock.nowMs = 3_700_000;
    const listed = await Array.fromAsync(folder.store.records(namespaceUid, 2_000, never));
    expect(listed).to.deep.equal([record(3_000)]);
    expect(await readdir(left)).to.deep.equal([key, `${key}.alive-1.tmp`]);
    expect(await Array.fromAsync(folder.store.list(namespaceUid, never))).to.deep.equal([]);
  });

  it("refuse a value over 64 KiB, and a key that is none", async () => {
    await using folder = await temporaryStore(clockAt(0));
    const put = (at: string, value: string) =>
      folder.store.putRecord(namespaceUid, at, record(1, value), never).catch((error: unknown) => error);
    expect(await put(key, "x".repeat(maxRecordBytes - 2))).to.equal(undefined);
    expect(await put(key, "x".repeat(maxRecordBytes - 1))).to.include({ code: "PayloadTooLarge" });
    for (const bad of ["../../../../etc/passwd", key.slice(1), key.toUpperCase(), `${other}0`]) {
      expect(await put(bad, ""), bad).to.include({ code: "Internal" });
    }
  });
});
