import { fromBase64 } from "./base64.ts";
import { isSignedBy, type PublicKey } from "./public-key.ts";
import { invalid, type Verdict, valid } from "./verdict.ts";

/** A signature of cosign's, and what it signs. */
export interface SimpleSignature {
  /** The layer's bytes. */
  readonly payload: Uint8Array;
  /** Base64: the layer's annotation `dev.cosignproject.cosign/signature`. */
  readonly signature: string;
}

/** What must have been signed. */
export interface SignedManifest {
  /** `sha256:…` */
  readonly digest: string;
  /** `registry/repository`, which the payload must name where it names one. Absent: any may have been signed. */
  readonly repository?: string;
}

const payloadType = "cosign container image signature";

/** Checks a signature in the format "simple signing": made by the key, and of a payload that names this very manifest. */
export function verifySimpleSigning(signed: SimpleSignature, key: PublicKey, manifest: SignedManifest): Verdict {
  if (key.kind === "Minisign") return invalid(`was made by cosign, which does not sign with a ${key.name}`);
  const signature = fromBase64(signed.signature);
  if (signature === undefined) return invalid("is no base64");
  if (!isSignedBy(signed.payload, signature, key)) return invalid("was made by another key, or is of another payload");
  // Only now that it is known to be the key owner's is it read.
  const payload = parse(signed.payload);
  if (payload === undefined) return invalid("is of a payload that is not cosign's");
  if (payload.type !== payloadType) return invalid(`is of type ${JSON.stringify(payload.type)}, not "${payloadType}"`);
  if (payload.digest !== manifest.digest) return invalid(`is of another manifest, ${String(payload.digest)}`);
  return verifyRepository(payload.reference, manifest.repository);
}

interface Payload {
  readonly type: unknown;
  readonly digest: unknown;
  readonly reference: unknown;
}

function parse(payload: Uint8Array): Payload | undefined {
  try {
    const { critical } = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload)) as {
      readonly critical: {
        readonly type: unknown;
        readonly image: { readonly "docker-manifest-digest": unknown };
        readonly identity?: { readonly "docker-reference"?: unknown } | null;
      };
    };
    const reference = critical.identity?.["docker-reference"];
    return { type: critical.type, digest: critical.image["docker-manifest-digest"], reference };
  } catch {
    return undefined;
  }
}

function verifyRepository(reference: unknown, repository: string | undefined): Verdict {
  if (reference === undefined || reference === "" || repository === undefined) return valid;
  if (typeof reference === "string" && normal(reference) === normal(repository)) return valid;
  return invalid(`is of the repository ${JSON.stringify(reference)}, not ${repository}`);
}

/** Docker Hub's host has three names, and a reference may have a tag or a digest after its repository. */
function normal(reference: string): string {
  const repository = reference.replace(/@.*$/, "").replace(/:[^/:]*$/, "");
  return repository.replace(/^(?:index\.|registry-1\.)?docker\.io\/(?:library\/)?/, "docker.io/");
}
