/** Who takes of what all share: a Processor, for the Executions of a namespace. */
export interface Owner {
  readonly namespace: string;
  readonly processor: string;
}

/** Something that waits, and for whom. */
export interface Owned {
  readonly owner: Owner;
}

/**
 * Those who wait for what all share, served by turns: of the namespaces, of the Processors in a namespace, and of one
 * Processor in the order of their coming. So that who asks for much waits longer, and nobody else does.
 */
export class Turns<T extends Owned> {
  /** Both in the order of their turns: whoever was served goes to the end. */
  readonly #namespaces = new Map<string, Map<string, Set<T>>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(item: T): void {
    const { namespace, processor } = item.owner;
    const processors = this.#namespaces.get(namespace) ?? new Map<string, Set<T>>();
    const items = processors.get(processor) ?? new Set<T>();
    items.add(item);
    processors.set(processor, items);
    this.#namespaces.set(namespace, processors);
    this.#size += 1;
  }

  /** Takes it out unserved. False: it was not there. */
  remove(item: T): boolean {
    const { namespace, processor } = item.owner;
    const processors = this.#namespaces.get(namespace);
    const items = processors?.get(processor);
    if (processors === undefined || items?.delete(item) !== true) return false;
    this.#size -= 1;
    if (items.size === 0) processors.delete(processor);
    if (processors.size === 0) this.#namespaces.delete(namespace);
    return true;
  }

  /** Takes it out served: its namespace and its Processor have had their turn. */
  serve(item: T): void {
    this.remove(item);
    const { namespace, processor } = item.owner;
    const processors = this.#namespaces.get(namespace);
    if (processors === undefined) return;
    this.#namespaces.delete(namespace);
    this.#namespaces.set(namespace, processors);
    const items = processors.get(processor);
    if (items === undefined) return;
    processors.delete(processor);
    processors.set(processor, items);
  }

  /** The next of this Processor, whoever's turn it is. */
  first({ namespace, processor }: Owner): T | undefined {
    const [first] = this.#namespaces.get(namespace)?.get(processor) ?? [];
    return first;
  }

  /** The first of each Processor, in the order of their turns. Not to be changed meanwhile. */
  *heads(): Generator<T, void, undefined> {
    for (const processors of this.#namespaces.values()) {
      for (const [first] of processors.values()) if (first !== undefined) yield first;
    }
  }

  *[Symbol.iterator](): Generator<T, void, undefined> {
    for (const processors of this.#namespaces.values()) for (const items of processors.values()) yield* items;
  }
}
