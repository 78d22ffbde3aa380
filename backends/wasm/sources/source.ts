import { MillraceError } from "../../../engine/errors.ts";
import type { ResolvedSource } from "../../backend.ts";
import { SourceRefusal } from "../../source-refusal.ts";
import type { FoundSignatures } from "../verify/check.ts";

/** Where a module comes from, as one Processor names it. */
export type ModuleSource = LocalSource | RemoteSource;

/** A source at hand: it is read each time. */
export interface LocalSource {
  readonly kind: "Local";
  /** For the status and for messages: `file words.wasm`, `ConfigMap words/words.wasm`. */
  readonly name: string;
  /** What it names now; reads no more than it must. */
  resolve(signal: AbortSignal): Promise<ResolvedSource>;
  /** @throws NotFound, PayloadTooLarge, SandboxViolation, InvalidInput, Unavailable */
  read(signal: AbortSignal): Promise<Uint8Array>;
  signatures(signal: AbortSignal): Promise<FoundSignatures>;
}

/** A source behind the network, which is asked as seldom as may be. */
export interface RemoteSource {
  readonly kind: "Remote";
  readonly name: string;
  /** With its kind, in its normal form: `oci ghcr.io/acme/words:1.2`. */
  readonly reference: string;
  /** Whether what it names is expected to change: then it is asked each time, unless the Processor says otherwise. */
  readonly moves: boolean;
  /** Tells its credentials from others; no secret can be had from it. */
  readonly credentials: string;
  /**
   * Asks what it names now, by its own credentials.
   * @param known what it said before; it need not say again what has not changed
   * @throws NotFound, Unavailable, SandboxViolation (address), InvalidInput (no module there)
   */
  resolve(known: Resolution | undefined, signal: AbortSignal): Promise<Resolution>;
  /** The bytes of what was resolved, or of what is there instead by now: then `resolution` tells. */
  fetch(resolution: Resolution, signal: AbortSignal): Promise<FetchedModule>;
  signatures(resolution: Resolution, signal: AbortSignal): Promise<FoundSignatures>;
}

/** What a source named at one time. Plain data, which is stored as JSON. */
export interface Resolution {
  /** The same as long as the source names the same: a manifest's digest, an ETag. */
  readonly version: string;
  /** Of an OCI source: `registry/repository@sha256:…` of the manifest. */
  readonly reference?: string;
  /** `sha256:…` of the module's bytes, where that is known without them. */
  readonly digest?: string;
  /** What else the source needs in order to ask again, or to fetch; nobody else reads it. */
  readonly details?: Readonly<Record<string, string>>;
}

/** A module that was fetched, and what the source called it. */
export interface FetchedModule {
  readonly bytes: Uint8Array;
  readonly resolution: Resolution;
}

/** What is read of a detached signature, in bytes. */
export const maxSignatureBytes = 64 * 1024;

/** What is where the signature belongs is larger than any signature; nothing of it was checked. */
export function signatureTooLarge(place: string, bytes: number): SourceRefusal {
  return new SourceRefusal(
    "SignatureRefused",
    `spec.wasm.verify: the signature at ${place} has ${bytes} bytes, over the limit of ${maxSignatureBytes} bytes for signatures. Put there what minisign, cosign or openssl wrote, and not what was signed.`,
  );
}

/** A module is larger than modules may be; nothing of it was compiled. */
export function moduleTooLarge(source: string, bytes: number, maxBytes: number): MillraceError {
  return new MillraceError(
    "PayloadTooLarge",
    `The WASM module of ${source}: ${bytes} bytes, over the limit of ${maxBytes} bytes for modules. Strip its debug information (wasm-strip, or the linker's -s), or optimise it for size.`,
  );
}
