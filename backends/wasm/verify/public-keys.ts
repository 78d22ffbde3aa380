import { type PublicKey, parsePublicKey, refusedKey } from "./public-key.ts";

/** While keys are exchanged there are two. Each one more is another look at the whole module, in the main thread. */
const maxKeys = 4;

/** What minisign writes above a key. */
const minisignComment = "untrusted comment:";

/**
 * Reads the keys of which any may have signed: PEMs one after the other, or minisign's keys.
 * @param where as of {@link parsePublicKey}
 * @throws InvalidInput when one of them is none, or there are more than 4
 */
export function parsePublicKeys(text: string, where: string): readonly PublicKey[] {
  const parts = partsOf(text.trim());
  if (parts.length > maxKeys) throw refusedKey(where, `holds ${parts.length} keys, and may hold ${maxKeys} at most.`);
  const places = parts.length === 1 ? [where] : parts.map((_part, index) => `${where} (its key ${index + 1})`);
  return parts.map((part, index) => parsePublicKey(part, places[index] ?? where));
}

function partsOf(text: string): readonly string[] {
  if (text.startsWith("-----")) return text.split(/(?<=-----END [A-Z ]+-----)\s+(?=-----BEGIN )/);
  const lines = text.split("\n").map((line) => line.trim());
  const keys = lines.filter((line) => line !== "" && !line.startsWith(minisignComment));
  return keys.length === 0 ? [text] : keys;
}
