import { MillraceError } from "../../../engine/errors.ts";
import type { AbiName } from "./contract.ts";

/** The module did not keep to its ABI. */
export function brokenRule(abi: AbiName, what: string): MillraceError {
  return new MillraceError("ProcessorCrashed", `The WASM module broke the rules of ABI ${abi}: ${what}.`);
}

export function tooMuch(what: string, bytes: number, maxBytes: number): MillraceError {
  return new MillraceError("PayloadTooLarge", `${what}: ${bytes} bytes, over the limit of ${maxBytes} bytes`);
}
