import { SourceRefusal } from "../../source-refusal.ts";
import { verifyDetached } from "./detached.ts";
import type { PublicKey } from "./public-key.ts";
import { type SimpleSignature, verifySimpleSigning } from "./simple-signing.ts";
import type { Verdict } from "./verdict.ts";

/** What was found where a module's signatures are kept, and in words where that is. */
export type FoundSignatures =
  /** Of the module's bytes. */
  | { readonly kind: "Detached"; readonly files: readonly Uint8Array[]; readonly sought: string }
  /** Cosign's, of the manifest that names the module's bytes. */
  | {
      readonly kind: "SimpleSigning";
      readonly manifestDigest: string;
      /** See `SignedManifest`. */
      readonly repository?: string;
      readonly signatures: readonly SimpleSignature[];
      readonly sought: string;
    };

/**
 * Passes if at least one of the signatures is of `key` and of this module; others may be of other keys.
 * @param source for messages: `oci ghcr.io/acme/words:1.2`
 * @throws InvalidInput that says where signatures were looked for, and what is wrong with each
 */
export function requireSignature(found: FoundSignatures, bytes: Uint8Array, key: PublicKey, source: string): void {
  const verdicts = verdictsOf(found, bytes, key);
  if (verdicts.some(({ valid }) => valid)) return;
  throw new SourceRefusal("SignatureRefused", `spec.wasm.verify: ${complaint(verdicts, found.sought, key, source)}`);
}

function verdictsOf(found: FoundSignatures, bytes: Uint8Array, key: PublicKey): readonly Verdict[] {
  if (found.kind === "Detached") return found.files.map((file) => verifyDetached(bytes, file, key));
  const { manifestDigest: digest, repository } = found;
  const manifest = repository === undefined ? { digest } : { digest, repository };
  return found.signatures.map((signature) => verifySimpleSigning(signature, key, manifest));
}

function complaint(
  verdicts: readonly Verdict[],
  sought: string,
  { name, fingerprint }: PublicKey,
  source: string,
): string {
  const whose = `the ${name} (${fingerprint.slice(0, 19)}…)`;
  if (verdicts.length === 0) {
    return `the WASM module of ${source} is not signed: there is no signature at ${sought}. Sign it with ${whose}, or take verify out.`;
  }
  const whys = verdicts.flatMap((verdict, index) => (verdict.valid ? [] : [`signature ${index + 1} ${verdict.why}`]));
  return `the WASM module of ${source} has no signature by ${whose} at ${sought}: ${whys.join("; ")}. Sign these very bytes with that key, or name the key that signed them.`;
}
