import { type ErrorCode, MillraceError } from "../engine/errors.ts";

/** Why a source gives no module, where the code of the error does not tell it from other refusals. */
export type SourceRefusalKind =
  /** Not to these credentials, or to nobody without any. */
  | "Unauthorized"
  /** No signature, or none of the key that was asked for. */
  | "SignatureRefused"
  /** It may only come from the cache, which does not have it. */
  | "NotCached";

const codes = {
  Unauthorized: "InvalidInput",
  SignatureRefused: "InvalidInput",
  NotCached: "NotFound",
} as const satisfies Record<SourceRefusalKind, ErrorCode>;

/** Thrown by a backend that may not have a module; the controller's conditions have a reason for each kind. */
export class SourceRefusal extends MillraceError {
  readonly refusal: SourceRefusalKind;

  constructor(refusal: SourceRefusalKind, message: string) {
    super(codes[refusal], message);
    this.refusal = refusal;
  }
}
