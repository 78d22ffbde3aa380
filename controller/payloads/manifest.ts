import { MillraceError } from "../../engine/errors.ts";
import type { Metadata } from "../../engine/metadata.ts";
import type { StepError, StepReason, StepState } from "../../engine/outcome.ts";
import { type Json, jsonPayload } from "../../engine/payload.ts";
import type { PayloadRow } from "../api/types.ts";
import type { PayloadRef, PayloadStore } from "./store.ts";

/** One item of a fan-out that has ended, or that a writer wants to be remembered as it stands. */
export interface ItemRecord {
  /** From 0. */
  readonly index: number;
  readonly state: StepState;
  readonly attempts: number;
  /** What its last attempt took, where that is metered. */
  readonly fuel?: number;
  /** Why it is so: a result of the step's `cache` or of the run named by `retryFrom`, or a failure that is ignored. */
  readonly reason?: StepReason;
  /** Up to 4 KiB as a value, as a row has it: ten thousand small results are no ten thousand payloads. */
  readonly output?: PayloadRow;
  readonly metadata?: Metadata;
  readonly error?: StepError;
  readonly log?: PayloadRef;
  /** Digest of what it received: 32 hexadecimal digits. */
  readonly request?: string;
}

/** Items per chunk: chunk `n` holds the items from `n * 256` on. */
export const itemsPerChunk = 256;

/** All that reading takes: a store, or a controller's endpoint. */
export type PayloadReader = Pick<PayloadStore, "open">;

/** Names the chunks of a fan-out's results; itself a payload, which the row's `results` names. */
interface Manifest {
  readonly kind: "millrace.dev/ItemManifest";
  readonly version: 1;
  /** By chunk number; null while none of its items is recorded. */
  readonly chunks: readonly (ChunkRef | null)[];
}

interface ChunkRef {
  readonly digest: string;
  readonly bytes: number;
  readonly items: number;
}

const manifestType = "application/vnd.millrace.manifest+json";
const chunkType = "application/vnd.millrace.items+json";

/** The manifest that a row's `items.results` names. */
export function manifestRef({ ref, bytes }: { readonly ref: string; readonly bytes: number }): PayloadRef {
  return { digest: ref, bytes, contentType: manifestType };
}

/** A chunk that is not full, in memory. */
interface OpenChunk {
  /** By index. */
  readonly records: Map<number, ItemRecord>;
  /** Added to since the last flush. */
  isDirty: boolean;
}

/** Items run in about the order of their indices: these are the chunks that are going to be added to next. */
const maxCleanChunks = 8;

/**
 * The results of a fan-out, written as they come in: `add` remembers, `flush` makes durable. Chunks and manifests are
 * immutable, so a status that names an older manifest stays right whatever is written after it. A flush costs two files, one after
 * the other, however many items there are: the chunks that changed at once, then the manifest.
 */
export class ManifestWriter {
  readonly #store: PayloadStore;
  readonly #namespaceUid: string;
  readonly #chunks: (ChunkRef | null)[] = [];
  /** By number, the least recently used first. */
  readonly #open = new Map<number, OpenChunk>();

  private constructor(store: PayloadStore, namespaceUid: string, chunks: readonly (ChunkRef | null)[]) {
    this.#store = store;
    this.#namespaceUid = namespaceUid;
    this.#chunks.push(...chunks);
  }

  static empty(store: PayloadStore, namespaceUid: string): ManifestWriter {
    return new ManifestWriter(store, namespaceUid, []);
  }

  /** Goes on where a recorded manifest ends. Throws PayloadLost when it is missing or corrupt. */
  static async resume(
    store: PayloadStore,
    namespaceUid: string,
    ref: PayloadRef,
    signal: AbortSignal,
  ): Promise<ManifestWriter> {
    return new ManifestWriter(store, namespaceUid, (await readManifest(store, namespaceUid, ref, signal)).chunks);
  }

  /** Remembers records; one of an index that is recorded already replaces it. Throws PayloadLost when an older chunk is needed and gone. */
  async add(records: readonly ItemRecord[], signal: AbortSignal): Promise<void> {
    for (const record of records) {
      const chunk = await this.#opened(Math.floor(record.index / itemsPerChunk), signal);
      chunk.records.set(record.index, record);
      chunk.isDirty = true;
    }
  }

  /** Writes the chunks that changed, then the manifest that names all of them. Durable when it resolves. */
  async flush(signal: AbortSignal): Promise<PayloadRef> {
    const dirty = [...this.#open].filter(([, { isDirty }]) => isDirty);
    await Promise.all(dirty.map(([number, chunk]) => this.#write(number, chunk, signal)));
    this.#forget();
    const chunks = Array.from(this.#chunks, (chunk) => chunk ?? null);
    const manifest: Manifest = { kind: "millrace.dev/ItemManifest", version: 1, chunks };
    return await this.#put(manifest as unknown as Json, manifestType, signal);
  }

  async #write(number: number, chunk: OpenChunk, signal: AbortSignal): Promise<void> {
    const items = [...chunk.records.values()].sort((a, b) => a.index - b.index);
    // What is added while this is being written is for the next flush.
    chunk.isDirty = false;
    try {
      const { digest, bytes } = await this.#put(items as unknown as Json, chunkType, signal);
      this.#chunks[number] = { digest, bytes, items: items.length };
    } catch (error) {
      chunk.isDirty = true;
      throw error;
    }
  }

  /** Full chunks are done with; of the others only the last ones used are worth their memory. */
  #forget(): void {
    const clean = [...this.#open].filter(([, { isDirty }]) => !isDirty);
    const kept = clean.filter(([, { records }]) => records.size < itemsPerChunk).slice(-maxCleanChunks);
    for (const [number] of clean) {
      if (!kept.some(([keptNumber]) => keptNumber === number)) this.#open.delete(number);
    }
  }

  async #opened(number: number, signal: AbortSignal): Promise<OpenChunk> {
    const opened = this.#open.get(number) ?? { records: await this.#recorded(number, signal), isDirty: false };
    this.#open.delete(number);
    this.#open.set(number, opened);
    return opened;
  }

  async #recorded(number: number, signal: AbortSignal): Promise<Map<number, ItemRecord>> {
    const written = this.#chunks[number];
    const records = written == null ? [] : await readChunk(this.#store, this.#namespaceUid, written, signal);
    return new Map(records.map((record) => [record.index, record]));
  }

  async #put(value: Json, contentType: string, signal: AbortSignal): Promise<PayloadRef> {
    const payload = jsonPayload(value);
    const ref = await this.#store.put(this.#namespaceUid, payload, signal);
    return { ...ref, contentType };
  }
}

/** All recorded items in the order of their indices, a chunk in memory at a time. Throws PayloadLost when the manifest or a chunk is missing or corrupt. */
export async function* readItems(
  store: PayloadReader,
  namespaceUid: string,
  ref: PayloadRef,
  signal: AbortSignal,
): AsyncGenerator<ItemRecord, void> {
  const { chunks } = await readManifest(store, namespaceUid, ref, signal);
  for (const chunk of chunks) {
    if (chunk !== null) yield* await readChunk(store, namespaceUid, chunk, signal);
  }
}

/** The record of one item, at the price of one chunk; undefined while it is not recorded. Throws as `readItems` does. */
export async function readItem(
  store: PayloadReader,
  namespaceUid: string,
  ref: PayloadRef,
  index: number,
  signal: AbortSignal,
): Promise<ItemRecord | undefined> {
  const { chunks } = await readManifest(store, namespaceUid, ref, signal);
  const chunk = chunks[Math.floor(index / itemsPerChunk)];
  const records = chunk == null ? [] : await readChunk(store, namespaceUid, chunk, signal);
  return records.find((record) => record.index === index);
}

/** Every digest that a manifest keeps alive besides its own: its chunks', and their items' stored outputs and logs. For the sweep's marks. */
export async function* digestsOf(
  store: PayloadReader,
  namespaceUid: string,
  ref: PayloadRef,
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  const { chunks } = await readManifest(store, namespaceUid, ref, signal);
  for (const chunk of chunks) {
    if (chunk === null) continue;
    yield chunk.digest;
    for (const { output, log } of await readChunk(store, namespaceUid, chunk, signal)) {
      if (output?.payload !== undefined) yield output.payload.ref;
      if (log !== undefined) yield log.digest;
    }
  }
}

async function readManifest(
  store: PayloadReader,
  namespaceUid: string,
  ref: PayloadRef,
  signal: AbortSignal,
): Promise<Manifest> {
  const value = await readJson(store, namespaceUid, ref, signal);
  if (isManifest(value)) return value;
  throw new MillraceError("PayloadLost", `payload ${ref.digest} is not a manifest of items that this version can read`);
}

async function readChunk(
  store: PayloadReader,
  namespaceUid: string,
  chunk: ChunkRef,
  signal: AbortSignal,
): Promise<readonly ItemRecord[]> {
  const ref = { digest: chunk.digest, bytes: chunk.bytes, contentType: chunkType };
  const value = await readJson(store, namespaceUid, ref, signal);
  // The digest is verified and the writer is this file: what is an array is an array of records.
  if (Array.isArray(value)) return value as ItemRecord[];
  throw new MillraceError("PayloadLost", `payload ${ref.digest} is not a chunk of item records`);
}

async function readJson(
  store: PayloadReader,
  namespaceUid: string,
  ref: PayloadRef,
  signal: AbortSignal,
): Promise<unknown> {
  const bytes = await store.open(namespaceUid, ref).bytes(signal);
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new MillraceError("PayloadLost", `payload ${ref.digest} is not JSON, and its row says that it is`, { cause });
  }
}

function isManifest(value: unknown): value is Manifest {
  if (typeof value !== "object" || value === null) return false;
  const { kind, version, chunks } = value as Partial<Record<keyof Manifest, unknown>>;
  return kind === "millrace.dev/ItemManifest" && version === 1 && Array.isArray(chunks);
}
