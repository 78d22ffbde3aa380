// Modules of any shape, metered as admission does it but bound to no ABI, and what a call of one came to.
import { Fuel } from "../../../backends/wasm/abis/fuel.ts";
import { meter } from "../../../backends/wasm/admission/meter/meter.ts";
import { appended, replaceSections, type SectionBodies } from "../../../backends/wasm/binary/sections.ts";
import { parseModule, sectionIds } from "../../../backends/wasm/binary/shape.ts";

/** 4 GiB. */
const maxPages = 65_536;

/** The module as it would be compiled, its memory not capped and its start function left in place. */
export function metered(bytes: Uint8Array): Uint8Array {
  const shape = parseModule(bytes);
  const sections: SectionBodies = new Map();
  const exports = meter(bytes, shape, sections, maxPages);
  sections.set(sectionIds.export, appended(bytes, shape, sectionIds.export, exports));
  return replaceSections(bytes, shape, sections);
}

/** How one call ended, what it gave, and what it used. */
export interface Outcome {
  readonly ended: "returned" | "trapped" | "out of fuel" | "too deep" | "stack of V8";
  readonly value: unknown;
  readonly fuel: number;
}

/** Calls the export `run` of a metered module in a new instance with so much fuel, that of making the instance left out of the count. */
export function runMetered(
  bytes: Uint8Array,
  parameters: readonly unknown[] = [],
  units = 1_000_000,
  imports: WebAssembly.Imports = {},
): Outcome {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(metered(bytes)), imports);
  const fuel = new Fuel(instance.exports);
  fuel.fill(1_000_000_000);
  fuel.fill(units);
  return outcomeOf(instance, fuel, parameters);
}

/** Calls the export `run` again, with the fuel that is left. */
export function outcomeOf(instance: WebAssembly.Instance, fuel: Fuel, parameters: readonly unknown[]): Outcome {
  const run = instance.exports.run as (...values: readonly unknown[]) => unknown;
  try {
    const value = run(...parameters);
    return { ended: fuel.isExhausted ? "out of fuel" : "returned", value, fuel: fuel.used };
  } catch (thrown) {
    return { ended: endOf(thrown, fuel), value: undefined, fuel: fuel.used };
  }
}

function endOf(thrown: unknown, fuel: Fuel): Outcome["ended"] {
  if (thrown instanceof RangeError) return "stack of V8";
  if (!(thrown instanceof WebAssembly.RuntimeError)) throw thrown;
  if (fuel.isExhausted) return "out of fuel";
  return fuel.isTooDeep ? "too deep" : "trapped";
}
