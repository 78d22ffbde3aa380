import type { ModuleInspection } from "../../../backends/wasm/admission/inspect.ts";
import type { CliContext } from "../context.ts";
import { formatBytes } from "../terminal/durations.ts";
import { printable } from "../terminal/printable.ts";
import { terminalStyle } from "../terminal/terminal.ts";

/** What is known of a module; as `-o json` prints it. */
export interface ModuleCheck extends ModuleInspection {
  readonly file: string;
  readonly bytes: number;
  readonly digest: string;
  readonly entrypoint: string;
  /** `--memory`. */
  readonly maxMemoryBytes: number;
  /** Of the sample call; absent: the module was not called, or did not get as far. */
  readonly sample?: { readonly inputBytes: number; readonly outcome: string; readonly fuel?: number };
}

/** A module's facts, a line each, of what is no module its file alone; then what would be refused. */
export function checkText(found: ModuleCheck, { stdout, env }: CliContext): string {
  const { colors, symbols } = terminalStyle(stdout, env);
  const facts = found.exports.length > 0 ? factsOf(found) : factsOf(found).slice(0, 2);
  const rows = facts.map(([name, value]) => `${name.padEnd(11)}${printable(value)}`);
  const refusals = found.refusals.map(
    ({ code, message }) => `${colors.red(symbols("✖"))} ${colors.bold(code)}: ${printable(message)}`,
  );
  const verdict =
    refusals.length === 0 ? [`${colors.green(symbols("✔"))} It would be admitted.`] : ["Refused:", ...refusals];
  return `${[...rows, "", ...verdict].join("\n")}\n`;
}

function factsOf(found: ModuleCheck): (readonly [string, string])[] {
  const { memory, sample, meteredBytes } = found;
  const metered = meteredBytes === undefined ? "" : `, ${formatBytes(meteredBytes)} with its limits inside`;
  return [
    ["File", `${found.file}, ${formatBytes(found.bytes)}${metered}`],
    ["Digest", found.digest],
    ["ABI", found.abi === undefined ? "none" : `${found.abi}${found.wasi ? ", over WASI preview 1" : ""}`],
    ["Entrypoint", found.entrypoint],
    ["Functions", String(found.functions)],
    ["Memory", memory === undefined ? "none" : memoryWords(memory, found.maxMemoryBytes)],
    ["Imports", named(found.imports)],
    ["Exports", named(found.exports)],
    ["Features", named(found.features)],
    ...(sample === undefined ? [] : [["Sample", sampleWords(sample)] as const]),
  ];
}

function memoryWords({ initialBytes, maxBytes }: NonNullable<ModuleCheck["memory"]>, allowed: number): string {
  const most = maxBytes !== undefined && maxBytes < allowed ? "its own maximum" : "as --memory allows";
  return `${formatBytes(initialBytes)} from the start, at most ${formatBytes(Math.min(maxBytes ?? allowed, allowed))}, ${most}`;
}

function sampleWords({ inputBytes, outcome, fuel }: NonNullable<ModuleCheck["sample"]>): string {
  const took = fuel === undefined ? "" : `, ${fuel} units of fuel`;
  return `${formatBytes(inputBytes)} in, ${outcome}${took}`;
}

function named(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.join(", ");
}
