import { LRUCache } from "lru-cache";
import { Flights } from "../../backends/flights.ts";
import type { Clock } from "../../engine/clock.ts";
import type { Client } from "../api/client.ts";
import { namespaces } from "../api/kinds.ts";

/**
 * How long a UID is believed, in milliseconds. A namespace that is deleted and made anew under its name has another one, and
 * what is stored under the dead one is lost. A second is less than it takes a cluster to delete a namespace and an Execution to
 * be created in the next one, and with it a namespace with a thousand short runs still costs one request a second at most.
 */
const believedForMs = 1_000;

/** The UIDs of namespaces, by name: the first part of a payload's place in the store. At most 1,000 are kept, for a second each. */
export class NamespaceUids {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #uids: LRUCache<string, string>;
  readonly #asking = new Flights<string>();

  constructor(client: Client, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
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
    return await this.#asking.join(namespace, (ownSignal) => this.#ask(namespace, ownSignal), signal);
  }

  async #ask(namespace: string, signal: AbortSignal): Promise<string> {
    // From before the question: the answer may be as old.
    const start = this.#clock.monotonic();
    const object = await this.#client.get(namespaces, { name: namespace }, signal);
    const uid = object.metadata.uid ?? "";
    this.#uids.set(namespace, uid, { start });
    return uid;
  }
}
