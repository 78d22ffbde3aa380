import { fromBase64 } from "./base64.ts";
import { isMinisign, verifyMinisign } from "./minisign.ts";
import { isSignedBy, type PublicKey } from "./public-key.ts";
import { invalid, type Verdict, valid } from "./verdict.ts";

/**
 * Checks a detached signature: minisign's file, or a signature by itself, as bytes or in base64, as `cosign sign-blob` and
 * openssl write it (of an ECDSA key, DER).
 */
export function verifyDetached(bytes: Uint8Array, file: Uint8Array, key: PublicKey): Verdict {
  const text = Buffer.from(file).toString();
  if (isMinisign(text)) return verifyMinisign(bytes, text, key);
  if (key.kind === "Minisign") return invalid("is no signature file of minisign, as the key's are");
  const signature = fromBase64(text.replace(/\s/g, "")) ?? file;
  return isSignedBy(bytes, signature, key) ? valid : invalid("was made by another key, or is of other content");
}
