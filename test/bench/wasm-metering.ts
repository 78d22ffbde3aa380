// wasm-metering: what counting fuel and stack costs code that does nothing but compute.
// Baseline: the same module as its author built it, un-metered, compiled by the same V8. Fair: the same function with the same argument in
// an instance that lives for the whole bench, so that both sides are optimised; both sides check each result. The modules
// (test/fixtures/wasm/bench) are plain C at -O2: arithmetic, calls, stores in strides, floating point over matrices.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Fuel, maxFuel } from "../../backends/wasm/abis/fuel.ts";
import { metered } from "../backends/wasm/metered.ts";
import { type Bench, compare, type Row } from "./bench.ts";

const bar = 1.4;
const meanBar = 1.2;

/** By module: the argument of `run`, and how many calls make a round of some milliseconds. */
const workloads = [
  { name: "loop", argument: 1_000_000, units: 8 },
  { name: "recursion", argument: 24, units: 40 },
  { name: "sieve", argument: 200_000, units: 10 },
  { name: "matrix", argument: 70, units: 20 },
] as const;

type Run = (argument: number) => number;

async function row({ name, argument, units }: (typeof workloads)[number]): Promise<Row> {
  const bytes = new Uint8Array(readFileSync(join(import.meta.dirname, `../fixtures/wasm/bench/${name}.wasm`)));
  const ours = new WebAssembly.Instance(new WebAssembly.Module(metered(bytes)));
  const fuel = new Fuel(ours.exports);
  const baseline = new WebAssembly.Instance(new WebAssembly.Module(bytes));
  fuel.fill(maxFuel);
  const expected = (baseline.exports.run as Run)(argument);
  const round = (instance: WebAssembly.Instance) => () => {
    let done = 0;
    for (let unit = 0; unit < units; unit++) if ((instance.exports.run as Run)(argument) === expected) done += 1;
    return done;
  };
  const side = round(ours);
  const measured = await compare({
    units,
    warmUpRounds: 40,
    rounds: 101,
    ours: () => {
      fuel.fill(maxFuel);
      return side();
    },
    baseline: round(baseline),
  });
  const ratio = measured.oursUs / measured.baselineUs;
  return {
    name: `wasm-metering/${name}`,
    ratio,
    bar: `<= ${bar}`,
    ok: ratio <= bar,
    metrics: { callUs: measured.oursUs, fuel: fuel.used / units },
    baseline: { callUs: measured.baselineUs },
  };
}

export const bench: Bench = async () => {
  const rows: Row[] = [];
  for (const workload of workloads) rows.push(await row(workload));
  const mean = Math.exp(rows.reduce((sum, { ratio }) => sum + Math.log(ratio), 0) / rows.length);
  const ok = mean <= meanBar;
  rows.push({ name: "wasm-metering/mean", ratio: mean, bar: `<= ${meanBar}`, ok, metrics: {}, baseline: {} });
  return rows;
};
