import type { KubernetesObject } from "../api/client.ts";
import { keyOf, type ObjectKey } from "./object-key.ts";

/** Which values an object is found by in an index. */
export type Indexer = (object: KubernetesObject) => readonly string[];

/** Read access to what is known of one kind. Objects are shared: never to be written to. */
export interface Lister {
  get(key: ObjectKey): KubernetesObject | undefined;
  list(): Iterable<KubernetesObject>;
  /** Throws when there is no index of that name. */
  byIndex(index: string, value: string): Iterable<KubernetesObject>;
  readonly size: number;
}

/** Objects by key, and by the indices it was made with. */
export class ObjectStore implements Lister {
  readonly #objects = new Map<ObjectKey, KubernetesObject>();
  readonly #indices: readonly { name: string; indexer: Indexer; keys: Map<string, Set<ObjectKey>> }[];

  constructor(indexers: Readonly<Record<string, Indexer>> = {}) {
    this.#indices = Object.entries(indexers).map(([name, indexer]) => ({ name, indexer, keys: new Map() }));
  }

  get size(): number {
    return this.#objects.size;
  }

  get(key: ObjectKey): KubernetesObject | undefined {
    return this.#objects.get(key);
  }

  list(): Iterable<KubernetesObject> {
    return this.#objects.values();
  }

  /** A copy: the store may be changed while it is walked. */
  keys(): readonly ObjectKey[] {
    return [...this.#objects.keys()];
  }

  *byIndex(index: string, value: string): Generator<KubernetesObject> {
    const found = this.#indices.find(({ name }) => name === index);
    if (!found) throw new Error(`there is no index "${index}"`);
    for (const key of found.keys.get(value) ?? []) {
      const object = this.#objects.get(key);
      if (object) yield object;
    }
  }

  set(object: KubernetesObject): void {
    const key = keyOf(object);
    this.delete(key);
    this.#objects.set(key, object);
    for (const { indexer, keys } of this.#indices) {
      for (const value of indexer(object)) {
        const set = keys.get(value);
        if (set) set.add(key);
        else keys.set(value, new Set([key]));
      }
    }
  }

  delete(key: ObjectKey): void {
    const object = this.#objects.get(key);
    if (!object) return;
    this.#objects.delete(key);
    for (const { indexer, keys } of this.#indices) {
      for (const value of indexer(object)) {
        const set = keys.get(value);
        set?.delete(key);
        if (set?.size === 0) keys.delete(value);
      }
    }
  }
}
