import { Flights } from "../../backends/flights.ts";
import type { Ports } from "../../engine/clock.ts";
import type { Client } from "../api/client.ts";
import { executions } from "../api/kinds.ts";
import type { Execution } from "../api/types.ts";
import type { Logger } from "../runtime/logger.ts";
import { runPeriodically } from "../runtime/periodic.ts";
import { digestsOf, manifestRef } from "./manifest.ts";
import type { NamespaceUids } from "./namespaces.ts";
import type { PayloadStore } from "./store.ts";
import { sweep } from "./sweep.ts";

export interface PayloadSweepOptions {
  readonly client: Client;
  readonly ports: Ports;
  readonly logger: Logger;
  readonly store: PayloadStore;
  readonly uids: NamespaceUids;
  /** Empty: all. Else nothing of other namespaces is touched: other controllers may share the store. */
  readonly namespaces: readonly string[];
  /** Between two sweeps, give or take a tenth, in milliseconds; default one hour. */
  readonly intervalMs?: number;
  /** What was touched within that time stays, in milliseconds; default one hour: longer than any status write may be late. */
  readonly graceMs?: number;
}

const defaultMs = 60 * 60_000;

/**
 * Between two sweeps of a full store, in milliseconds. Where it is full of what is needed a sweep finds nothing, and costs a list
 * of all Executions: each that finds nothing doubles the time to the next, so that a full namespace is no burden to the others.
 */
const betweenEarlyMs = { least: 60_000, most: 15 * 60_000 } as const;

/** An Execution's rows may take half a megabyte: few at a time. */
const pageSize = 50;

/** What Executions name. */
interface Gathered {
  readonly marks: Map<string, Set<string>>;
  /** UIDs of namespaces of which not all marks are known: nothing is deleted there. */
  readonly spared: Set<string>;
}

/** Deletes payloads that neither an Execution nor a record names, and records that have expired. */
export class PayloadSweeper {
  readonly #options: PayloadSweepOptions;
  /** Gives how many payloads were deleted. */
  readonly #sweeping = new Flights<number>();
  /** On the monotonic clock. */
  #nextEarlyMs = -Infinity;
  #betweenEarlyMs: number = betweenEarlyMs.least;

  constructor(options: PayloadSweepOptions) {
    this.#options = options;
  }

  /** Sweeps again and again until `signal` aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { ports, logger, intervalMs = defaultMs } = this.#options;
    const failure = "old payloads could not be cleaned up";
    await runPeriodically((own) => this.sweep(own), { ports, logger, intervalMs, failure }, signal);
  }

  /**
   * For a store that is full: who asks while a sweep is under way waits for that; at most one a minute, and fewer while they
   * find nothing. Throws as `sweep` does.
   */
  async sweepEarly(signal: AbortSignal): Promise<void> {
    const { ports, logger } = this.#options;
    const nowMs = ports.clock.monotonic();
    if (nowMs < this.#nextEarlyMs) {
      if (this.#sweeping.isBusy) await this.sweep(signal);
      return;
    }
    this.#nextEarlyMs = nowMs + this.#betweenEarlyMs;
    logger.info({}, "the payload store is full: cleans up before its time");
    const deleted = await this.#board(signal);
    const { least, most } = betweenEarlyMs;
    this.#betweenEarlyMs = deleted > 0 ? least : Math.min(most, 2 * this.#betweenEarlyMs);
    this.#nextEarlyMs = nowMs + this.#betweenEarlyMs;
  }

  /** Throws ApiError, MillraceError. */
  async sweep(signal: AbortSignal): Promise<void> {
    await this.#board(signal);
  }

  #board(signal: AbortSignal): Promise<number> {
    return this.#sweeping.join("sweep", (own) => this.#sweep(own), signal);
  }

  async #sweep(signal: AbortSignal): Promise<number> {
    const { ports, store, logger, graceMs = defaultMs } = this.#options;
    const markedAt = ports.clock.now();
    const gathered = await gatherMarks(this.#options, signal);
    const within = scoped(this.#options, gathered);
    for await (const uid of within.namespaces(signal)) {
      const marked = marksOf(gathered, uid);
      for await (const { payloads } of store.records(uid, markedAt, signal)) markDigests(payloads, marked);
    }
    const swept = await sweep(within, gathered.marks, { markedAt, graceMs }, signal);
    await store.count(signal);
    if (swept.deleted > 0) logger.info({ ...swept }, "cleaned up payloads that no Execution names");
    return swept.deleted;
  }
}

/** The digests that Executions name, by namespace UID. */
async function gatherMarks(options: PayloadSweepOptions, signal: AbortSignal): Promise<Gathered> {
  const gathered: Gathered = { marks: new Map(), spared: new Set() };
  for (const namespace of options.namespaces) marksOf(gathered, await options.uids.uidOf(namespace, signal));
  for (const namespace of options.namespaces.length === 0 ? [undefined] : options.namespaces) {
    let page: string | undefined;
    do {
      const scope = namespace === undefined ? {} : { namespace };
      const at = page === undefined ? {} : { continue: page };
      const answer = await options.client.list(executions, { limit: pageSize, ...scope, ...at }, signal);
      for (const object of answer.items) await markExecution(options, object as Execution, gathered, signal);
      page = answer.continue;
    } while (page !== undefined);
  }
  return gathered;
}

async function markExecution(
  options: PayloadSweepOptions,
  { metadata, spec, status }: Execution,
  gathered: Gathered,
  signal: AbortSignal,
): Promise<void> {
  const uid = await options.uids.uidOf(metadata.namespace ?? "", signal);
  const marked = marksOf(gathered, uid);
  markDigests(spec?.input?.payload, marked);
  markDigests(status, marked);
  for (const { name, items } of status?.steps ?? []) {
    if (items?.results === undefined) continue;
    try {
      const ref = manifestRef(items.results);
      for await (const digest of digestsOf(options.store, uid, ref, signal)) marked.add(digest);
    } catch (err) {
      signal.throwIfAborted();
      gathered.spared.add(uid);
      const where = { namespace: metadata.namespace, execution: metadata.name, step: name };
      const message =
        "a fan-out's results cannot be read: no payload of its namespace is cleaned up until that Execution is deleted";
      options.logger.warn({ err, ...where }, message);
    }
  }
}

function marksOf({ marks }: Gathered, uid: string): Set<string> {
  const marked = marks.get(uid) ?? new Set();
  marks.set(uid, marked);
  return marked;
}

/** Every digest, wherever the status has one: one too many keeps a payload a little longer, one too few loses it. */
function markDigests(value: unknown, marked: Set<string>): void {
  if (typeof value === "string") {
    if (value.startsWith("sha256:")) marked.add(value);
  } else if (typeof value === "object" && value !== null) {
    for (const child of Object.values(value)) markDigests(child, marked);
  }
}

function scoped(
  { store, namespaces }: PayloadSweepOptions,
  { marks, spared }: Gathered,
): Pick<PayloadStore, "namespaces" | "list" | "delete"> {
  return {
    async *namespaces(signal) {
      // Those that were asked for have marks already.
      const asked = namespaces.length === 0 ? undefined : new Set(marks.keys());
      for await (const uid of store.namespaces(signal)) {
        if (!spared.has(uid) && (asked?.has(uid) ?? true)) yield uid;
      }
    },
    list: (uid, signal) => store.list(uid, signal),
    delete: (uid, digest, touchedBefore, signal) => store.delete(uid, digest, touchedBefore, signal),
  };
}
