/** How many results may be on their way into the store before attempts wait for them. */
const maxStoring = 64;

/** What is on its way into the store. */
export class Storing {
  readonly #all = new Set<Promise<void>>();

  /** Must not reject. */
  add(work: Promise<void>): void {
    const tracked = work.finally(() => this.#all.delete(tracked));
    this.#all.add(tracked);
  }

  get isBusy(): boolean {
    return this.#all.size > 0;
  }

  /** Resolves when nothing is on its way, what is added meanwhile included. */
  async settled(): Promise<void> {
    while (this.#all.size > 0) await Promise.all(this.#all);
  }

  /** Resolves when there is room for more. */
  async room(): Promise<void> {
    while (this.#all.size >= maxStoring) await Promise.race(this.#all);
  }
}
