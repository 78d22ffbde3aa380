/** Work on one key is done one after another, in the order in which it came; that on different keys at the same time. */
export class Lanes {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Gives or throws what the work does. */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key);
    const done = before === undefined ? work() : before.then(work, work);
    this.#tails.set(key, done);
    try {
      return await done;
    } finally {
      if (this.#tails.get(key) === done) this.#tails.delete(key);
    }
  }

  /** Resolves when all that was handed in has ended, whichever way. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#tails.values());
  }
}
