import type { Ports, Timer } from "../../engine/clock.ts";
import type { Client, KubernetesObject } from "../api/client.ts";
import { executions } from "../api/kinds.ts";
import { isNotFound } from "../runtime/api-errors.ts";
import type { Logger } from "../runtime/logger.ts";
import { isDigest } from "./digest.ts";
import type { NamespaceUids } from "./namespaces.ts";
import type { PayloadStore } from "./store.ts";
import { type SweepResult, sweep } from "./sweep.ts";

export interface PayloadSweeperOptions {
  readonly client: Client;
  readonly store: PayloadStore;
  readonly namespaces: NamespaceUids;
  readonly ports: Ports;
  readonly logger: Logger;
  /** From one sweep to the next, in milliseconds; default an hour. */
  readonly intervalMs?: number;
  /** How long an unnamed payload is kept, in milliseconds; default an hour: far longer than a write waits for its status. */
  readonly graceMs?: number;
}

const hourMs = 60 * 60 * 1000;

/**
 * Deletes, every hour, the payloads that no Execution names. It reads the Executions of all namespaces from the API
 * server, a page at a time: a copy in memory might be behind, and has no rows. Only one replica may sweep a store.
 */
export class PayloadSweeper implements AsyncDisposable {
  readonly #options: PayloadSweeperOptions;
  readonly #abort = new AbortController();
  #timer: Timer | undefined;
  #sweeping: Promise<unknown> = Promise.resolve();

  constructor(options: PayloadSweeperOptions) {
    this.#options = options;
  }

  /** The first sweep comes after one interval. */
  start(): void {
    const { ports, intervalMs = hourMs } = this.#options;
    this.#timer = ports.scheduler.after(intervalMs, () => void this.#tick(), { ref: false });
  }

  /** One sweep, now. Throws ApiError and MillraceError; then nothing that is named was deleted. */
  async sweepOnce(signal: AbortSignal): Promise<SweepResult> {
    const { ports, store, graceMs = hourMs } = this.#options;
    const markedAt = ports.clock.now();
    const marks = await this.#marks(signal);
    return await sweep(store, marks, { markedAt, graceMs }, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer?.cancel();
    this.#abort.abort(new Error("the sweep of the payload store was stopped"));
    await this.#sweeping;
  }

  async #tick(): Promise<void> {
    const { logger } = this.#options;
    const { signal } = this.#abort;
    this.#sweeping = this.sweepOnce(signal).then(
      (result) => logger.info({ ...result }, "swept the payload store"),
      (error: unknown) => {
        if (!signal.aborted) logger.warn({ err: error }, "the payload store was not swept; the next sweep tries again");
      },
    );
    await this.#sweeping;
    if (!signal.aborted) this.start();
  }

  async #marks(signal: AbortSignal): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
    const byName = new Map<string, Set<string>>();
    let token: string | undefined;
    do {
      const page = await this.#options.client.list(executions, token === undefined ? {} : { continue: token }, signal);
      for (const object of page.items) mark(object, byName);
      token = page.continue;
    } while (token !== undefined);
    return await this.#byUid(byName, signal);
  }

  async #byUid(
    byName: ReadonlyMap<string, Set<string>>,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Set<string>>> {
    const marks = new Map<string, Set<string>>();
    for (const [namespace, digests] of byName) {
      try {
        marks.set(await this.#options.namespaces.uidOf(namespace, signal), digests);
      } catch (error) {
        // Deleted in between, and its Executions with it.
        if (!isNotFound(error)) throw error;
      }
    }
    return marks;
  }
}

function mark(object: KubernetesObject, byName: Map<string, Set<string>>): void {
  const namespace = object.metadata.namespace ?? "";
  const digests = byName.get(namespace) ?? new Set<string>();
  byName.set(namespace, digests);
  const visit = (value: unknown): void => {
    if (typeof value === "string" && isDigest(value)) digests.add(value);
    else if (typeof value === "object" && value !== null) for (const member of Object.values(value)) visit(member);
  };
  // Whatever looks like a digest counts, wherever it stands: what is kept too long does no harm.
  visit(object.status);
}
