import type { ModuleShape } from "../../binary/shape.ts";
import { eachBody } from "./bodies.ts";
import { maxUncountedBytes } from "./frames.ts";
import { type Payments, payments } from "./payments.ts";
import { referencedFunctions } from "./references.ts";
import { type ModuleContext, type Survey, survey } from "./survey.ts";

/** Dearer functions are charged when they are called, not where a call of them stands that may never be reached. */
const maxPrepaidUnits = 64;

/**
 * Functions that only a `call` reaches which names them, so that their entry is charged with the code around the call: where they
 * return without having met a loop or another call, they never touch the meter.
 */
export class Prepaid implements Payments {
  readonly #importedFunctions: number;
  readonly #payments: Uint8Array;
  readonly #units: Uint8Array;

  constructor(bytes: Uint8Array, shape: ModuleShape, context: ModuleContext) {
    const { importedFunctions } = context;
    this.#importedFunctions = importedFunctions;
    this.#payments = new Uint8Array(shape.functions.length);
    this.#units = new Uint8Array(shape.functions.length);
    const referenced = referencedFunctions(bytes, shape);
    eachBody(bytes, shape, (code, type, index) => {
      const surveyed = survey(code, type, context);
      const units = surveyed.charges[0]?.units ?? 0;
      if (referenced.has(importedFunctions + index) || units > maxPrepaidUnits) return;
      this.#payments[index] = paymentOf(surveyed);
      this.#units[index] = units;
    });
  }

  /** One of {@link payments}, for the function at an index, imported ones counted first. */
  payment(index: number): number {
    return this.#payments[index - this.#importedFunctions] ?? payments.own;
  }

  /** What a call of the function is charged for its entry. */
  units(index: number): number {
    return this.payment(index) === payments.own ? 0 : (this.#units[index - this.#importedFunctions] ?? 0);
  }
}

function paymentOf({ frameBytes, soleLoop, paysOutside, charges }: Survey): number {
  if (frameBytes > maxUncountedBytes || paysOutside) return payments.own;
  if (soleLoop !== undefined) return payments.entry;
  return charges.length === 1 ? payments.whole : payments.own;
}
