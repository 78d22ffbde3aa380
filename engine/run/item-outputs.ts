import { MillraceError } from "../errors.ts";
import { contentKind, decodeText } from "../expressions/json-values.ts";
import type { Payload } from "../payload.ts";
import { BytesPayload, jsonType, mediaType } from "../payload.ts";

/** The largest output of a fan-out, in bytes: that of the largest payload. */
export const maxListBytes = 64 * 1024 * 1024;

/** How many items' outputs are fetched at a time. */
const fetchedAtOnce = 16;

const encoder = new TextEncoder();
const nothing = encoder.encode("null");
const comma = encoder.encode(",");
const byteOrderMark = 0xef;

/**
 * The list of these payloads as JSON, null where there is none: JSON as it is, text as strings, all else as
 * `{contentType, base64}`. `workedOn` is told of the bytes, and may give something to wait for.
 */
export async function listOf(
  outputs: readonly (Payload | undefined)[],
  signal: AbortSignal,
  workedOn: (bytes: number) => Promise<void> | undefined,
): Promise<Payload> {
  refuseLarge(outputs.reduce((bytes, output) => bytes + 1 + (output?.size ?? nothing.byteLength), 1));
  const parts: Uint8Array[] = [encoder.encode("[")];
  let bytes = 2;
  for (let from = 0; from < outputs.length; from += fetchedAtOnce) {
    const batch = outputs.slice(from, from + fetchedAtOnce);
    const fetched = await Promise.all(batch.map(async (output) => output?.bytes(signal)));
    let worked = 0;
    for (const [at, output] of batch.entries()) {
      const element = elementOf(from + at, output, fetched[at]);
      if (from + at > 0) parts.push(comma);
      parts.push(element);
      worked += element.byteLength;
    }
    bytes += worked + batch.length;
    refuseLarge(bytes);
    await workedOn(worked);
  }
  parts.push(encoder.encode("]"));
  return new BytesPayload(Buffer.concat(parts), jsonType);
}

function elementOf(index: number, output: Payload | undefined, bytes: Uint8Array | undefined): Uint8Array {
  if (output === undefined || bytes === undefined) return nothing;
  const { contentType } = output;
  try {
    switch (contentKind(contentType)) {
      case "JSON":
        return checkedJson(bytes, contentType);
      case "Text":
        return encoder.encode(JSON.stringify(decodeText(bytes, mediaType(contentType))));
      case "Bytes":
        return encoder.encode(JSON.stringify({ contentType, base64: Buffer.from(bytes).toString("base64") }));
    }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.slice(0, 200) : "";
    const message = `the output of item ${index} is not what its content type ${contentType} says: ${why}`;
    throw new MillraceError("InvalidInput", message, { cause });
  }
}

/** The bytes themselves, so that no number changes; but no byte order mark, which may stand at a text's beginning only. */
function checkedJson(bytes: Uint8Array, contentType: string): Uint8Array {
  const text = decodeText(bytes, mediaType(contentType));
  JSON.parse(text);
  return bytes[0] === byteOrderMark ? encoder.encode(text) : bytes;
}

function refuseLarge(bytes: number): void {
  if (bytes <= maxListBytes) return;
  const limit = `the list of a fan-out's outputs may take at most ${maxListBytes}; let its items give less, for example where it is stored`;
  throw new MillraceError("PayloadTooLarge", `the items' outputs take at least ${bytes} bytes together; ${limit}`);
}
