import type { KubernetesObject } from "../api/client.ts";
import { type ObjectKey, refOf } from "../runtime/object-key.ts";
import type { Lister } from "../runtime/object-store.ts";
import { type ChangeHandler, Reflector, type ReflectorOptions } from "../runtime/reflector.ts";

/** What one kind's reflectors have in common. */
export type KindOptions = Omit<ReflectorOptions, "namespace" | "labelSelector" | "fieldSelector">;

/**
 * One kind's objects in all namespaces, by one reflector; or in the namespaces given, by one each, for which rights in these
 * namespaces are enough.
 */
export class Kind implements Lister, AsyncDisposable {
  readonly name: string;
  readonly #all: Reflector | undefined;
  readonly #byNamespace = new Map<string, Reflector>();

  /** @param namespaces empty: all of them */
  constructor(options: KindOptions, namespaces: readonly string[]) {
    this.name = options.resource.plural;
    if (namespaces.length === 0) this.#all = new Reflector(options);
    for (const namespace of namespaces) this.#byNamespace.set(namespace, new Reflector({ ...options, namespace }));
  }

  get reflectors(): readonly Reflector[] {
    return this.#all === undefined ? [...this.#byNamespace.values()] : [this.#all];
  }

  get size(): number {
    return this.reflectors.reduce((total, { size }) => total + size, 0);
  }

  get hasSynced(): boolean {
    return this.reflectors.every(({ hasSynced }) => hasSynced);
  }

  /** Of the most silent one, in milliseconds. */
  get silentMs(): number {
    return Math.max(...this.reflectors.map((reflector) => reflector.silentMs()));
  }

  get(key: ObjectKey): KubernetesObject | undefined {
    return this.#reflectorFor(key)?.get(key);
  }

  *list(): Generator<KubernetesObject> {
    for (const reflector of this.reflectors) yield* reflector.list();
  }

  *byIndex(index: string, value: string): Generator<KubernetesObject> {
    for (const reflector of this.reflectors) yield* reflector.byIndex(index, value);
  }

  onChange(handler: ChangeHandler): void {
    for (const reflector of this.reflectors) reflector.onChange(handler);
  }

  observe(object: KubernetesObject): void {
    const { namespace = "", name } = object.metadata;
    this.#reflectorFor(`${namespace}/${name}`)?.observe(object);
  }

  start(): void {
    for (const reflector of this.reflectors) reflector.start();
  }

  async synced(): Promise<void> {
    await Promise.all(this.reflectors.map((reflector) => reflector.synced));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.reflectors.map((reflector) => reflector[Symbol.asyncDispose]()));
  }

  #reflectorFor(key: ObjectKey): Reflector | undefined {
    return this.#all ?? this.#byNamespace.get(refOf(key).namespace ?? "");
  }
}
