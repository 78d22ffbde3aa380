import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client } from "../../../controller/api/client.ts";
import { RunPayloads } from "../../../controller/execution/recording/payloads.ts";
import { FileSystemStore } from "../../../controller/payloads/file-system.ts";
import { NamespaceUids } from "../../../controller/payloads/namespaces.ts";
import type { PayloadRecord, PayloadRef } from "../../../controller/payloads/store.ts";
import type { Clock } from "../../../engine/clock.ts";
import type { Payload } from "../../../engine/payload.ts";
import { namespaceUid } from "../payloads/store-folder.ts";

/** The real store, which tells whether it is at work: time that the test moves can wait for it. */
class BusyStore extends FileSystemStore {
  #working = 0;

  get isBusy(): boolean {
    return this.#working > 0;
  }

  override put(uid: string, payload: Payload, signal: AbortSignal): Promise<PayloadRef> {
    return this.#work(super.put(uid, payload, signal));
  }

  override verify(uid: string, ref: PayloadRef, signal: AbortSignal): Promise<boolean> {
    return this.#work(super.verify(uid, ref, signal));
  }

  override getRecord(uid: string, key: string, signal: AbortSignal): Promise<PayloadRecord | undefined> {
    return this.#work(super.getRecord(uid, key, signal));
  }

  override putRecord(uid: string, key: string, record: PayloadRecord, signal: AbortSignal): Promise<void> {
    return this.#work(super.putRecord(uid, key, record, signal));
  }

  async #work<T>(work: Promise<T>): Promise<T> {
    this.#working++;
    try {
      return await work;
    } finally {
      this.#working--;
    }
  }
}

/** The payloads of one run of namespace `team`, in a store of their own. */
export interface RunFolder extends AsyncDisposable {
  readonly store: BusyStore;
  readonly payloads: RunPayloads;
  /** Those of another run of the same namespace. */
  another(): RunPayloads;
}

export async function runFolder(clock: Clock): Promise<RunFolder> {
  const root = await mkdtemp(join(tmpdir(), "millrace-run-"));
  const store = new BusyStore({ root: join(root, "store"), clock, writer: "test" });
  const get = () => Promise.resolve({ metadata: { name: "team", uid: namespaceUid } });
  const namespaces = new NamespaceUids({ get } as unknown as Client, clock);
  const another = () => new RunPayloads(store, namespaces, "team");
  return {
    store,
    payloads: another(),
    another,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await rm(root, { recursive: true, force: true });
    },
  };
}
