import { type ErrorCode, MillraceError } from "../../../engine/errors.ts";
import type { AbiName } from "../abis/contract.ts";
import { usesWasi } from "../abis/wasi/contract.ts";
import { type ModuleShape, parseModule } from "../binary/shape.ts";
import { type AdmissionRequest, checkNames, chooseContract, compile, contained } from "./admit.ts";
import { pageBytes } from "./cap.ts";
import { exportNames, importNames, shownNames } from "./choose-abi.ts";
import { featuresOf } from "./features.ts";

/** Why a module would not be admitted; the message says what to do. */
export interface ModuleRefusal {
  readonly code: ErrorCode;
  readonly message: string;
}

/** What there is to say of a module without running it. */
export interface ModuleInspection {
  /** Absent: it is none that is spoken, and `refusals` says so. */
  readonly abi?: AbiName;
  /** `module.name`, the first 256, as the exports. */
  readonly imports: readonly string[];
  readonly exports: readonly string[];
  /** As compilers name them, for example `bulk-memory`. */
  readonly features: readonly string[];
  /** Whether it imports WASI preview 1. */
  readonly wasi: boolean;
  /** What it defines, functions and memory in bytes; `maxBytes` absent: it may grow to the limit. */
  readonly functions: number;
  readonly memory?: { readonly initialBytes: number; readonly maxBytes?: number };
  /** Of the module with its limits inside. Absent: they cannot be put in. */
  readonly meteredBytes?: number;
  /** All that can be told at once; empty: it would be admitted. */
  readonly refusals: readonly ModuleRefusal[];
}

const nothing: ModuleInspection = { imports: [], exports: [], features: [], wasi: false, functions: 0, refusals: [] };

/** Every step of admission, each whether or not one before it refused the module. */
export function inspect(request: AdmissionRequest): ModuleInspection {
  const refusals: ModuleRefusal[] = [];
  const attempt = <Result>(step: () => Result): Result | undefined => {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      const { code, message } = error;
      if (!refusals.some((known) => known.message === message)) refusals.push({ code, message });
      return undefined;
    }
  };
  const shape = attempt(() => parseModule(request.bytes));
  if (shape === undefined) return { ...nothing, refusals };
  attempt(() => checkNames(shape));
  const contract = attempt(() => chooseContract(shape, request));
  const features = attempt(() => featuresOf(request.bytes, shape)) ?? [];
  const rewritten = attempt(() => contained(request.bytes, shape, request.maxMemoryBytes));
  if (rewritten !== undefined) attempt(() => compile(rewritten, request.bytes));
  return {
    ...(contract === undefined ? {} : { abi: contract.name }),
    ...outsideOf(shape),
    features,
    ...(rewritten === undefined ? {} : { meteredBytes: rewritten.byteLength }),
    refusals,
  };
}

function outsideOf(shape: ModuleShape): Omit<ModuleInspection, "abi" | "features" | "meteredBytes" | "refusals"> {
  const [memory] = shape.memories;
  return {
    imports: shownNames(importNames(shape)),
    exports: shownNames(exportNames(shape)),
    wasi: usesWasi(shape),
    functions: shape.functions.length,
    ...(memory === undefined ? {} : { memory: memoryOf(memory.initial, memory.maximum) }),
  };
}

function memoryOf(initial: number, maximum: number | undefined): NonNullable<ModuleInspection["memory"]> {
  const initialBytes = initial * pageBytes;
  return maximum === undefined ? { initialBytes } : { initialBytes, maxBytes: maximum * pageBytes };
}
