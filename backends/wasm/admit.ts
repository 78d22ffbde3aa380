import { MillraceError } from "../../engine/errors.ts";
import {
  type AbiContract,
  type AbiName,
  type AbiRequest,
  chooseAbi,
  exportNames,
  importNames,
  listed,
  shownNames,
} from "./abi.ts";
import { directContract } from "./abis/direct.ts";
import { type ModuleShape, parseModule, sectionIds } from "./binary.ts";
import { cappedSections } from "./cap.ts";
import { exportEntry, reservedPrefix, startExport, watchGrowth } from "./growth.ts";
import { appended, replaceSections } from "./sections.ts";

/** The ABIs, in the order in which `Auto` tries them. */
const contracts: readonly AbiContract[] = [directContract];

/** A module that may be called: compiled, its limits inside. Crosses between threads; they share the code. */
export interface AdmittedModule {
  readonly module: WebAssembly.Module;
  readonly abi: AbiName;
  /** `module.name`; the first 256, as the exports. */
  readonly imports: readonly string[];
  readonly exports: readonly string[];
}

export interface AdmissionRequest extends AbiRequest {
  readonly bytes: Uint8Array;
  readonly maxMemoryBytes: number;
}

/**
 * Parse → features → ABI → cap memory and tables → watch growth → validate → compile. Runs in a worker: none of it is quick for a
 * large module. Size and digest have been checked before.
 * @throws InvalidInput (no module, malformed, fits no ABI), SandboxViolation (features, imports, more memory than allowed), NotFound (entrypoint).
 */
export function admit(request: AdmissionRequest): AdmittedModule {
  const { bytes, maxMemoryBytes } = request;
  const shape = parseModule(bytes);
  checkNames(shape);
  const contract = chooseAbi(shape, request, contracts);
  const module = compile(contained(bytes, shape, maxMemoryBytes), bytes);
  return {
    module,
    abi: contract.name,
    imports: shownNames(importNames(shape)),
    exports: shownNames(exportNames(shape)),
  };
}

/** The module with its limits in it. Its start function becomes an export, so that it runs when its instance can be seen. */
function contained(bytes: Uint8Array, shape: ModuleShape, maxMemoryBytes: number): Uint8Array {
  const sections = cappedSections(shape, maxMemoryBytes);
  const exports: number[][] = [];
  const watched = watchGrowth(bytes, shape, sections);
  if (watched !== undefined) exports.push(watched);
  if (shape.start !== undefined) {
    sections.set(sectionIds.start, new Uint8Array());
    exports.push(exportEntry(startExport, 0x00, shape.start));
  }
  if (exports.length > 0) sections.set(sectionIds.export, appended(bytes, shape, sectionIds.export, exports));
  return replaceSections(bytes, shape, sections);
}

function checkNames(shape: ModuleShape): void {
  const forged = shape.exports.find((entry) => entry.name.startsWith(reservedPrefix));
  if (forged === undefined) return;
  throw new MillraceError(
    "SandboxViolation",
    `The WASM module exports ${listed([forged.name])}; names that begin with "${reservedPrefix}" are reserved for what the host adds.`,
  );
}

function compile(contained: Uint8Array, original: Uint8Array): WebAssembly.Module {
  try {
    return new WebAssembly.Module(contained);
  } catch (thrown) {
    throw invalid(original, thrown);
  }
}

/** The original is compiled for its message: its offsets are those that the author can look up. */
function invalid(original: Uint8Array, rewritten: unknown): MillraceError {
  try {
    new WebAssembly.Module(original);
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new MillraceError("InvalidInput", `The WASM module is not valid: ${message}. Rebuild it.`, {
      cause: thrown,
    });
  }
  return new MillraceError("Internal", "a valid WASM module became invalid when its limits were put in", {
    cause: rewritten,
  });
}
