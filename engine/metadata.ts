/** What a step says about its payload: short strings by name. A key is a letter or digit, then up to 62 of `[A-Za-z0-9_.-]`. */
export type Metadata = Readonly<Record<string, string>>;

export const noMetadata: Metadata = Object.freeze({});

/** What a request may carry in metadata, and what a response may: names and values in UTF-8, in bytes. */
export const maxMetadataBytes = 8 * 1024;

/** What a step's options may take as JSON, in bytes. */
export const maxOptionsBytes = 4 * 1024;

export const metadataKeyPattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;

/** The bytes that names and values take in UTF-8. */
export function metadataBytes(metadata: Metadata): number {
  let bytes = 0;
  for (const key in metadata) bytes += Buffer.byteLength(key) + Buffer.byteLength(metadata[key] ?? "");
  return bytes;
}
