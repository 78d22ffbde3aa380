import { MillraceError } from "../../../../engine/errors.ts";
import { retryAfterMs } from "../../../retry-after.ts";
import { SourceRefusal } from "../../../source-refusal.ts";
import { readBody } from "../../network/body.ts";
import type { NetworkResponse } from "../../network/network.ts";
import type { Credential } from "./auth.ts";
import { formatReference, type OciReference } from "./reference.ts";

/** The field with which messages begin. */
export const field = "spec.wasm.source.oci";

/** Who asked for what. */
export interface Asked {
  readonly reference: OciReference;
  /** What of it, for messages: `the manifest of ghcr.io/acme/words:1.2`. */
  readonly what: string;
  readonly credential: Credential | undefined;
}

const maxFailureBytes = 64 * 1024;

/** A server that does not keep to the protocol, or to what it said before: worth another attempt, as it may be a proxy's doing. */
export function untrue(reference: OciReference, what: string, cause?: unknown): MillraceError {
  return new MillraceError(
    "Unavailable",
    `${field}: the registry of ${formatReference(reference)} ${what}`,
    cause === undefined ? {} : { cause },
  );
}

/** The image is there, and is not what can be run. */
export function unfit(reference: OciReference, what: string, cause?: unknown): MillraceError {
  return new MillraceError(
    "InvalidInput",
    `${field}: ${formatReference(reference)} ${what}`,
    cause === undefined ? {} : { cause },
  );
}

/** Translates an answer that is not 200, and lets its body go. @param nowMs for a `Retry-After` that is a date */
export async function failureOf(response: NetworkResponse, asked: Asked, nowMs: number): Promise<MillraceError> {
  const { status, headers } = response;
  const codes = await codesOf(response);
  const answered = `HTTP ${status}${codes === "" ? "" : ` ${codes}`}`;
  const { reference, what } = asked;
  if (status === 404) return notFound(reference, what, answered);
  if (status === 401 || status === 403) return refused(asked, answered);
  const wait = retryAfterMs(headers["retry-after"], nowMs);
  return new MillraceError(
    "Unavailable",
    status === 429
      ? `${field}: ${reference.registry} gives nobody more for now (${answered}), asked for ${what}. Use credentials (spec.wasm.pullSecretRef), a mirror, or pullPolicy IfNotPresent.`
      : untrue(reference, `answered ${answered}, asked for ${what}.`).message,
    wait === undefined ? {} : { retryAfterMs: wait },
  );
}

/** Nobody may have it with these credentials, or without any. */
export function refused({ reference, what, credential }: Asked, answered: string): MillraceError {
  const { registry, repository } = reference;
  const mend =
    credential === undefined
      ? `No credentials were sent. Check that there is such a repository; if it is private, name a Secret of the type kubernetes.io/dockerconfigjson with an entry for ${registry} in spec.wasm.pullSecretRef.`
      : `Check that the entry for ${registry} in the Secret of spec.wasm.pullSecretRef is still good, and may pull ${repository}.`;
  return new SourceRefusal("Unauthorized", `${field}: ${registry} refuses ${what} (${answered}). ${mend}`);
}

function notFound(reference: OciReference, what: string, answered: string): MillraceError {
  const { registry, repository } = reference;
  return new MillraceError(
    "NotFound",
    `${field}: ${registry} does not have ${what} (${answered}). Check the repository ${repository} and the tag or digest; was it pushed?`,
  );
}

/** The specification's codes that the body names. Its free text is left out: whoever it comes from may put anything there. */
async function codesOf(response: NetworkResponse): Promise<string> {
  try {
    const tooLong = () => new MillraceError("PayloadTooLarge", "a failure's body is too long to be looked into");
    const body: unknown = JSON.parse(Buffer.from(await readBody(response, maxFailureBytes, tooLong)).toString("utf8"));
    const { errors } = body as { readonly errors?: unknown };
    if (!Array.isArray(errors)) return "";
    const codes = errors.slice(0, 3).map((error) => String((error as { readonly code?: unknown } | null)?.code));
    return codes.filter((code) => /^[A-Z_]{1,40}$/.test(code)).join(", ");
  } catch {
    // No JSON, none of the specification's, or cut off: the status says enough.
    return "";
  }
}
