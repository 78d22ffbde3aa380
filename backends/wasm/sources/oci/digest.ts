/** The algorithms that the OCI image specification registers, with the hex digits of each. */
const hexDigits: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 };

export function isDigest(text: string): boolean {
  const [algorithm = "", hex = "", ...more] = text.split(":");
  if (more.length > 0 || !Object.hasOwn(hexDigits, algorithm)) return false;
  return hex.length === hexDigits[algorithm] && /^[0-9a-f]+$/.test(hex);
}
