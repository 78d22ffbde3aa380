import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileSystemStore } from "../../../controller/payloads/file-system.ts";
import { type Clock, systemPorts } from "../../../engine/clock.ts";

/** A store in a folder of its own, gone after use. */
export async function temporaryStore(
  clock: Clock = systemPorts.clock,
): Promise<{ readonly root: string; readonly store: FileSystemStore } & AsyncDisposable> {
  const root = await mkdtemp(join(tmpdir(), "millrace-payloads-"));
  const store = new FileSystemStore({ root: join(root, "store"), clock, writer: "test" });
  return {
    root: join(root, "store"),
    store,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await rm(root, { recursive: true, force: true });
    },
  };
}

export const namespaceUid = "11111111-2222-3333-4444-555555555555";
export const never = new AbortController().signal;
