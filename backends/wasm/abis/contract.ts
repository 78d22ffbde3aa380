import type { WasmAbi } from "../../backend.ts";
import type { FunctionType, ValueType } from "../binary/shape.ts";

export type AbiName = WasmAbi;

/** Functions by name, with their types. */
export type FunctionTypes = Readonly<Record<string, FunctionType>>;

/** What one ABI demands of a module's outside. */
export interface AbiContract {
  readonly name: AbiName;
  /** Allowed imports: by module name, by function name, its type. WASI preview 1 is allowed to every ABI besides. */
  readonly imports: Readonly<Record<string, FunctionTypes>>;
  /** Demanded exports, the entrypoint apart: a function's type, or "memory". */
  readonly exports: Readonly<Record<string, FunctionType | "memory">>;
  /** What to do about imports of a module that is not given: by its name. */
  readonly mends?: Readonly<Record<string, string>>;
  /** An import module that tells this ABI where its exports would not; absent: the exports do. */
  readonly mark?: string;
  /** The type of the exported function that is the entrypoint, or that it is the name of an operation and no export. */
  readonly entrypoint: FunctionType | "operation";
  /** Exports that are called once in a fresh instance, in this order, where they are there; those told by name alone are `() → ()`. */
  readonly initializers: readonly (string | Initializer)[];
}

/** Called with zeros. */
export interface Initializer {
  readonly name: string;
  readonly type: FunctionType;
  /** An export in whose presence it is not called, as that calls it. */
  readonly unless?: string;
}

const nothing = type("", "");

/** The initializers of a module that has these exports. */
export function initializersOf(contract: AbiContract, has: (name: string) => boolean): Initializer[] {
  return contract.initializers
    .map((one) => (typeof one === "string" ? { name: one, type: nothing } : one))
    .filter(({ name, unless }: Initializer) => has(name) && !(unless !== undefined && has(unless)));
}

/** `type("i32 i32", "i64")`: a function's type, as a table writes it. */
export function type(params: string, results: string): FunctionType {
  const split = (list: string) => (list === "" ? [] : (list.split(" ") as ValueType[]));
  return { params: split(params), results: split(results) };
}
