import { MillraceError } from "../../engine/errors.ts";
import { BytesPayload, type Payload } from "../../engine/payload.ts";
import type { PayloadRow } from "../api/types.ts";
import type { NamespaceUids } from "../payloads/namespaces.ts";
import type { PayloadRef, PayloadStore } from "../payloads/store.ts";
import { inlineValue, maxInlineBytes, maxInlineTotalBytes, payloadOf, storedValue } from "./values.ts";

const maxContentTypeLength = 256;

/** The payloads of one run: which are in the status, which in the store. A row that this gives names nothing that is not durable. */
export class RunPayloads {
  readonly #store: PayloadStore;
  readonly #namespaces: NamespaceUids;
  readonly #namespace: string;
  /** What is known to be in the store. */
  readonly #stored = new WeakMap<Payload, PayloadRef>();
  /** A run's namespace does not change as long as the run is there: it is asked for once, and an outage later stops no step. */
  #namespaceUid: string | undefined;
  #inlineBytes = 0;

  constructor(store: PayloadStore, namespaces: NamespaceUids, namespace: string) {
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
    if (payload instanceof BytesPayload) return inlineValue(payload);
    return payload.bytes(signal).then((bytes) => inlineValue(new BytesPayload(bytes, payload.contentType)));
  }

  /** A recorded payload again; what is inline counts towards what may be. */
  async open(row: PayloadRow, signal: AbortSignal): Promise<Payload> {
    const uid = row.payload === undefined ? "" : await this.#uid(signal);
    const payload = payloadOf(row, (ref) => this.#handle(uid, ref));
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
