import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Resolution } from "../sources/source.ts";
import type { CacheFolder } from "./cache-folder.ts";

/** A reference as one namespace names it. */
export interface ReferenceKey {
  readonly namespace: string;
  /** With its kind: `oci ghcr.io/acme/words:1.2`. */
  readonly reference: string;
}

/** What a reference named when it was asked last, and who asked. */
export interface ReferenceRecord extends ReferenceKey {
  /** What the source said of it. */
  readonly resolution: Resolution;
  /** Of the module's bytes. */
  readonly digest: string;
  /** Tells the credentials by which it was asked from others; no secret can be had from it. */
  readonly credentials: string;
  /** The fingerprints of the public keys whose signatures it was found to have. */
  readonly verified: readonly string[];
}

const room = "references";
const maxRecordBytes = 64 * 1024;
const maxRecords = 4_096;
/** How many records are written until those that are too many are looked for. */
const writesPerSweep = 256;

/**
 * What references name, by namespace: one namespace's use of a private module opens it to no other. In memory, and in the folder where
 * there is one, so that it is known after a restart.
 */
export class References {
  readonly #folder: CacheFolder | undefined;
  readonly #records = new LRUCache<string, ReferenceRecord>({ max: maxRecords });
  #writes = 0;

  constructor(folder: CacheFolder | undefined) {
    this.#folder = folder;
  }

  async get(key: ReferenceKey): Promise<ReferenceRecord | undefined> {
    const name = nameOf(key);
    const known = this.#records.get(name);
    if (known !== undefined || this.#folder === undefined) return known;
    const bytes = await this.#folder.read(room, name, maxRecordBytes);
    const record = bytes && parsed(bytes);
    if (record === undefined || record.namespace !== key.namespace || record.reference !== key.reference)
      return undefined;
    await this.#folder.touch(room, name);
    this.#records.set(name, record);
    return record;
  }

  /** Never rejects. */
  async set(record: ReferenceRecord): Promise<void> {
    const name = nameOf(record);
    this.#records.set(name, record);
    if (this.#folder === undefined) return;
    await this.#folder.write(room, name, new TextEncoder().encode(JSON.stringify(record)));
    if (this.#writes % writesPerSweep === 0) await this.#sweep(this.#folder);
    this.#writes += 1;
  }

  async #sweep(folder: CacheFolder): Promise<void> {
    const files = await folder.list(room);
    for (const { name } of files.slice(0, Math.max(0, files.length - maxRecords))) await folder.remove(room, name);
  }
}

function nameOf({ namespace, reference }: ReferenceKey): string {
  const hex = createHash("sha256")
    .update(JSON.stringify([namespace, reference]))
    .digest("hex");
  return `${hex}.json`;
}

/** Undefined: it is damaged. */
function parsed(bytes: Uint8Array): ReferenceRecord | undefined {
  try {
    const record: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return isRecord(record) ? record : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is ReferenceRecord {
  const record = value as Partial<Record<keyof ReferenceRecord, unknown>> | null;
  if (typeof record !== "object" || record === null) return false;
  const { namespace, reference, resolution, digest, credentials, verified } = record;
  const texts = [namespace, reference, digest, credentials, (resolution as Partial<Resolution> | undefined)?.version];
  return texts.every((text) => typeof text === "string") && Array.isArray(verified);
}
