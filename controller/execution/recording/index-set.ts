/** A set of indices below a total, told as ranges. */
export class IndexSet {
  readonly #has: Uint8Array;

  constructor(total: number) {
    this.#has = new Uint8Array(total);
  }

  add(index: number): void {
    this.#has[index] = 1;
  }

  /** In order, such as `0-811,813`; empty for none. */
  toString(): string {
    const ranges: string[] = [];
    for (let start = this.#has.indexOf(1); start >= 0; ) {
      const gap = this.#has.indexOf(0, start);
      const end = gap < 0 ? this.#has.length : gap;
      ranges.push(end - start === 1 ? `${start}` : `${start}-${end - 1}`);
      start = this.#has.indexOf(1, end);
    }
    return ranges.join(",");
  }
}
