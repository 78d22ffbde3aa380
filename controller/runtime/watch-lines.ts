const newline = 0x0a;

/** A line longer than this is no watch event of an API server (an object is about 1.5 MiB in etcd). */
const maxLineBytes = 16 * 1024 * 1024;

/**
 * The lines of a byte stream, each decoded once. Chunks are kept as they came until their line is complete, so that a
 * line of many chunks costs one copy. Throws when the stream ends within a line, or a line passes 16 MiB.
 */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      pending.push(chunk.subarray(start, end));
      const line = decode(pending);
      pending = [];
      pendingBytes = 0;
      start = end + 1;
      if (line !== "") yield line;
    }
    if (start === chunk.byteLength) continue;
    pending.push(chunk.subarray(start));
    pendingBytes += chunk.byteLength - start;
    if (pendingBytes > maxLineBytes) throw new Error(`a watch event is longer than ${maxLineBytes} bytes`);
  }
  if (pendingBytes > 0) throw new Error(`the connection ended within a watch event, after ${pendingBytes} bytes of it`);
}

function decode(parts: readonly Uint8Array[]): string {
  const [only] = parts;
  const bytes = parts.length === 1 && only ? only : Buffer.concat(parts);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8").trim();
}
