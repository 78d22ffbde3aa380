import type { MillraceError } from "../../../engine/errors.ts";
import type { NetworkResponse } from "./network.ts";

/** The room that is made for a body of unknown length. */
const firstBytes = 16 * 1024;

/**
 * The whole body, of `maxBytes` at most: more is refused as soon as it is announced or has come, and not read on.
 * @param tooLarge the error for more, told how many bytes there are, as far as known
 * @param onChunk told of each part as it comes, before the next
 * @throws `tooLarge`'s error, and what the body throws
 */
export async function readBody(
  response: NetworkResponse,
  maxBytes: number,
  tooLarge: (bytes: number) => MillraceError,
  onChunk?: (chunk: Uint8Array) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const announced = Number(response.headers["content-length"] ?? 0);
  if (announced > maxBytes) {
    await response.discard();
    throw tooLarge(announced);
  }
  // Copied as they come: a server can send its bytes one by one, and each would be an object of many times its size.
  let bytes = new Uint8Array(Math.min(Math.max(announced, firstBytes), maxBytes));
  let length = 0;
  for await (const chunk of response.body) {
    const end = length + chunk.byteLength;
    if (end > maxBytes) throw tooLarge(end);
    if (end > bytes.byteLength) bytes = grown(bytes, Math.min(Math.max(end, 2 * bytes.byteLength), maxBytes));
    bytes.set(chunk, length);
    onChunk?.(chunk);
    length = end;
  }
  return length === bytes.byteLength ? bytes : bytes.slice(0, length);
}

function grown(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(length);
  larger.set(bytes);
  return larger;
}
