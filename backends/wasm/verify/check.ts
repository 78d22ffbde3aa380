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
 * Passes if at least one of the signatures is of one of `keys` and of this module; others may be of other keys.
 * @param keys one at least
 * @param source for messages: `oci ghcr.io/acme/words:1.2`
 * @returns the first of the keys that has signed it
 * @throws InvalidInput that says where signatures were looked for, and what is wrong with each
 */
export function requireSignature(
  found: FoundSignatures,
  bytes: Uint8Array,
  keys: readonly PublicKey[],
  source: string,
): PublicKey {
  const tried: (readonly Verdict[])[] = [];
  for (const key of keys) {
    const verdicts = verdictsOf(found, bytes, key);
    if (verdicts.some(({ valid }) => valid)) return key;
    tried.push(verdicts);
  }
  throw new SourceRefusal("SignatureRefused", `spec.wasm.verify: ${complaint(tried, found.sought, keys, source)}`);
}

function verdictsOf(found: FoundSignatures, bytes: Uint8Array, key: PublicKey): readonly Verdict[] {
  if (found.kind === "Detached") return found.files.map((file) => verifyDetached(bytes, file, key));
  const { manifestDigest: digest, repository } = found;
  const manifest = repository === undefined ? { digest } : { digest, repository };
  return found.signatures.map((signature) => verifySimpleSigning(signature, key, manifest));
}

/** @param tried by key, what it makes of each signature */
function complaint(
  tried: readonly (readonly Verdict[])[],
  sought: string,
  keys: readonly PublicKey[],
  source: string,
): string {
  const whose = keys.map(({ name, fingerprint }) => `the ${name} (${fingerprint.slice(0, 19)}…)`).join(" or ");
  const signatures = tried[0]?.length ?? 0;
  if (signatures === 0) {
    return `the WASM module of ${source} is not signed: there is no signature at ${sought}. Sign it with ${whose}, or take verify out.`;
  }
  const whys = Array.from({ length: signatures }, (_, index) => `signature ${index + 1} ${whyNot(tried, index)}`);
  return `the WASM module of ${source} has no signature by ${whose} at ${sought}: ${whys.join("; ")}. Sign these very bytes with that key, or name the key that signed them.`;
}

/** To keys of one kind it is mostly the same. */
function whyNot(tried: readonly (readonly Verdict[])[], index: number): string {
  const whys = tried.flatMap((verdicts) => {
    const verdict = verdicts[index];
    return verdict === undefined || verdict.valid ? [] : [verdict.why];
  });
  return [...new Set(whys)].join(", or ");
}
