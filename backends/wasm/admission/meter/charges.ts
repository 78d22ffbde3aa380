/** A point of a body at which fuel is charged for code behind it. */
export interface Charge {
  /** In the file: code from here on. */
  readonly offset: number;
  /** How many of the function's blocks are open there. */
  readonly depth: number;
  units: number;
}

/** A loop's body, or the function's, without the loops in it. */
interface Region {
  readonly head: Charge;
  /** Stretches that may be charged where they begin: those of at least {@link minStretchUnits}. */
  readonly stretches: Charge[];
}

/** Charging shorter stretches apart would cost more than it tells. */
const minStretchUnits = 16;
/** A region that costs no more is charged whole at its head, whichever of its branches are taken. */
const maxWholeUnits = 256;

/**
 * Gathers what a body's code costs. Each loop is charged at its head, whenever that is passed, the rest of the body at its entry:
 * code of a region is run at most once for each time its head is passed. In a large one, as an interpreter's loop is, that would be
 * far too much: its stretches without a branch or a join are charged where they begin.
 */
export class Charges {
  readonly #settled: Charge[] = [];
  readonly #open: Region[];
  #stretch: Charge | undefined;

  /** @param offset where the function's code begins @param units what it costs to enter it */
  constructor(offset: number, units: number) {
    this.#open = [{ head: { offset, depth: 1, units }, stretches: [] }];
  }

  add(units: number): void {
    const stretch = this.#stretch ?? this.#open.at(-1)?.head;
    if (stretch !== undefined) stretch.units += units;
  }

  /** Code behind `offset` is reached only through it. */
  startStretch(offset: number, depth: number): void {
    this.#endStretch();
    this.#stretch = { offset, depth, units: 0 };
  }

  enterLoop(offset: number, depth: number): void {
    this.#endStretch();
    this.#open.push({ head: { offset, depth, units: 1 }, stretches: [] });
  }

  leaveLoop(offset: number, depth: number): void {
    this.#settle();
    this.startStretch(offset, depth);
  }

  /** What to charge where, in the order of the code; the function's entry first. */
  finish(): readonly Charge[] {
    while (this.#open.length > 0) this.#settle();
    return this.#settled.sort((left, right) => left.offset - right.offset);
  }

  #settle(): void {
    this.#endStretch();
    const region = this.#open.pop();
    for (const charge of region === undefined ? [] : settled(region)) this.#settled.push(charge);
  }

  #endStretch(): void {
    const stretch = this.#stretch;
    const region = this.#open.at(-1);
    this.#stretch = undefined;
    if (stretch === undefined || region === undefined) return;
    if (stretch.units < minStretchUnits) region.head.units += stretch.units;
    else region.stretches.push(stretch);
  }
}

function settled({ head, stretches }: Region): Charge[] {
  const apart = stretches.reduce((units, stretch) => units + stretch.units, 0);
  if (head.units + apart > maxWholeUnits) return [head, ...stretches];
  head.units += apart;
  return [head];
}
