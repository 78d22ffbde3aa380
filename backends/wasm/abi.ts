import { MillraceError } from "../../engine/errors.ts";
import type { ExternKind, FunctionType, ModuleShape } from "./binary.ts";
import { functionTypeAt, signatureText } from "./binary.ts";

/** The calling conventions that are spoken. */
export type AbiName = "Direct";

/** What a processor's spec asks for. */
export interface AbiRequest {
  readonly abi: "Auto" | AbiName;
  readonly entrypoint: string;
}

/** What one ABI demands of a module's outside. */
export interface AbiContract {
  readonly name: AbiName;
  /** Allowed imports: by module name, by function name, its type. */
  readonly imports: Readonly<Record<string, Readonly<Record<string, FunctionType>>>>;
  /** Demanded exports, the entrypoint apart: a function's type, or "memory". */
  readonly exports: Readonly<Record<string, FunctionType | "memory">>;
  readonly entrypoint: FunctionType;
  /** Exports that are used where they are there. */
  readonly optionalExports: Readonly<Record<string, FunctionType>>;
}

/** How many names a message lists, how many the status, and how long each may be. */
const maxListed = 32;
const maxReported = 256;
const maxNameLength = 128;

/** The first names out of a module, shortened and without control characters: they are what the module's author chose. */
export function shownNames(names: readonly string[], maxNames: number = maxReported): string[] {
  return names.slice(0, maxNames).map((name) => {
    const clean = name.replace(/\p{C}/gu, "\u{FFFD}");
    return clean.length <= maxNameLength ? clean : `${clean.slice(0, maxNameLength - 1)}…`;
  });
}

/** Names out of a module, for a message. */
export function listed(names: readonly string[]): string {
  const shown = shownNames(names, maxListed).join(", ");
  if (names.length === 0) return "nothing";
  return names.length <= maxListed ? shown : `${shown} and ${names.length - maxListed} more`;
}

export function importNames(shape: ModuleShape): string[] {
  return shape.imports.map((entry) => `${entry.module}.${entry.name}`);
}

export function exportNames(shape: ModuleShape): string[] {
  return shape.exports.map((entry) => entry.name);
}

/**
 * Chooses the ABI of a module, or checks the named one.
 * @throws InvalidInput when it fits none (what was looked for, what it exports) or a signature differs (both);
 * SandboxViolation for an import that the ABI does not give; NotFound for a missing entrypoint.
 */
export function chooseAbi(shape: ModuleShape, request: AbiRequest, contracts: readonly AbiContract[]): AbiContract {
  const candidates = contracts.filter((contract) => request.abi === "Auto" || contract.name === request.abi);
  const contract = candidates.find((candidate) => missingExports(shape, candidate).length === 0);
  if (contract === undefined) throw fitsNone(shape, request, candidates);
  checkImports(shape, contract);
  for (const [name, wanted] of Object.entries(contract.exports)) {
    if (wanted !== "memory") checkExport(shape, contract, name, wanted);
  }
  for (const [name, wanted] of Object.entries(contract.optionalExports)) {
    if (kindOf(shape, name) !== undefined) checkExport(shape, contract, name, wanted);
  }
  checkEntrypoint(shape, contract, request.entrypoint);
  return contract;
}

function kindOf(shape: ModuleShape, name: string): ExternKind | undefined {
  return shape.exports.find((entry) => entry.name === name)?.kind;
}

function missingExports(shape: ModuleShape, contract: AbiContract): string[] {
  return Object.entries(contract.exports)
    .filter(([name, wanted]) => kindOf(shape, name) !== (wanted === "memory" ? "memory" : "function"))
    .map(([name]) => name);
}

function fitsNone(shape: ModuleShape, request: AbiRequest, candidates: readonly AbiContract[]): MillraceError {
  const wanted = candidates.map((contract) => {
    const exports = Object.entries(contract.exports).map(([name, type]) =>
      type === "memory" ? name : `${name}${signatureText(type)}`,
    );
    exports.push(`${request.entrypoint}${signatureText(contract.entrypoint)}`);
    return `${contract.name} exports ${exports.join(", ")} (missing: ${missingExports(shape, contract).join(", ")})`;
  });
  return new MillraceError(
    "InvalidInput",
    `The WASM module fits no ABI that was looked for (abi: ${request.abi}). Looked for: ${wanted.join("; ")}. The module exports: ${listed(exportNames(shape))}; it imports: ${listed(importNames(shape))}.`,
  );
}

function checkImports(shape: ModuleShape, contract: AbiContract): void {
  for (const entry of shape.imports) {
    const functions = Object.hasOwn(contract.imports, entry.module) ? contract.imports[entry.module] : undefined;
    const wanted = functions !== undefined && Object.hasOwn(functions, entry.name) ? functions[entry.name] : undefined;
    if (wanted === undefined || entry.kind !== "function") throw forbidden(entry.kind, entry, contract);
    if (entry.type === undefined || !sameType(entry.type, wanted)) {
      const actual = entry.type === undefined ? "no function" : signatureText(entry.type);
      throw new MillraceError(
        "InvalidInput",
        `The WASM module imports ${listed([`${entry.module}.${entry.name}`])} as ${actual}; ABI ${contract.name} gives it as ${signatureText(wanted)}.`,
      );
    }
  }
}

function forbidden(
  kind: ExternKind,
  entry: { readonly module: string; readonly name: string },
  contract: AbiContract,
): MillraceError {
  const allowed = Object.entries(contract.imports).flatMap(([module, functions]) =>
    Object.keys(functions).map((name) => `${module}.${name}`),
  );
  return new MillraceError(
    "SandboxViolation",
    `The WASM module imports the ${kind} ${listed([`${entry.module}.${entry.name}`])}, which ABI ${contract.name} does not give. Allowed are the functions ${allowed.join(", ")}; memory and tables must be its own. Build without what needs the import.`,
  );
}

function checkExport(shape: ModuleShape, contract: AbiContract, name: string, wanted: FunctionType): void {
  const entry = shape.exports.find((candidate) => candidate.name === name);
  const actual = entry?.kind === "function" ? functionTypeAt(shape, entry.index) : undefined;
  if (actual !== undefined && sameType(actual, wanted)) return;
  throw new MillraceError(
    "InvalidInput",
    `The WASM module exports ${listed([name])} as ${actual === undefined ? `a ${entry?.kind}` : signatureText(actual)}; ABI ${contract.name} needs ${signatureText(wanted)}.`,
  );
}

function checkEntrypoint(shape: ModuleShape, contract: AbiContract, entrypoint: string): void {
  if (kindOf(shape, entrypoint) === undefined) {
    const functions = shape.exports.filter((entry) => entry.kind === "function").map((entry) => entry.name);
    throw new MillraceError(
      "NotFound",
      `The WASM module has no export ${listed([entrypoint])}, the entrypoint. It exports the functions ${listed(functions)}: set spec.wasm.entrypoint to one of them.`,
    );
  }
  checkExport(shape, contract, entrypoint, contract.entrypoint);
}

function sameType(left: FunctionType, right: FunctionType): boolean {
  return left.params.join() === right.params.join() && left.results.join() === right.results.join();
}
