import type { ErrorCode } from "../../../engine/errors.ts";
import type { GuestAnswer, GuestRequest, GuestTarget } from "../abis/guest.ts";
import type { AdmissionRequest, AdmittedModule } from "../admission/admit.ts";
import type { GuestLink } from "./guest-link.ts";

/** What a worker is asked to do; "WarmUp" asks for nothing but that there is one. */
export type WasmJob =
  | { readonly kind: "WarmUp" }
  | { readonly kind: "Admit"; readonly request: AdmissionRequest }
  | CallJob;

export interface CallJob {
  /** "Smoke": all of a call but the entrypoint. */
  readonly kind: "Call" | "Smoke";
  /** The name of a loaded processor's module with its limits, entrypoint and whatever else its target has. */
  readonly id: string;
  /** Left out as long as the worker may know it: posting a module costs some tens of microseconds. */
  readonly target?: GuestTarget;
  readonly request: GuestRequest;
  /** Absent: the guest has no network. */
  readonly link?: GuestLink;
}

/** What it answers. A MillraceError does not survive structured clone: it crosses as code and message. */
export type WasmAnswer =
  | { readonly kind: "Warm" }
  | { readonly kind: "Admitted"; readonly module: AdmittedModule }
  | { readonly kind: "Called"; readonly answer: GuestAnswer }
  | { readonly kind: "UnknownModule" }
  | { readonly kind: "Refused"; readonly code: ErrorCode; readonly message: string };
