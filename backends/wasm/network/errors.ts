import { type ErrorCode, MillraceError } from "../../../engine/errors.ts";
import { AddressRefused } from "./connect.ts";

/** What is fetched, for messages. */
export interface Fetched {
  /** The field that names it, with which every message begins: `spec.wasm.source.http`. */
  readonly field: string;
  readonly url: URL;
}

/** A URL without what may be secret or long: its query is left out. */
export function printableUrl(url: URL): string {
  const path = url.pathname.length <= 200 ? url.pathname : `${url.pathname.slice(0, 199)}…`;
  return `${placeOf(url)}${path}${url.search === "" ? "" : "?…"}`;
}

/** Of what is neither http nor https, as `file:`, the origin is the word "null". */
function placeOf({ origin, protocol, host, href }: URL): string {
  if (origin !== "null") return origin;
  return `${protocol}${href.startsWith(`${protocol}//`) ? "//" : ""}${host}`;
}

/** An error about `fetched`, as a sentence that begins with its field. */
export function fetchError(code: ErrorCode, { field, url }: Fetched, what: string, cause?: unknown): MillraceError {
  return new MillraceError(code, `${field}: ${printableUrl(url)} ${what}`, cause === undefined ? {} : { cause });
}

/** What the certificate checks of OpenSSL and Node call what the administrator can mend with an authority of their own. */
const untrusted: ReadonlySet<string> = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

/** What a server that speaks http, or something else, makes of a client that begins TLS. */
const noTls: ReadonlySet<string> = new Set(["ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_PACKET_LENGTH_TOO_LONG"]);

const timeouts: Readonly<Record<string, string>> = {
  UND_ERR_CONNECT_TIMEOUT: "could not be connected to",
  UND_ERR_HEADERS_TIMEOUT: "did not answer",
  UND_ERR_BODY_TIMEOUT: "fell silent in the middle of its answer",
};

/** Translates what undici and its sockets throw: SandboxViolation for a refused address, InvalidInput for what cannot be sent, else Unavailable. */
export function networkError(fetched: Fetched, thrown: unknown): MillraceError {
  if (thrown instanceof MillraceError) return thrown;
  if (thrown instanceof AddressRefused) return refusedAddress(fetched, thrown);
  const code = codeOf(thrown);
  const timeout = timeouts[code];
  if (timeout !== undefined) return fetchError("Unavailable", fetched, `${timeout} in time (${code}).`, thrown);
  const message = messageOf(thrown);
  if (code === "UND_ERR_INVALID_ARG")
    return fetchError("InvalidInput", fetched, `cannot be asked so: ${message}.`, thrown);
  if (untrusted.has(code)) {
    const mend = "The administrator names the authority that signed it with --registry-ca-file.";
    const what = `has a certificate that is not trusted: ${message} (${code}). ${mend}`;
    return fetchError("Unavailable", fetched, what, thrown);
  }
  if (noTls.has(code)) {
    const mend =
      "Name the port that does; or use http://, where the administrator allows that with --insecure-registry.";
    return fetchError("Unavailable", fetched, `speaks no TLS on this port (${code}). ${mend}`, thrown);
  }
  return fetchError("Unavailable", fetched, `cannot be fetched: ${message}.`, thrown);
}

function refusedAddress(fetched: Fetched, { address, why }: AddressRefused): MillraceError {
  const { hostname } = fetched.url;
  const at = hostname.replace(/^\[(.*)\]$/, "$1") === address ? "is at" : `is at ${address},`;
  const what =
    `${at} ${why}, and nothing inside may be reached for a Processor. ` +
    "Name a host with a public address, or have the administrator allow this one with --allow-addresses (or --insecure-registry, if it has no TLS).";
  return fetchError("SandboxViolation", fetched, what);
}

function codeOf(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
}

/** Of a host with more than one address each attempt's, as the error that holds them says nothing. */
function messageOf(thrown: unknown): string {
  if (thrown instanceof AggregateError) return thrown.errors.map(messageOf).join("; ");
  if (!(thrown instanceof Error)) return String(thrown);
  // OpenSSL's own text has lines, addresses and file names of its source around what it says.
  if ("reason" in thrown && typeof thrown.reason === "string") return `${thrown.reason} (${codeOf(thrown)})`;
  return thrown.message === "" ? codeOf(thrown) : thrown.message;
}
