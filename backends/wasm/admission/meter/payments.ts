/** How a function's entry is paid for. */
export const payments = {
  /** By itself. */
  own: 0,
  /** By whoever calls it; it has nothing else to pay. */
  whole: 1,
  /** By whoever calls it; it has one loop, in which is all else that it pays. */
  entry: 2,
} as const;

/** Who pays for the entries of a module's functions, by their indices, imported ones counted first. */
export interface Payments {
  /** One of {@link payments}. */
  payment(index: number): number;
  /** What a call of the function is charged for its entry; 0 where it pays by itself. */
  units(index: number): number;
}
