import { MillraceError } from "../../../engine/errors.ts";
import { abis } from "../abis/abis.ts";
import type { AbiContract, AbiName } from "../abis/contract.ts";
import { reservedPrefix, startExport } from "../abis/host-exports.ts";
import { usesWasi } from "../abis/wasi/contract.ts";
import { appended, replaceSections } from "../binary/sections.ts";
import { type ModuleShape, parseModule, sectionIds } from "../binary/shape.ts";
import { cappedSections, memoryPages } from "./cap.ts";
import { type AbiRequest, chooseAbi, exportNames, importNames, listed, shownNames } from "./choose-abi.ts";
import { exportEntry, meter } from "./meter/meter.ts";

const contracts = abis.map(({ contract }) => contract);

/** As {@link chooseAbi}, of all that are spoken. */
export function chooseContract(shape: ModuleShape, request: AbiRequest): AbiContract {
  return chooseAbi(shape, request, contracts);
}

/** A module that may be called: compiled, its limits inside. Crosses between threads; they share the code. */
export interface AdmittedModule {
  readonly module: WebAssembly.Module;
  /** Of its binary, as it came. */
  readonly bytes: number;
  readonly abi: AbiName;
  /** It imports WASI, and so may wait: it needs a thread that can be ended. */
  readonly wasi: boolean;
  /** `module.name`; the first 256, as the exports. */
  readonly imports: readonly string[];
  readonly exports: readonly string[];
}

export interface AdmissionRequest extends AbiRequest {
  readonly bytes: Uint8Array;
  readonly maxMemoryBytes: number;
}

/**
 * Parse → features → ABI → cap memory and tables → meter → validate → compile. Runs in a worker: none of it is quick for a
 * large module. Size and digest have been checked before.
 * @throws InvalidInput (no module, malformed, fits no ABI), SandboxViolation (features, imports, more memory than allowed), NotFound (entrypoint).
 */
export function admit(request: AdmissionRequest): AdmittedModule {
  const { bytes, maxMemoryBytes } = request;
  const shape = parseModule(bytes);
  checkNames(shape);
  const contract = chooseContract(shape, request);
  const module = compile(contained(bytes, shape, maxMemoryBytes), bytes);
  return {
    module,
    bytes: bytes.byteLength,
    abi: contract.name,
    wasi: usesWasi(shape),
    imports: shownNames(importNames(shape)),
    exports: shownNames(exportNames(shape)),
  };
}

/** The module with its limits in it. Its start function becomes an export, so that it runs when its instance can be seen. */
export function contained(bytes: Uint8Array, shape: ModuleShape, maxMemoryBytes: number): Uint8Array {
  const sections = cappedSections(shape, maxMemoryBytes);
  const exports = meter(bytes, shape, sections, memoryPages(maxMemoryBytes));
  if (shape.start !== undefined) {
    sections.set(sectionIds.start, new Uint8Array());
    exports.push(exportEntry(startExport, 0x00, shape.start));
  }
  sections.set(sectionIds.export, appended(bytes, shape, sectionIds.export, exports));
  return replaceSections(bytes, shape, sections);
}

/** @throws SandboxViolation for an export that would pass for one of the host's */
export function checkNames(shape: ModuleShape): void {
  const forged = shape.exports.find((entry) => entry.name.startsWith(reservedPrefix));
  if (forged === undefined) return;
  throw new MillraceError(
    "SandboxViolation",
    `The WASM module exports ${listed([forged.name])}; names that begin with "${reservedPrefix}" are reserved for what the host adds.`,
  );
}

/** The original is validated, as what was added has made valid what names its indices; and has the offsets that the author can look up. */
export function compile(rewritten: Uint8Array, original: Uint8Array): WebAssembly.Module {
  if (!WebAssembly.validate(original)) throw invalid(original);
  try {
    return new WebAssembly.Module(rewritten);
  } catch (thrown) {
    throw new MillraceError("Internal", "a valid WASM module became invalid when its limits were put in", {
      cause: thrown,
    });
  }
}

/** It is compiled for its message alone. */
function invalid(bytes: Uint8Array): MillraceError {
  try {
    new WebAssembly.Module(bytes);
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new MillraceError("InvalidInput", `The WASM module is not valid: ${message}. Rebuild it.`, {
      cause: thrown,
    });
  }
  return new MillraceError("Internal", "a WASM module was compiled that is not valid");
}
