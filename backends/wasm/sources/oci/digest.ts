import { createHash } from "node:crypto";

/** The algorithms that the OCI image specification registers, with the hex digits of each. */
const hexDigits: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 };

export function isDigest(text: string): boolean {
  const [algorithm = "", hex = "", ...more] = text.split(":");
  if (more.length > 0 || !Object.hasOwn(hexDigits, algorithm)) return false;
  return hex.length === hexDigits[algorithm] && /^[0-9a-f]+$/.test(hex);
}

/** The digest of `bytes` by the algorithm of `like`, which is a digest; `sha256` without one. */
export function digestOf(bytes: Uint8Array, like = "sha256:"): string {
  const algorithm = like.slice(0, like.indexOf(":"));
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}
