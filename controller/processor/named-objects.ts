import type { Ports } from "../../engine/clock.ts";
import { ApiError, type Client, type KubernetesObject, type ObjectRef, type Resource } from "../api/client.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { keyFor, type ObjectKey, refOf } from "../runtime/object-key.ts";
import { Reflector } from "../runtime/reflector.ts";

export interface NamedObjectsOptions {
  readonly client: Client;
  readonly ports: Ports;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly resource: Resource;
  /** What is kept of an object, its metadata at least. */
  readonly transform: (object: KubernetesObject) => KubernetesObject;
  /** Told which Processors name an object that changed; must not throw. */
  readonly onChange: (processors: Iterable<ObjectKey>) => void;
  /** Objects that are watched at once, each by a connection of its own; default 64. Those beyond are asked for when they are read. */
  readonly maxWatches?: number;
}

/** An object as it is now. */
export interface NamedObject {
  /** Absent: there is none. */
  readonly object?: KubernetesObject;
  /** Whether a change of it will be heard of. */
  readonly watched: boolean;
}

const defaultMaxWatches = 64;
const syncTimeoutMs = 5_000;

interface Watch {
  readonly reflector: Reflector;
  readonly users: Set<ObjectKey>;
}

/**
 * Objects of one kind that Processors name. Only those are watched, each by its name, so that the traffic is theirs alone; a
 * watch ends with the last Processor that names its object.
 */
export class NamedObjects implements AsyncDisposable {
  readonly #options: NamedObjectsOptions;
  readonly #maxWatches: number;
  readonly #watches = new Map<ObjectKey, Watch>();
  /** By Processor, what it names. */
  readonly #named = new Map<ObjectKey, ReadonlySet<ObjectKey>>();
  readonly #ending = new Set<Promise<void>>();

  constructor(options: NamedObjectsOptions) {
    this.#options = options;
    this.#maxWatches = options.maxWatches ?? defaultMaxWatches;
  }

  /** How many objects are watched. */
  get size(): number {
    return this.#watches.size;
  }

  /** From now on the Processor names these objects and no others; none: it has none to name, or is gone. */
  name(processor: ObjectKey, refs: readonly ObjectRef[]): void {
    const before = this.#named.get(processor);
    const now = new Set(refs.map(keyFor));
    for (const key of now) this.#use(processor, key);
    for (const key of before ?? []) if (!now.has(key)) this.#leave(processor, key);
    if (now.size === 0) this.#named.delete(processor);
    else this.#named.set(processor, now);
  }

  /** An object that a Processor names. Throws ApiError, where it has to be asked for. */
  async read(ref: ObjectRef, signal: AbortSignal): Promise<NamedObject> {
    const watch = this.#watches.get(keyFor(ref));
    if (watch === undefined || !(await this.#synced(watch.reflector, signal))) {
      const object = await this.#ask(ref, signal);
      return { watched: false, ...(object === undefined ? {} : { object }) };
    }
    const object = watch.reflector.get(keyFor(ref));
    return { watched: true, ...(object === undefined ? {} : { object }) };
  }

  /** The object as its watch knows it, without waiting; undefined: it is not watched, or its watch knows nothing yet. */
  watched(ref: ObjectRef): NamedObject | undefined {
    const key = keyFor(ref);
    const reflector = this.#watches.get(key)?.reflector;
    if (reflector?.hasSynced !== true) return undefined;
    const object = reflector.get(key);
    return { watched: true, ...(object === undefined ? {} : { object }) };
  }

  /** Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const processor of this.#named.keys()) this.name(processor, []);
    await Promise.all(this.#ending);
  }

  #use(processor: ObjectKey, key: ObjectKey): void {
    const watch = this.#watches.get(key) ?? this.#open(key);
    watch?.users.add(processor);
  }

  #leave(processor: ObjectKey, key: ObjectKey): void {
    const watch = this.#watches.get(key);
    watch?.users.delete(processor);
    if (watch === undefined || watch.users.size > 0) return;
    this.#watches.delete(key);
    this.#end(watch.reflector);
  }

  #open(key: ObjectKey): Watch | undefined {
    if (this.#watches.size >= this.#maxWatches) return undefined;
    const { client, ports, logger, metrics, onChange, resource, transform } = this.#options;
    const { namespace = "", name } = refOf(key);
    const fieldSelector = `metadata.name=${name}`;
    const reflector = new Reflector({ client, ports, logger, metrics, resource, namespace, fieldSelector, transform });
    const users = new Set<ObjectKey>();
    reflector.onChange(() => onChange(users));
    reflector.start();
    const watch = { reflector, users };
    this.#watches.set(key, watch);
    return watch;
  }

  #synced(reflector: Reflector, signal: AbortSignal): Promise<boolean> {
    if (reflector.hasSynced) return Promise.resolve(true);
    return new Promise((resolve) => {
      const end = (synced: boolean) => {
        timer.cancel();
        signal.removeEventListener("abort", onAbort);
        resolve(synced);
      };
      const onAbort = () => end(false);
      const timer = this.#options.ports.scheduler.after(syncTimeoutMs, () => end(false));
      signal.addEventListener("abort", onAbort, { once: true });
      reflector.synced.then(
        () => end(true),
        () => end(false),
      );
    });
  }

  async #ask(ref: ObjectRef, signal: AbortSignal): Promise<KubernetesObject | undefined> {
    try {
      return this.#options.transform(await this.#options.client.get(this.#options.resource, ref, signal));
    } catch (error) {
      if (error instanceof ApiError && error.status.code === 404) return undefined;
      throw error;
    }
  }

  #end(reflector: Reflector): void {
    const ending = reflector[Symbol.asyncDispose]().finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }
}
