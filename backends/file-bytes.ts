import type { FileHandle } from "node:fs/promises";

/**
 * Reads an open file from its start into `target`, until either ends.
 * @returns how many bytes were read
 * @throws the system's error; `signal`'s reason
 */
export async function fillFrom(handle: FileHandle, target: Uint8Array, signal?: AbortSignal): Promise<number> {
  let length = 0;
  while (length < target.byteLength) {
    signal?.throwIfAborted();
    const { bytesRead } = await handle.read(target, length, target.byteLength - length, length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return length;
}
