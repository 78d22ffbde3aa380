/** What a digest begins with. */
export const digestPrefix = "sha256:";

/** `sha256:…`, on a thread of the platform's pool: a large module takes tens of milliseconds. */
export async function digestOffThread(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return `${digestPrefix}${Buffer.from(digest).toString("hex")}`;
}
