const digestPattern = /^sha256:[0-9a-f]{64}$/;
const namespaceUidPattern = /^[0-9A-Za-z][0-9A-Za-z-]{0,63}$/;
const recordKeyPattern = /^[0-9a-f]{32,64}$/;

/** Whether the text is `sha256:` and 64 lower-case hexadecimal digits: checked before it becomes part of a path. */
export function isDigest(text: string): boolean {
  return digestPattern.test(text);
}

/** The 64 hexadecimal digits of a digest. */
export function hexOf(digest: string): string {
  return digest.slice("sha256:".length);
}

/** Whether the text can be an object's UID: checked before it becomes part of a path. */
export function isNamespaceUid(text: string): boolean {
  return namespaceUidPattern.test(text);
}

/** Whether the text is 32 to 64 lower-case hexadecimal digits: checked before it becomes part of a path. */
export function isRecordKey(text: string): boolean {
  return recordKeyPattern.test(text);
}
