import { join } from "node:path";
import { MillraceError } from "../../engine/errors.ts";
import { hexOf, isDigest, isNamespaceUid, isRecordKey } from "./digest.ts";

/** Beside the folders of payloads, whose names are two digits. */
const recordsFolder = "records";

/** `<root>/<namespace UID>`. Throws MillraceError Internal for what is no UID: nothing climbs out of the store's folder. */
export function namespaceFolder(root: string, namespaceUid: string): string {
  if (isNamespaceUid(namespaceUid)) return join(root, namespaceUid);
  throw new MillraceError("Internal", `"${namespaceUid}" is not the UID of a namespace`);
}

/** `<root>/<namespace UID>/<first two hex digits>/<sha256>`. Throws MillraceError InvalidInput for what is no digest. */
export function payloadPath(root: string, namespaceUid: string, digest: string): string {
  if (!isDigest(digest)) {
    const mend = `one is "sha256:" and 64 hexadecimal digits`;
    throw new MillraceError("InvalidInput", `"${digest}" is not a digest; ${mend}`);
  }
  const hex = hexOf(digest);
  return join(namespaceFolder(root, namespaceUid), hex.slice(0, 2), hex);
}

/** `<root>/<namespace UID>/records`. */
export function recordsRoot(root: string, namespaceUid: string): string {
  return join(namespaceFolder(root, namespaceUid), recordsFolder);
}

/** `<root>/<namespace UID>/records/<first two digits>/<key>`. Throws MillraceError Internal for what is no key. */
export function recordPath(root: string, namespaceUid: string, key: string): string {
  if (isRecordKey(key)) return join(recordsRoot(root, namespaceUid), key.slice(0, 2), key);
  throw new MillraceError("Internal", `"${key}" is not the key of a record; one has 32 to 64 hexadecimal digits`);
}
