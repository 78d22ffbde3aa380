import { MillraceError } from "../../../engine/errors.ts";
import { type AbiContract, type AbiName, type FunctionTypes, initializersOf } from "../abis/contract.ts";
import { oldWasiModule, wasiFunctions, wasiModule } from "../abis/wasi/contract.ts";
import type { ExternKind, FunctionType, ImportShape, ModuleShape } from "../binary/shape.ts";
import { functionTypeAt, signatureText } from "../binary/shape.ts";

/** What a processor's spec asks for. */
export interface AbiRequest {
  readonly abi: "Auto" | AbiName;
  readonly entrypoint: string;
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
  return shape.imports.map(importName);
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
  const contract = candidates.find((candidate) => fits(shape, candidate));
  if (contract === undefined) throw fitsNone(shape, request, candidates);
  checkImports(shape, contract);
  for (const [name, wanted] of Object.entries(contract.exports)) {
    if (wanted !== "memory") checkExport(shape, contract, name, wanted);
  }
  for (const { name, type } of initializersOf(contract, (exported) => kindOf(shape, exported) !== undefined)) {
    checkExport(shape, contract, name, type);
  }
  if (contract.entrypoint !== "operation") checkEntrypoint(shape, contract, request.entrypoint, contract.entrypoint);
  return contract;
}

function kindOf(shape: ModuleShape, name: string): ExternKind | undefined {
  return shape.exports.find((entry) => entry.name === name)?.kind;
}

/** Whether a module is of this ABI, as far as what tells one from another goes. */
function fits(shape: ModuleShape, contract: AbiContract): boolean {
  const { mark } = contract;
  if (mark !== undefined && !shape.imports.some(({ module }) => module === mark)) return false;
  return missingExports(shape, contract).length === 0;
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
    if (contract.entrypoint !== "operation") exports.push(`${request.entrypoint}${signatureText(contract.entrypoint)}`);
    const imports = contract.mark === undefined ? "" : `imports from ${contract.mark} and `;
    const missing = missingExports(shape, contract).join(", ") || "those imports";
    return `${contract.name} ${imports}exports ${exports.join(", ")} (missing: ${missing})`;
  });
  return new MillraceError(
    "InvalidInput",
    `The WASM module fits no ABI that was looked for (abi: ${request.abi}). Looked for: ${wanted.join("; ")}. The module exports: ${listed(exportNames(shape))}; it imports: ${listed(importNames(shape))}.`,
  );
}

function checkImports(shape: ModuleShape, contract: AbiContract): void {
  const typeOf = ({ module, name }: ImportShape): FunctionType | undefined => {
    const functions = given(contract, module);
    return functions !== undefined && Object.hasOwn(functions, name) ? functions[name] : undefined;
  };
  const refused = shape.imports.filter((entry) => entry.kind !== "function" || typeOf(entry) === undefined);
  if (refused.length > 0) throw forbidden(refused, contract);
  for (const entry of shape.imports) {
    const wanted = typeOf(entry);
    if (wanted === undefined || (entry.type !== undefined && sameType(entry.type, wanted))) continue;
    const actual = entry.type === undefined ? "no function" : signatureText(entry.type);
    throw new MillraceError(
      "InvalidInput",
      `The WASM module imports ${listed([importName(entry)])} as ${actual}; ABI ${contract.name} gives it as ${signatureText(wanted)}.`,
    );
  }
}

/** The functions that a module of this ABI may import from `module`. */
function given(contract: AbiContract, module: string): FunctionTypes | undefined {
  if (module === wasiModule) return wasiFunctions;
  return Object.hasOwn(contract.imports, module) ? contract.imports[module] : undefined;
}

/** All that are refused in one message, as they are mended in one build. */
function forbidden(refused: readonly ImportShape[], contract: AbiContract): MillraceError {
  const allowed = Object.entries(contract.imports).flatMap(([module, functions]) =>
    Object.keys(functions).map((name) => `${module}.${name}`),
  );
  const kinds = [...new Set(refused.map(({ kind }) => kind))];
  const named = kinds.map((kind) => {
    const names = refused.filter((entry) => entry.kind === kind).map(importName);
    return `the ${kind}${names.length === 1 ? "" : "s"} ${listed(names)}`;
  });
  const mends = [...new Set(refused.map(({ module }) => mendOf(contract, module)))].join(" ");
  return new MillraceError(
    "SandboxViolation",
    `The WASM module imports ${named.join(" and ")}, which ABI ${contract.name} does not give. Allowed are the functions ${[...allowed, `of ${wasiModule}`].join(", ")}; memory and tables must be its own. ${mends}`,
  );
}

function importName({ module, name }: ImportShape): string {
  return `${module}.${name}`;
}

function mendOf(contract: AbiContract, module: string): string {
  if (module === oldWasiModule)
    return "Rebuild with a toolchain of WASI preview 1 (for Rust the target wasm32-wasip1).";
  const { mends = {} } = contract;
  const own = Object.hasOwn(mends, module) ? mends[module] : undefined;
  return own ?? "Build without what needs the import.";
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

function checkEntrypoint(shape: ModuleShape, contract: AbiContract, entrypoint: string, wanted: FunctionType): void {
  if (kindOf(shape, entrypoint) === undefined) {
    const functions = shape.exports.filter((entry) => entry.kind === "function").map((entry) => entry.name);
    throw new MillraceError(
      "NotFound",
      `The WASM module has no export ${listed([entrypoint])}, the entrypoint. It exports the functions ${listed(functions)}: set spec.wasm.entrypoint to one of them.`,
    );
  }
  checkExport(shape, contract, entrypoint, wanted);
}

function sameType(left: FunctionType, right: FunctionType): boolean {
  return left.params.join() === right.params.join() && left.results.join() === right.results.join();
}
