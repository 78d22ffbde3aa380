import { MillraceError } from "../../../engine/errors.ts";
import type { WasmModule, WasmPublicKey } from "../../backend.ts";
import { type ReadSecret, readSecretOf, type SecretData } from "../sources/secret.ts";
import { type FoundSignatures, requireSignature } from "../verify/check.ts";
import { parsePublicKeys } from "../verify/public-keys.ts";

/** Public keys of which any may have signed a module. */
export interface SignatureCheck {
  /** Each tells one of the keys from others. */
  readonly fingerprints: readonly string[];
  /**
   * The fingerprint of the key that has signed it.
   * @throws InvalidInput when no signature is there, or none is of these keys
   */
  check(signatures: FoundSignatures, bytes: Uint8Array, source: string): string;
}

const field = "spec.wasm.verify.publicKeySecretRef";

/** Which keys of a Secret are taken for the public one where it has more than one and the Processor names none. */
const usualKeys = ["cosign.pub", "minisign.pub"] as const;

/**
 * The check that a Processor demands; undefined: none.
 * @throws NotFound (the Secret, its key), InvalidInput (no public key)
 */
export async function signatureCheckOf(
  read: ReadSecret | undefined,
  namespace: string,
  { verify }: WasmModule,
  signal: AbortSignal,
): Promise<SignatureCheck | undefined> {
  if (verify === undefined) return undefined;
  const data = await readSecretOf(read, { namespace, name: verify.secret, field }, signal);
  const name = keyNameOf(verify, data);
  const keys = parsePublicKeys(new TextDecoder().decode(data[name]), `key ${name} of the Secret ${verify.secret}`);
  return {
    fingerprints: keys.map(({ fingerprint }) => fingerprint),
    check: (signatures, bytes, source) => requireSignature(signatures, bytes, keys, source).fingerprint,
  };
}

function keyNameOf({ secret, key }: WasmPublicKey, data: SecretData): string {
  const names = Object.keys(data);
  const [only] = names;
  const found = key ?? (names.length === 1 ? only : usualKeys.find((name) => names.includes(name)));
  if (found !== undefined && names.includes(found)) return found;
  const sought = key === undefined ? usualKeys.join(" or ") : key;
  throw new MillraceError(
    "NotFound",
    `${field}: the Secret ${secret} has no key ${sought}; it has ${names.length === 0 ? "none" : names.join(", ")}. Name the one that holds the public key (key).`,
  );
}
