import { LRUCache } from "lru-cache";
import type { Clock } from "../../engine/clock.ts";
import type { Client } from "../api/client.ts";
import { namespaces } from "../api/kinds.ts";
import { Flights } from "./flights.ts";

/** How long a UID is believed: a namespace that is deleted and made anew under its name has another one. In milliseconds. */
const believedForMs = 30_000;

/** The UIDs of namespaces, by name: the first part of a payload's place in the store. At most 1,000 are kept, for 30 s each. */
export class NamespaceUids {
  readonly #client: Client;
  readonly #uids: LRUCache<string, string>;
  readonly #asking = new Flights<string>();

  constructor(client: Client, clock: Clock) {
    this.#client = client;
    this.#uids = new LRUCache({
      max: 1_000,
      ttl: believedForMs,
      perf: { now: () => clock.monotonic() },
      ttlResolution: 0,
    });
  }

  /** Throws ApiError; 404 when there is no such namespace. Whoever asks at the same time shares the answer, and nobody's hanging up. */
  async uidOf(namespace: string, signal: AbortSignal): Promise<string> {
    const known = this.#uids.get(namespace);
    if (known !== undefined) return known;
    return await this.#asking.board(namespace, (ownSignal) => this.#ask(namespace, ownSignal), signal);
  }

  async #ask(namespace: string, signal: AbortSignal): Promise<string> {
    const object = await this.#client.get(namespaces, { name: namespace }, signal);
    const uid = object.metadata.uid ?? "";
    this.#uids.set(namespace, uid);
    return uid;
  }
}
