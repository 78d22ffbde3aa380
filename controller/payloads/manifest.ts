import { MillraceError } from "../../engine/errors.ts";
import type { Metadata } from "../../engine/metadata.ts";
import type { StepError, StepState } from "../../engine/outcome.ts";
import { type Json, jsonPayload } from "../../engine/payload.ts";
import type { PayloadRef, PayloadStore } from "./store.ts";

/** One item of a fan-out that has ended, or that a writer wants to be remembered as it stands. */
export interface ItemRecord {
  /** From 0. */
  readonly index: number;
  readonly state: StepState;
  readonly attempts: number;
  readonly output?: PayloadRef;
  readonly metadata?: Metadata;
  readonly error?: StepError;
}

/** Items per chunk: chunk `n` holds the items from `n * 256` on. */
export const itemsPerChunk = 256;

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

/**
 * The results of a fan-out, written as they come in: `add` remembers, `flush` makes durable. Chunks and manifests are
 * immutable, so a status that names an older manifest stays right whatever is written after it.
 */
export class ManifestWriter {
  readonly #store: PayloadStore;
  readonly #namespaceUid: string;
  readonly #chunks: (ChunkRef | null)[] = [];
  /** Chunks that were added to since the last flush, whole, by number and then index. */
  readonly #open = new Map<number, Map<number, ItemRecord>>();

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
      chunk.set(record.index, record);
    }
  }

  /** Writes the chunks that changed, then the manifest that names all of them. Durable when it resolves. */
  async flush(signal: AbortSignal): Promise<PayloadRef> {
    for (const [number, records] of this.#open) {
      const items = [...records.values()].sort((a, b) => a.index - b.index);
      const { digest, bytes } = await this.#put(items as unknown as Json, chunkType, signal);
      this.#chunks[number] = { digest, bytes, items: items.length };
    }
    this.#open.clear();
    const chunks = Array.from(this.#chunks, (chunk) => chunk ?? null);
    const manifest: Manifest = { kind: "millrace.dev/ItemManifest", version: 1, chunks };
    return await this.#put(manifest as unknown as Json, manifestType, signal);
  }

  async #opened(number: number, signal: AbortSignal): Promise<Map<number, ItemRecord>> {
    const open = this.#open.get(number);
    if (open !== undefined) return open;
    const written = this.#chunks[number];
    const records = written == null ? [] : await readChunk(this.#store, this.#namespaceUid, written, signal);
    const opened = new Map(records.map((record) => [record.index, record]));
    this.#open.set(number, opened);
    return opened;
  }

  async #put(value: Json, contentType: string, signal: AbortSignal): Promise<PayloadRef> {
    const payload = jsonPayload(value);
    const ref = await this.#store.put(this.#namespaceUid, payload, signal);
    return { ...ref, contentType };
  }
}

/** All recorded items in the order of their indices, a chunk in memory at a time. Throws PayloadLost when the manifest or a chunk is missing or corrupt. */
export async function* readItems(
  store: PayloadStore,
  namespaceUid: string,
  ref: PayloadRef,
  signal: AbortSignal,
): AsyncGenerator<ItemRecord, void> {
  const { chunks } = await readManifest(store, namespaceUid, ref, signal);
  for (const chunk of chunks) {
    if (chunk !== null) yield* await readChunk(store, namespaceUid, chunk, signal);
  }
}

/** Every digest that a manifest keeps alive besides its own: its chunks' and their items' outputs. For the sweep's marks. */
export async function* digestsOf(
  store: PayloadStore,
  namespaceUid: string,
  ref: PayloadRef,
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  const { chunks } = await readManifest(store, namespaceUid, ref, signal);
  for (const chunk of chunks) {
    if (chunk === null) continue;
    yield chunk.digest;
    for (const { output } of await readChunk(store, namespaceUid, chunk, signal)) {
      if (output !== undefined) yield output.digest;
    }
  }
}

async function readManifest(
  store: PayloadStore,
  namespaceUid: string,
  ref: PayloadRef,
  signal: AbortSignal,
): Promise<Manifest> {
  const value = await readJson(store, namespaceUid, ref, signal);
  if (isManifest(value)) return value;
  throw new MillraceError("PayloadLost", `payload ${ref.digest} is not a manifest of items that this version can read`);
}

async function readChunk(
  store: PayloadStore,
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
  store: PayloadStore,
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
