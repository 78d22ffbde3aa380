import { type Ports, sleep, type Timer } from "../../engine/clock.ts";
import { ApiError, type Client, type KubernetesObject, type Resource, type WatchEvent } from "../api/client.ts";
import { isGone } from "./api-errors.ts";
import { type BackoffPolicy, backoffMs } from "./backoff.ts";
import type { Logger } from "./logger.ts";
import { type Metrics, noMetrics } from "./metrics.ts";
import { keyOf, type ObjectKey } from "./object-key.ts";
import { type Indexer, type Lister, ObjectStore } from "./object-store.ts";
import { isOlder } from "./resource-version.ts";

export interface ReflectorOptions {
  readonly client: Client;
  readonly resource: Resource;
  readonly ports: Ports;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** Default: all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** By which `byIndex` finds objects. */
  readonly indexers?: Readonly<Record<string, Indexer>>;
  /** What is kept of an object: leaves out what nobody reads. It must keep the metadata's name, namespace, uid and resourceVersion. Default: all of it. */
  readonly transform?: (object: KubernetesObject) => KubernetesObject;
  /** Every known key is handed to the handlers that often, in case one was mishandled. In milliseconds, default 10 hours. */
  readonly resyncMs?: number;
}

/** Only gets the key: what is so is read from the store when it is looked at. Must not throw. */
export type ChangeHandler = (key: ObjectKey) => void;

/** client-go's. */
const retryPolicy: BackoffPolicy = { initialMs: 800, factor: 2, maxMs: 30_000, jitter: 1 };

const defaultResyncMs = 10 * 60 * 60 * 1000;

/** Bookmarks come once a minute: a watch that is silent for longer than two of them hangs. */
const silenceMs = 150_000;

/** A watch that ends sooner than this without an event counts as failed, so that a server in trouble is not hammered. */
const shortWatchMs = 1_000;

/** One run between `start` and `stop`. A run that is no longer the current one changes nothing any more. */
interface Run {
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

/**
 * A live copy of one kind's objects: list by pages, then watch with bookmarks, and a fresh list only when the server says
 * 410 Gone. It survives whatever the server does, with jittered backoff and Retry-After. Deletions that a broken watch hid
 * are noticed by the next list.
 */
export class Reflector implements Lister, AsyncDisposable {
  /** Resolves after the first complete list; rejects when stopped before. */
  readonly synced: Promise<void>;
  readonly #options: ReflectorOptions;
  readonly #metrics: Metrics;
  readonly #store: ObjectStore;
  readonly #handlers = new Set<ChangeHandler>();
  readonly #firstList = Promise.withResolvers<void>();
  /** Results of own writes that the watch has not shown yet: older events of these objects are skipped. */
  readonly #ahead = new Map<ObjectKey, string>();
  #run: Run | undefined;
  #hasSynced = false;
  #resourceVersion = "";
  #heardAtMs: number;
  /** In a row, without an event between them. */
  #failures = 0;

  constructor(options: ReflectorOptions) {
    this.#options = options;
    this.#metrics = options.metrics ?? noMetrics;
    this.#store = new ObjectStore(options.indexers);
    this.#heardAtMs = options.ports.clock.monotonic();
    this.synced = this.#firstList.promise;
    // Nobody has to wait for it: a rejection without a listener would end the process.
    this.synced.catch(() => {});
  }

  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  get size(): number {
    return this.#store.size;
  }

  get(key: ObjectKey): KubernetesObject | undefined {
    return this.#store.get(key);
  }

  list(): Iterable<KubernetesObject> {
    return this.#store.list();
  }

  byIndex(index: string, value: string): Iterable<KubernetesObject> {
    return this.#store.byIndex(index, value);
  }

  /** Milliseconds since the server was last heard: an answer, an event or a bookmark. */
  silentMs(): number {
    return this.#options.ports.clock.monotonic() - this.#heardAtMs;
  }

  /** Called for each added, changed or deleted object, own writes' events included. Returns how to stop it. */
  onChange(handler: ChangeHandler): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /** Puts the answer of an own write into the store, so that the next read sees it; older events no longer take it back. */
  observe(object: KubernetesObject): void {
    const version = object.metadata.resourceVersion ?? "";
    // What the watch has already passed it has already shown; if the object is not there, it was deleted since.
    if (!isOlder(this.#resourceVersion, version)) return;
    const key = keyOf(object);
    if (isOlder(version, this.#store.get(key)?.metadata.resourceVersion ?? "")) return;
    this.#ahead.set(key, version);
    this.#store.set(object);
  }

  /** Throws when it runs already. */
  start(): void {
    if (this.#run) throw new Error(`the reflector of ${this.#options.resource.plural} runs already`);
    const abort = new AbortController();
    this.#heardAtMs = this.#options.ports.clock.monotonic();
    this.#run = { abort, ended: this.#loop(abort.signal) };
  }

  /** Idempotent; it may be started again and goes on from what it knows. */
  async stop(): Promise<void> {
    const run = this.#run;
    this.#run = undefined;
    run?.abort.abort(new Error(`the reflector of ${this.#options.resource.plural} was stopped`));
    await run?.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.#firstList.reject(
      new Error(`the reflector of ${this.#options.resource.plural} was stopped before it was synced`),
    );
  }

  async #loop(signal: AbortSignal): Promise<void> {
    const resync = this.#scheduleResync(signal);
    this.#failures = 0;
    while (!signal.aborted) {
      try {
        if (this.#resourceVersion === "") await this.#relist(signal);
        if (await this.#watch(signal)) this.#failures = 0;
        else await this.#pause(undefined, signal);
      } catch (error) {
        if (!signal.aborted) await this.#recover(error, signal);
      }
    }
    resync.cancel();
  }

  /** Waits as the error asks. Never rejects: when the signal aborts, the loop ends anyway. */
  async #recover(error: unknown, signal: AbortSignal): Promise<void> {
    const { resource, logger } = this.#options;
    const gone = needsList(error);
    this.#metrics.watchRestarted(resource.plural, gone ? "Gone" : "Error");
    if (gone) this.#resourceVersion = "";
    // The first 410 is everyday life after a quiet hour; a second in a row is not.
    if (gone && this.#failures === 0) {
      this.#failures = 1;
      return;
    }
    logger.warn({ resource: resource.plural, failures: this.#failures + 1, err: error }, "list or watch failed");
    await this.#pause(retryAfterOf(error), signal);
  }

  async #pause(retryAfterMs: number | undefined, signal: AbortSignal): Promise<void> {
    const { scheduler, random } = this.#options.ports;
    const delayMs = backoffMs(retryPolicy, this.#failures++, random, retryAfterMs);
    await sleep(delayMs, scheduler, signal).catch(() => {});
  }

  async #relist(signal: AbortSignal): Promise<void> {
    const { client, resource } = this.#options;
    const seen = new Set<ObjectKey>();
    // A list is a consistent read: it has every write that was answered before it began.
    this.#ahead.clear();
    let token: string | undefined;
    let version = "";
    do {
      const page = await client.list(
        resource,
        { ...this.#scope(), ...(token === undefined ? {} : { continue: token }) },
        signal,
      );
      signal.throwIfAborted();
      this.#heard();
      for (const object of page.items) {
        seen.add(keyOf(object));
        this.#put(object);
      }
      version = page.resourceVersion;
      token = page.continue;
    } while (token !== undefined);
    this.#forgetUnlisted(seen, version);
    this.#advance(version);
    this.#hasSynced = true;
    this.#firstList.resolve();
  }

  #forgetUnlisted(seen: ReadonlySet<ObjectKey>, listVersion: string): void {
    for (const key of this.#store.keys()) {
      const ahead = this.#ahead.get(key);
      const writtenSince = ahead !== undefined && isOlder(listVersion, ahead);
      if (!seen.has(key) && !writtenSince) this.#remove(key);
    }
  }

  /** One watch until it ends. Gives whether it was of any use. Throws what went wrong. */
  async #watch(signal: AbortSignal): Promise<boolean> {
    const { client, resource, ports, logger } = this.#options;
    const silence = new SilenceGuard(ports, signal);
    const startedMs = ports.clock.monotonic();
    const timeoutSeconds = Math.round(300 + 300 * ports.random());
    let events = 0;
    try {
      const options = { ...this.#scope(), resourceVersion: this.#resourceVersion, timeoutSeconds };
      for await (const event of client.watch(resource, options, silence.signal)) {
        signal.throwIfAborted();
        silence.restart();
        this.#apply(event);
        events++;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!silence.signal.aborted) throw error;
      logger.warn({ resource: resource.plural }, "the watch went silent and is begun anew");
    } finally {
      silence.release();
    }
    this.#metrics.watchRestarted(resource.plural, "Ended");
    return events > 0 || ports.clock.monotonic() - startedMs >= shortWatchMs;
  }

  #apply(event: WatchEvent): void {
    this.#heard();
    if (event.type === "ERROR") throw new ApiError(event.status);
    this.#failures = 0;
    if (event.type === "BOOKMARK") {
      this.#advance(event.resourceVersion);
      return;
    }
    const version = event.object.metadata.resourceVersion ?? "";
    if (event.type === "DELETED") this.#delete(event.object, version);
    else this.#put(event.object);
    this.#advance(version);
  }

  #put(object: KubernetesObject): void {
    const key = keyOf(object);
    const version = object.metadata.resourceVersion ?? "";
    const ahead = this.#ahead.get(key);
    if (ahead !== undefined && isOlder(version, ahead)) return;
    this.#ahead.delete(key);
    const known = this.#store.get(key);
    if (known !== undefined && known.metadata.resourceVersion === version && ahead === undefined) return;
    this.#store.set(this.#options.transform?.(object) ?? object);
    this.#notify(key);
  }

  #delete(object: KubernetesObject, version: string): void {
    const key = keyOf(object);
    const ahead = this.#ahead.get(key);
    // The name was deleted and made anew by us: the deletion is of the one before.
    if (ahead !== undefined && isOlder(version, ahead)) return;
    this.#remove(key);
  }

  #remove(key: ObjectKey): void {
    this.#ahead.delete(key);
    if (this.#store.get(key) === undefined) return;
    this.#store.delete(key);
    this.#notify(key);
  }

  #advance(version: string): void {
    if (isOlder(this.#resourceVersion, version)) this.#resourceVersion = version;
  }

  #heard(): void {
    this.#heardAtMs = this.#options.ports.clock.monotonic();
  }

  #notify(key: ObjectKey): void {
    for (const handler of this.#handlers) handler(key);
  }

  #scope(): { namespace?: string; labelSelector?: string; fieldSelector?: string } {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    return {
      ...(namespace === undefined ? {} : { namespace }),
      ...(labelSelector === undefined ? {} : { labelSelector }),
      ...(fieldSelector === undefined ? {} : { fieldSelector }),
    };
  }

  #scheduleResync(signal: AbortSignal): Timer {
    const { scheduler } = this.#options.ports;
    const resyncMs = this.#options.resyncMs ?? defaultResyncMs;
    const resync = () => {
      if (signal.aborted) return;
      for (const key of this.#store.keys()) this.#notify(key);
      timer = scheduler.after(resyncMs, resync, { ref: false });
    };
    let timer = scheduler.after(resyncMs, resync, { ref: false });
    return { cancel: () => timer.cancel() };
  }
}

/** Aborts when nothing was heard for too long, or with its parent. */
class SilenceGuard {
  readonly #ports: Ports;
  readonly #parent: AbortSignal;
  readonly #abort = new AbortController();
  readonly #onAbort = () => this.#abort.abort(this.#parent.reason);
  #timer: Timer;

  constructor(ports: Ports, parent: AbortSignal) {
    this.#ports = ports;
    this.#parent = parent;
    if (parent.aborted) this.#onAbort();
    else parent.addEventListener("abort", this.#onAbort, { once: true });
    this.#timer = this.#arm();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  restart(): void {
    this.#timer.cancel();
    this.#timer = this.#arm();
  }

  release(): void {
    this.#timer.cancel();
    this.#parent.removeEventListener("abort", this.#onAbort);
  }

  #arm(): Timer {
    return this.#ports.scheduler.after(silenceMs, () => this.#abort.abort(new Error("the watch is silent")));
  }
}

/** 410; or a version from the future, as after the server's data was restored from a backup. */
function needsList(error: unknown): boolean {
  if (isGone(error)) return true;
  return error instanceof ApiError && error.status.message.includes("Too large resource version");
}

function retryAfterOf(error: unknown): number | undefined {
  return error instanceof ApiError ? error.status.retryAfterMs : undefined;
}
