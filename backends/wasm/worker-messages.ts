import type { ErrorCode } from "../../engine/errors.ts";
import type { DirectRequest, DirectResult } from "./abis/direct.ts";
import type { AdmissionRequest, AdmittedModule } from "./admit.ts";

/** What a worker is asked to do; "WarmUp" asks for nothing but that there is one. */
export type WasmJob =
  | { readonly kind: "WarmUp" }
  | { readonly kind: "Admit"; readonly request: AdmissionRequest }
  | CallJob;

export interface CallJob {
  readonly kind: "Call";
  /** The name of an admitted module with its limits and entrypoint. */
  readonly id: string;
  readonly entrypoint: string;
  readonly maxMemoryBytes: number;
  /** Left out as long as the worker may know the module: posting it costs some tens of microseconds. */
  readonly module: WebAssembly.Module | undefined;
  readonly request: DirectRequest;
}

/** What it answers. A MillraceError does not survive structured clone: it crosses as code and message. */
export type WasmAnswer =
  | { readonly kind: "Warm" }
  | { readonly kind: "Admitted"; readonly module: AdmittedModule }
  | { readonly kind: "Called"; readonly result: DirectResult }
  | { readonly kind: "UnknownModule" }
  | { readonly kind: "Refused"; readonly code: ErrorCode; readonly message: string };
