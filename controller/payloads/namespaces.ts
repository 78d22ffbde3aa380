import { LRUCache } from "lru-cache";
import type { Clock } from "../../engine/clock.ts";
import type { Client } from "../api/client.ts";
import { namespaces } from "../api/kinds.ts";

/** How long a UID is believed: a namespace that is deleted and made anew under its name has another one. In milliseconds. */
const believedForMs = 30_000;

/** The UIDs of namespaces, by name: the first part of a payload's place in the store. At most 1,000 are kept, for 30 s each. */
export class NamespaceUids {
  readonly #client: Client;
  readonly #uids: LRUCache<string, Promise<string>>;

  constructor(client: Client, clock: Clock) {
    this.#client = client;
    this.#uids = new LRUCache({
      max: 1_000,
      ttl: believedForMs,
      perf: { now: () => clock.monotonic() },
      ttlResolution: 0,
    });
  }

  /** Throws ApiError; 404 when there is no such namespace. */
  async uidOf(namespace: string, signal: AbortSignal): Promise<string> {
    const known = this.#uids.get(namespace);
    if (known !== undefined) return await known;
    const asked = this.#ask(namespace, signal);
    this.#uids.set(namespace, asked);
    try {
      return await asked;
    } catch (error) {
      if (this.#uids.peek(namespace) === asked) this.#uids.delete(namespace);
      throw error;
    }
  }

  async #ask(namespace: string, signal: AbortSignal): Promise<string> {
    const object = await this.#client.get(namespaces, { name: namespace }, signal);
    return object.metadata.uid ?? "";
  }
}
