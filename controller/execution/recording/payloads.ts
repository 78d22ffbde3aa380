import { MillraceError } from "../../../engine/errors.ts";
import { type Metadata, metadataBytes, noMetadata } from "../../../engine/metadata.ts";
import { BytesPayload, jsonPayload, jsonType, type Payload, textPayload } from "../../../engine/payload.ts";
import type { PayloadRef as PayloadRefRow, PayloadRow, StepRow } from "../../api/types.ts";
import { type ItemRecord, ManifestWriter, manifestRef, readItems } from "../../payloads/manifest.ts";
import type { NamespaceUids } from "../../payloads/namespaces.ts";
import type { PayloadRecord, PayloadRef, PayloadStore } from "../../payloads/store.ts";
import { inlineValue, maxInlineBytes, maxInlineTotalBytes, payloadOf, storedValue } from "./values.ts";

const maxContentTypeLength = 256;

/** Metadata up to this size is in the row itself; in bytes. */
const maxInlineMetadataBytes = 1024;

/** What the metadata in one status may take together; in bytes. */
const maxInlineMetadataTotalBytes = 64 * 1024;

/** How a row holds metadata. */
export type MetadataRow = Pick<StepRow, "metadata" | "metadataPayload">;

/** The payloads of one run: which are in the status, which in the store. A row that this gives names nothing that is not durable. */
export class RunPayloads {
  readonly #store: PayloadStore;
  readonly #namespaces: Pick<NamespaceUids, "uidOf">;
  readonly #namespace: string;
  /** What is known to be in the store. */
  readonly #stored = new WeakMap<Payload, PayloadRef>();
  /** A run's namespace does not change as long as the run is there: it is asked for once, and an outage later stops no step. */
  #namespaceUid: string | undefined;
  #inlineBytes = 0;
  #inlineMetadataBytes = 0;

  constructor(store: PayloadStore, namespaces: Pick<NamespaceUids, "uidOf">, namespace: string) {
    this.#store = store;
    this.#namespaces = namespaces;
    this.#namespace = namespace;
  }

  /**
   * What a run should hold instead of a step's output: a large one goes to the store at once, so that no run keeps it in
   * memory, and a full disk is this attempt's error. Throws MillraceError.
   */
  async keep(payload: Payload, signal: AbortSignal): Promise<Payload> {
    if (payload.contentType.length > maxContentTypeLength) {
      const size = `${payload.contentType.length} characters, and the limit is ${maxContentTypeLength}`;
      throw new MillraceError("ProcessorFailed", `the processor gave a content type of ${size}`);
    }
    if (payload.size <= maxInlineBytes || this.#stored.has(payload)) return payload;
    const ref = await this.#put(payload, signal);
    return this.#handle(await this.#uid(signal), ref);
  }

  /** How the status holds the payload: at once where it goes inline or is stored already, else when it is durable. */
  row(payload: Payload, signal: AbortSignal): PayloadRow | Promise<PayloadRow> {
    const stored = this.#stored.get(payload);
    if (stored !== undefined) return storedValue(stored);
    const fits = payload.size <= maxInlineBytes && this.#inlineBytes + payload.size <= maxInlineTotalBytes;
    if (!fits) return this.#put(payload, signal).then(storedValue);
    this.#inlineBytes += payload.size;
    return inline(payload, signal);
  }

  /** How an item's record holds its output: a small one as a value, however many there are. */
  itemRow(payload: Payload, signal: AbortSignal): PayloadRow | Promise<PayloadRow> {
    const stored = this.#stored.get(payload);
    if (stored !== undefined) return storedValue(stored);
    return payload.size > maxInlineBytes ? this.#put(payload, signal).then(storedValue) : inline(payload, signal);
  }

  /** How the status holds metadata: at once where it goes inline, else when it is durable. */
  metadataRow(metadata: Metadata, signal: AbortSignal): MetadataRow | Promise<MetadataRow> {
    const bytes = metadataBytes(metadata);
    if (bytes === 0) return {};
    const fits = bytes <= maxInlineMetadataBytes && this.#inlineMetadataBytes + bytes <= maxInlineMetadataTotalBytes;
    if (!fits) return this.#put(jsonPayload(metadata), signal).then((ref) => ({ metadataPayload: refRow(ref) }));
    this.#inlineMetadataBytes += bytes;
    return { metadata };
  }

  /** Text that the status names and nobody receives: a log, a message that is cut. Throws MillraceError. */
  async text(text: string, signal: AbortSignal): Promise<PayloadRef> {
    return await this.#put(textPayload(text), signal);
  }

  /** A manifest to write, or to go on with. Throws MillraceError. */
  async manifest(recorded: PayloadRefRow | undefined, signal: AbortSignal): Promise<ManifestWriter> {
    const uid = await this.#uid(signal);
    if (recorded === undefined) return ManifestWriter.empty(this.#store, uid);
    return await ManifestWriter.resume(this.#store, uid, manifestRef(recorded), signal);
  }

  /** All records of a recorded manifest. Throws MillraceError. */
  async *items(recorded: PayloadRefRow, signal: AbortSignal): AsyncGenerator<ItemRecord, void> {
    yield* readItems(this.#store, await this.#uid(signal), manifestRef(recorded), signal);
  }

  /** The payload of another run's row, or of an item's record: it counts towards nothing. Throws MillraceError. */
  async borrow(row: PayloadRow, signal: AbortSignal): Promise<Payload> {
    const uid = row.payload === undefined ? "" : await this.#uid(signal);
    return payloadOf(row, (ref) => this.#handle(uid, ref));
  }

  /** A payload by its digest, with the size that the store knows; undefined: it is not there. Throws MillraceError. */
  async find(digest: string, contentType: string, signal: AbortSignal): Promise<Payload | undefined> {
    const uid = await this.#uid(signal);
    const bytes = await this.#store.stat(uid, digest, signal);
    return bytes === undefined ? undefined : this.#handle(uid, { digest, bytes, contentType });
  }

  /** Whether what the row names is in the store still, intact; from then on the sweep leaves it alone for its grace period. */
  async isIntact({ payload }: PayloadRow, signal: AbortSignal): Promise<boolean> {
    if (payload === undefined) return true;
    const { ref: digest, bytes } = payload;
    return await this.#store.verify(await this.#uid(signal), { digest, bytes }, signal);
  }

  /** See `RecordStore`. Throws MillraceError. */
  async recall(key: string, signal: AbortSignal): Promise<PayloadRecord | undefined> {
    return await this.#store.getRecord(await this.#uid(signal), key, signal);
  }

  async remember(key: string, record: PayloadRecord, signal: AbortSignal): Promise<void> {
    await this.#store.putRecord(await this.#uid(signal), key, record, signal);
  }

  /** Recorded metadata again; what is inline counts towards what may be. Throws MillraceError PayloadLost. */
  async openMetadata(row: MetadataRow, signal: AbortSignal): Promise<Metadata> {
    this.#inlineMetadataBytes += metadataBytes(row.metadata ?? noMetadata);
    return await this.borrowMetadata(row, signal);
  }

  /** That of another run's row: it counts towards nothing. Throws MillraceError PayloadLost. */
  async borrowMetadata({ metadata, metadataPayload }: MetadataRow, signal: AbortSignal): Promise<Metadata> {
    if (metadataPayload === undefined) return metadata ?? noMetadata;
    const { ref: digest, bytes } = metadataPayload;
    const stored = this.#store.open(await this.#uid(signal), { digest, bytes, contentType: jsonType });
    // The digest is verified, and the writer is `metadataRow`.
    return JSON.parse(new TextDecoder().decode(await stored.bytes(signal))) as Metadata;
  }

  /** A recorded payload again; what is inline counts towards what may be. */
  async open(row: PayloadRow, signal: AbortSignal): Promise<Payload> {
    const payload = await this.borrow(row, signal);
    if (row.payload === undefined) this.#inlineBytes += payload.size;
    return payload;
  }

  #handle(uid: string, ref: PayloadRef): Payload {
    const handle = this.#store.open(uid, ref);
    this.#stored.set(handle, ref);
    return handle;
  }

  async #put(payload: Payload, signal: AbortSignal): Promise<PayloadRef> {
    const ref = await this.#store.put(await this.#uid(signal), payload, signal);
    this.#stored.set(payload, ref);
    return ref;
  }

  async #uid(signal: AbortSignal): Promise<string> {
    try {
      this.#namespaceUid ??= await this.#namespaces.uidOf(this.#namespace, signal);
      return this.#namespaceUid;
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      const message = `the UID of namespace ${this.#namespace}, where payloads are stored, could not be read`;
      throw new MillraceError("Unavailable", message, { cause });
    }
  }
}

/** As a status names it. */
export function refRow({ digest, bytes }: PayloadRef): PayloadRefRow {
  return { ref: digest, bytes };
}

/** As a value, at once where its bytes are in memory. */
function inline(payload: Payload, signal: AbortSignal): PayloadRow | Promise<PayloadRow> {
  if (payload instanceof BytesPayload) return inlineValue(payload);
  return payload.bytes(signal).then((bytes) => inlineValue(new BytesPayload(bytes, payload.contentType)));
}
