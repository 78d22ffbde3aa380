import { rename, stat, unlink, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Flights } from "../../backends/flights.ts";
import type { Clock } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import type { Payload } from "../../engine/payload.ts";
import { isDigest, isNamespaceUid } from "./digest.ts";
import { FilePayload } from "./file-payload.ts";
import { FileRecords } from "./file-records.ts";
import {
  type CheckBytes,
  checkBytes,
  entries,
  isLeftover,
  isMissing,
  makeFolder,
  putBack,
  sizeOf,
  syncFolder,
  translate,
  writeDurably,
} from "./files.ts";
import { Lanes } from "./lanes.ts";
import { namespaceFolder, payloadPath } from "./places.ts";
import type { PayloadRecord, PayloadRef, PayloadStore, StoredPayload } from "./store.ts";
import { type MakeRoom, StoreBudget, type StoreLimits } from "./store-budget.ts";

export interface FileSystemStoreOptions {
  /** Where everything lies; made when it is not there. */
  readonly root: string;
  readonly clock: Clock;
  /** Tells this process's temporary files from those of all others, dead or alive; letters, digits and hyphens. */
  readonly writer: string;
  /** Absent: as much as fits on the disk. They hold from the first `count` on. */
  readonly limits?: StoreLimits;
  /** Asked when a limit would be passed, before anything is refused. */
  readonly makeRoom?: MakeRoom;
}

/** Bytes that are said to have this digest and size. */
type Claim = Pick<PayloadRef, "digest" | "bytes">;

/** Of a file that somebody who deletes has set aside, to see whether it was touched. */
const asideSuffix = ".aside";

/** Of a SHA-256: the length of a payload's file name. */
const hexDigits = 64;

/** Folders of payloads; others in a namespace's folder hold other things. */
const shardPattern = /^[0-9a-f]{2}$/;

/**
 * Payloads as files: `<root>/<namespace UID>/<first two hex digits>/<sha256>`. A write goes to a temporary file beside
 * its place, is synced, renamed, and the folder is synced: a reader sees all of it or nothing, whenever the machine stops.
 * Several processes may share the folder: what is to be deleted is renamed first and looked at then, when nobody can touch it
 * any more.
 */
export class FileSystemStore implements PayloadStore {
  readonly budget: StoreBudget;
  readonly #root: string;
  readonly #clock: Clock;
  readonly #writer: string;
  /** Writes in flight by path: a second writer of the same bytes waits for the first. */
  readonly #writing = new Flights<void>();
  /** By path: what touches and what deletes never pass each other. */
  readonly #lanes = new Lanes();
  readonly #records: FileRecords;
  #sequence = 0;

  constructor(options: FileSystemStoreOptions) {
    const { root, clock, writer, limits = {}, makeRoom = async () => {} } = options;
    this.#root = root;
    this.#clock = clock;
    this.#writer = writer;
    this.budget = new StoreBudget(limits, makeRoom);
    this.#records = new FileRecords({ root, clock, writer, budget: this.budget });
  }

  async put(namespaceUid: string, payload: Payload, signal: AbortSignal): Promise<PayloadRef> {
    const { digest, size, contentType } = payload;
    const path = this.#path(namespaceUid, digest);
    const write = (ownSignal: AbortSignal) => {
      const attempt = () => this.#lanes.run(path, () => this.#store(namespaceUid, path, payload, ownSignal));
      return this.budget.within(namespaceUid, size, attempt, ownSignal);
    };
    await this.#writing.join(path, write, signal);
    return { digest, bytes: size, contentType };
  }

  async receive(
    namespaceUid: string,
    claimed: Claim,
    body: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<"Stored" | "Known"> {
    const path = this.#path(namespaceUid, claimed.digest);
    const check = isClaimed(claimed);
    if (await this.verify(namespaceUid, claimed, signal)) {
      await checkBytes(body, check, signal, async () => {});
      return "Known";
    }
    const attempt = async () => this.budget.take(namespaceUid, claimed.bytes);
    await this.budget.within(namespaceUid, claimed.bytes, attempt, signal);
    const temporary = this.#temporary(path);
    try {
      await makeFolder(this.#root, dirname(path));
      await writeDurably(temporary, body, this.#clock.now(), check, signal);
      return await this.#lanes.run(path, () => this.#install(namespaceUid, path, temporary, claimed, signal));
    } catch (error) {
      this.budget.give(namespaceUid, claimed.bytes);
      await unlink(temporary).catch(() => undefined);
      if (signal.aborted) throw signal.reason;
      throw translate(error, `store a payload of ${claimed.bytes} bytes`);
    }
  }

  open(namespaceUid: string, ref: PayloadRef): Payload {
    return new FilePayload(this.#path(namespaceUid, ref.digest), ref);
  }

  async stat(namespaceUid: string, digest: string, signal: AbortSignal): Promise<number | undefined> {
    signal.throwIfAborted();
    try {
      return (await stat(this.#path(namespaceUid, digest))).size;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw translate(error, "look for a payload");
    }
  }

  async verify(namespaceUid: string, claimed: Claim, signal: AbortSignal): Promise<boolean> {
    const path = this.#path(namespaceUid, claimed.digest);
    try {
      return await this.#lanes.run(path, () => this.#touch(path, claimed, signal));
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw translate(error, "verify a payload");
    }
  }

  /** Also removes what a crash left behind. */
  async *list(namespaceUid: string, signal: AbortSignal): AsyncIterable<StoredPayload> {
    const folder = namespaceFolder(this.#root, namespaceUid);
    for (const shard of (await entries(folder)).filter((name) => shardPattern.test(name))) {
      for (const name of await entries(join(folder, shard))) {
        signal.throwIfAborted();
        const stored = await this.#listed(join(folder, shard, name), name);
        if (stored !== undefined) yield stored;
      }
    }
  }

  async *namespaces(signal: AbortSignal): AsyncIterable<string> {
    for (const name of await entries(this.#root)) {
      signal.throwIfAborted();
      if (isNamespaceUid(name)) yield name;
    }
  }

  async delete(namespaceUid: string, digest: string, touchedBefore: number, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    const path = this.#path(namespaceUid, digest);
    try {
      return await this.#lanes.run(path, () => this.#remove(namespaceUid, path, touchedBefore));
    } catch (error) {
      if (isMissing(error)) return false;
      throw translate(error, "delete a payload");
    }
  }

  async count(signal: AbortSignal): Promise<void> {
    for await (const namespaceUid of this.namespaces(signal)) {
      const changesBefore = this.budget.changesOf(namespaceUid);
      let total = await this.#records.bytes(namespaceUid, signal);
      for await (const { bytes } of this.list(namespaceUid, signal)) total += bytes;
      this.budget.counted(namespaceUid, total, changesBefore);
    }
  }

  async putRecord(namespaceUid: string, key: string, record: PayloadRecord, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.#records.put(namespaceUid, key, record, signal);
  }

  async getRecord(namespaceUid: string, key: string, signal: AbortSignal): Promise<PayloadRecord | undefined> {
    signal.throwIfAborted();
    return await this.#records.get(namespaceUid, key);
  }

  records(namespaceUid: string, unexpiredAtMs: number, signal: AbortSignal): AsyncIterable<PayloadRecord> {
    return this.#records.list(namespaceUid, unexpiredAtMs, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing.settled();
    await this.#lanes.settled();
    await this.#records.settled();
  }

  #path(namespaceUid: string, digest: string): string {
    return payloadPath(this.#root, namespaceUid, digest);
  }

  #temporary(path: string): string {
    return `${path}.${this.#writer}-${++this.#sequence}.tmp`;
  }

  /** False where there is no room. */
  async #store(namespaceUid: string, path: string, payload: Payload, signal: AbortSignal): Promise<boolean> {
    try {
      const { digest, size: bytes } = payload;
      if (await this.#touch(path, { digest, bytes }, signal)) return true;
      const added = bytes - (await sizeOf(path));
      if (!this.budget.take(namespaceUid, added)) return false;
      const temporary = this.#temporary(path);
      try {
        await makeFolder(this.#root, dirname(path));
        await writeDurably(temporary, payload.stream(signal), this.#clock.now(), isOf(payload), signal);
        await rename(temporary, path);
      } catch (error) {
        this.budget.give(namespaceUid, added);
        await unlink(temporary).catch(() => undefined);
        throw error;
      }
      await syncFolder(dirname(path));
      return true;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw translate(error, `store a payload of ${payload.size} bytes`);
    }
  }

  /** Gives what was received its name, unless somebody else has stored the same meanwhile. */
  async #install(
    namespaceUid: string,
    path: string,
    temporary: string,
    claimed: Claim,
    signal: AbortSignal,
  ): Promise<"Stored" | "Known"> {
    if (await this.#touch(path, claimed, signal)) {
      await unlink(temporary);
      this.budget.give(namespaceUid, claimed.bytes);
      return "Known";
    }
    const replaced = await sizeOf(path);
    await rename(temporary, path);
    this.budget.give(namespaceUid, replaced);
    await syncFolder(dirname(path));
    return "Stored";
  }

  async #remove(namespaceUid: string, path: string, touchedBefore: number): Promise<boolean> {
    if ((await stat(path)).mtimeMs >= touchedBefore) return false;
    const aside = `${path}.${this.#writer}-${++this.#sequence}${asideSuffix}`;
    await rename(path, aside);
    const { mtimeMs, size } = await stat(aside);
    if (mtimeMs < touchedBefore) {
      await unlink(aside);
      this.budget.give(namespaceUid, size);
      return true;
    }
    // Another process touched it between the two looks, and counts on it.
    await putBack(aside, path);
    return false;
  }

  /** True when the bytes are there and are right: a new write would change nothing but the time, so only that is done. Reading costs less than syncing what is written. */
  async #touch(path: string, { digest, bytes }: Claim, signal: AbortSignal): Promise<boolean> {
    try {
      if ((await stat(path)).size !== bytes) return false;
      const now = this.#clock.now() / 1000;
      await utimes(path, now, now);
      for await (const _ of new FilePayload(path, { digest, bytes, contentType: "" }).stream(signal));
      // Still under its name: whoever sets it aside from now on sees the new time.
      await stat(path);
      return true;
    } catch (error) {
      // Another process may delete it between the calls.
      if (isMissing(error) || (error instanceof MillraceError && error.code === "PayloadLost")) return false;
      throw error;
    }
  }

  async #listed(path: string, name: string): Promise<StoredPayload | undefined> {
    try {
      // Left by a crash, or just being looked at by another process: under its own name nothing is lost in either case.
      if (name.endsWith(asideSuffix)) await putBack(path, join(dirname(path), name.slice(0, hexDigits)));
      const { size, mtimeMs } = await stat(path);
      if (isDigest(`sha256:${name}`)) return { digest: `sha256:${name}`, bytes: size, touchedAt: mtimeMs };
      if (name.endsWith(".tmp") && (await isLeftover(path, this.#clock))) await unlink(path);
      return undefined;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw translate(error, "list payloads");
    }
  }
}

/** For a payload of our own: other bytes are a defect. */
function isOf({ digest }: Payload): CheckBytes {
  return (found) => {
    if (found === digest) return;
    throw new MillraceError("Internal", `a payload called ${digest} has bytes of another digest`);
  };
}

function isClaimed(claimed: Claim): CheckBytes {
  return (digest, bytes) => {
    if (digest === claimed.digest && bytes === claimed.bytes) return;
    const what = `${bytes} bytes of the digest ${digest} came, not ${claimed.bytes} of ${claimed.digest}`;
    throw new MillraceError("InvalidInput", what);
  };
}
