import { mkdir, readFile, rename, unlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import { isRecordKey } from "./digest.ts";
import { entries, isLeftover, isMissing, sizeOf, translate } from "./files.ts";
import { Lanes } from "./lanes.ts";
import { recordPath, recordsRoot } from "./places.ts";
import { maxRecordBytes, type PayloadRecord } from "./store.ts";
import type { StoreBudget } from "./store-budget.ts";

export interface FileRecordsOptions {
  readonly root: string;
  readonly clock: Clock;
  /** Tells this process's temporary files from those of all others; letters, digits and hyphens. */
  readonly writer: string;
  readonly budget: StoreBudget;
}

/**
 * Records as files: `<root>/<namespace UID>/records/<first two digits>/<key>`. They are renamed into place but not synced: what a
 * machine loses or tears when it stops is unreadable, and a cache may forget.
 */
export class FileRecords {
  readonly #options: FileRecordsOptions;
  /** By path: each counts what it replaces or deletes. */
  readonly #lanes = new Lanes();
  #sequence = 0;

  constructor(options: FileRecordsOptions) {
    this.#options = options;
  }

  /** Throws MillraceError PayloadTooLarge, ResourceExhausted, Unavailable. */
  async put(namespaceUid: string, key: string, record: PayloadRecord, signal: AbortSignal): Promise<void> {
    const path = recordPath(this.#options.root, namespaceUid, key);
    const text = encoded(record);
    const write = () => this.#lanes.run(path, () => this.#write(namespaceUid, path, text));
    await this.#options.budget.within(namespaceUid, Buffer.byteLength(text), write, signal);
  }

  async get(namespaceUid: string, key: string): Promise<PayloadRecord | undefined> {
    const record = await read(recordPath(this.#options.root, namespaceUid, key));
    return record !== undefined && record.expiresAtMs > this.#options.clock.now() ? record : undefined;
  }

  /** Those that had not expired at that time; deletes all others, what cannot be read, and what a crash left behind. */
  async *list(namespaceUid: string, unexpiredAtMs: number, signal: AbortSignal): AsyncGenerator<PayloadRecord, void> {
    for await (const { name, path } of this.#files(namespaceUid, signal)) {
      const record = isRecordKey(name) ? await read(path) : undefined;
      if (record !== undefined && record.expiresAtMs > unexpiredAtMs) yield record;
      else if (isRecordKey(name)) await this.#lanes.run(path, () => this.#remove(namespaceUid, path, unexpiredAtMs));
      else if (await isLeftover(path, this.#options.clock)) await unlink(path).catch(() => undefined);
    }
  }

  async bytes(namespaceUid: string, signal: AbortSignal): Promise<number> {
    let bytes = 0;
    for await (const { name, path } of this.#files(namespaceUid, signal)) {
      if (isRecordKey(name)) bytes += await sizeOf(path);
    }
    return bytes;
  }

  async settled(): Promise<void> {
    await this.#lanes.settled();
  }

  async *#files(namespaceUid: string, signal: AbortSignal): AsyncGenerator<{ name: string; path: string }, void> {
    const folder = recordsRoot(this.#options.root, namespaceUid);
    for (const shard of await entries(folder)) {
      for (const name of await entries(join(folder, shard))) {
        signal.throwIfAborted();
        yield { name, path: join(folder, shard, name) };
      }
    }
  }

  /** False where there is no room. */
  async #write(namespaceUid: string, path: string, text: string): Promise<boolean> {
    const { budget, writer } = this.#options;
    const temporary = `${path}.${writer}-${++this.#sequence}.tmp`;
    const added = Buffer.byteLength(text) - (await sizeOf(path));
    if (!budget.take(namespaceUid, added)) return false;
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await writeFile(temporary, text, { flag: "wx", mode: 0o600 });
      await rename(temporary, path);
      return true;
    } catch (error) {
      budget.give(namespaceUid, added);
      await unlink(temporary).catch(() => undefined);
      throw translate(error, "remember a record");
    }
  }

  /** Unless it was replaced since it was looked at. */
  async #remove(namespaceUid: string, path: string, unexpiredAtMs: number): Promise<void> {
    const record = await read(path);
    if (record !== undefined && record.expiresAtMs > unexpiredAtMs) return;
    const bytes = await sizeOf(path);
    try {
      await unlink(path);
      this.#options.budget.give(namespaceUid, bytes);
    } catch (error) {
      if (!isMissing(error)) throw translate(error, "delete a record");
    }
  }
}

function encoded({ expiresAtMs, payloads, value }: PayloadRecord): string {
  const bytes = Buffer.byteLength(JSON.stringify(value));
  if (bytes > maxRecordBytes) {
    throw new MillraceError("PayloadTooLarge", `a record of ${bytes} bytes; the limit is ${maxRecordBytes}`);
  }
  return JSON.stringify({ expiresAtMs, payloads, value });
}

/** Undefined when it is not there, or is no record. */
async function read(path: string): Promise<PayloadRecord | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw translate(error, "read a record");
  }
  try {
    const record: unknown = JSON.parse(text);
    return isRecord(record) ? record : undefined;
  } catch {
    // Torn when the machine stopped.
    return undefined;
  }
}

function isRecord(value: unknown): value is PayloadRecord {
  if (typeof value !== "object" || value === null) return false;
  const { expiresAtMs, payloads, value: held } = value as Partial<Record<keyof PayloadRecord, unknown>>;
  const areDigests = Array.isArray(payloads) && payloads.every((digest) => typeof digest === "string");
  return typeof expiresAtMs === "number" && areDigests && held !== undefined;
}
