import type { Ports } from "../../engine/clock.ts";
import { ApiError, type Client, type KubernetesObject, type ObjectRef } from "../api/client.ts";
import { configMaps } from "../api/kinds.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { keyFor, type ObjectKey, refOf } from "../runtime/object-key.ts";
import { Reflector } from "../runtime/reflector.ts";

export interface ConfigMapVersionsOptions {
  readonly client: Client;
  readonly ports: Ports;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Puts the keys of Processors whose ConfigMap changed into their queue; must not throw. */
  readonly onChange: (processors: Iterable<ObjectKey>) => void;
  /** ConfigMaps that are watched at once, each by a connection of its own; default 64. Those beyond are asked for when their Processor is looked at. */
  readonly maxWatches?: number;
}

/** Which version of a ConfigMap there is. */
export interface ConfigMapVersion {
  /** Its UID and resourceVersion; `absent` where there is none. */
  readonly version: string;
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
 * Tells when a ConfigMap that holds a module changes. Only the ConfigMaps that Processors name are watched, each by its
 * name, so that the traffic is theirs alone; a watch ends with the last Processor that names it.
 */
export class ConfigMapVersions implements AsyncDisposable {
  readonly #options: ConfigMapVersionsOptions;
  readonly #maxWatches: number;
  readonly #watches = new Map<ObjectKey, Watch>();
  readonly #named = new Map<ObjectKey, ObjectKey>();
  readonly #ending = new Set<Promise<void>>();

  constructor(options: ConfigMapVersionsOptions) {
    this.#options = options;
    this.#maxWatches = options.maxWatches ?? defaultMaxWatches;
  }

  /** How many ConfigMaps are watched. */
  get size(): number {
    return this.#watches.size;
  }

  /** The version of the ConfigMap that a Processor names now. Throws ApiError, where it has to be asked for. */
  async versionFor(processor: ObjectKey, ref: ObjectRef, signal: AbortSignal): Promise<ConfigMapVersion> {
    const watch = this.#watchFor(processor, keyFor(ref));
    if (watch === undefined || !(await this.#synced(watch.reflector, signal))) {
      return { version: await this.#ask(ref, signal), watched: false };
    }
    const metadata = watch.reflector.get(keyFor(ref))?.metadata;
    return { version: versionOf(metadata), watched: true };
  }

  /** The Processor names no ConfigMap any more, or is gone. */
  release(processor: ObjectKey): void {
    const name = this.#named.get(processor);
    if (name === undefined) return;
    this.#named.delete(processor);
    const watch = this.#watches.get(name);
    watch?.users.delete(processor);
    if (watch === undefined || watch.users.size > 0) return;
    this.#watches.delete(name);
    this.#end(watch.reflector);
  }

  /** Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const processor of this.#named.keys()) this.release(processor);
    await Promise.all(this.#ending);
  }

  #watchFor(processor: ObjectKey, name: ObjectKey): Watch | undefined {
    if (this.#named.get(processor) !== name) this.release(processor);
    const watch = this.#watches.get(name) ?? this.#open(name);
    if (watch === undefined) return undefined;
    watch.users.add(processor);
    this.#named.set(processor, name);
    return watch;
  }

  #open(key: ObjectKey): Watch | undefined {
    if (this.#watches.size >= this.#maxWatches) return undefined;
    const { client, ports, logger, metrics, onChange } = this.#options;
    const { namespace = "", name } = refOf(key);
    const fieldSelector = `metadata.name=${name}`;
    const transform = withoutContent;
    const what = { resource: configMaps, namespace, fieldSelector, transform };
    const reflector = new Reflector({ client, ports, logger, metrics, ...what });
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

  async #ask(ref: ObjectRef, signal: AbortSignal): Promise<string> {
    try {
      const object = await this.#options.client.get(configMaps, ref, signal);
      return versionOf(object.metadata);
    } catch (error) {
      if (error instanceof ApiError && error.status.code === 404) return versionOf(undefined);
      throw error;
    }
  }

  #end(reflector: Reflector): void {
    const ending = reflector[Symbol.asyncDispose]().finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }
}

function versionOf(metadata: { readonly uid?: string; readonly resourceVersion?: string } | undefined): string {
  return metadata === undefined ? "absent" : `${metadata.uid}/${metadata.resourceVersion}`;
}

/** Its content is read when it is loaded, and not kept. */
function withoutContent({ apiVersion, kind, metadata }: KubernetesObject): KubernetesObject {
  const { name, namespace = "", uid = "", resourceVersion = "" } = metadata;
  return { apiVersion, kind, metadata: { name, namespace, uid, resourceVersion } };
}
