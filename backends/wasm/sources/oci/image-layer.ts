import { basename } from "node:path/posix";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { createTarDecoder, type ParsedTarEntry } from "modern-tar";
import { MillraceError } from "../../../../engine/errors.ts";
import { moduleTooLarge } from "../source.ts";
import { unfit } from "./failures.ts";
import { listed } from "./manifest.ts";
import { formatReference, type OciReference } from "./reference.ts";

export interface LayerLimits {
  readonly maxModuleBytes: number;
  /** Of the whole tar once it is unpacked. */
  readonly maxLayerBytes: number;
}

/** What an image with several modules calls the one that is meant. */
const preferredName = "plugin.wasm";
/** What a tar is fed in, and counted by. */
const sliceBytes = 64 * 1024;

/**
 * The module in a verified layer: its only `*.wasm` file, or the `plugin.wasm` at its root. How the layer is compressed is seen from
 * its first bytes, as media types are often wrong; one that is a module itself is given as it is.
 * @throws MillraceError InvalidInput, PayloadTooLarge, the signal's reason
 */
export async function readLayer(
  layer: Uint8Array,
  reference: OciReference,
  limits: LayerLimits,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const format = formatOf(layer);
  if (format === "wasm") return layer;
  const files = new Map<string, Uint8Array>();
  try {
    const unpacker = { gzip: createGunzip, zstd: createZstdDecompress, tar: undefined }[format];
    const tar = (source: AsyncIterable<Uint8Array>) => counted(source, reference, limits.maxLayerBytes);
    const into = (source: AsyncIterable<Uint8Array>) => readTar(source, files, reference, limits.maxModuleBytes);
    if (unpacker === undefined) await pipeline(slices(layer), tar, into, { signal });
    else await pipeline(slices(layer), unpacker(), tar, into, { signal });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof MillraceError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw unfit(reference, `has a layer that cannot be unpacked (as ${format}): ${message}`, error);
  }
  return chooseFile(files, reference);
}

function formatOf(bytes: Uint8Array): "wasm" | "gzip" | "zstd" | "tar" {
  const start = Buffer.from(bytes.subarray(0, 4)).toString("hex");
  if (start === "0061736d") return "wasm";
  if (start === "28b52ffd") return "zstd";
  return start.startsWith("1f8b") ? "gzip" : "tar";
}

function* slices(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += sliceBytes) yield bytes.subarray(at, at + sliceBytes);
}

/** Passes a tar on, up to its limit: a few bytes can unpack to any number. */
async function* counted(
  source: AsyncIterable<Uint8Array>,
  reference: OciReference,
  maxBytes: number,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) {
      throw new MillraceError(
        "PayloadTooLarge",
        `spec.wasm.source.oci: ${formatReference(reference)} has a layer of over ${maxBytes} bytes when unpacked. Build the image FROM scratch, with nothing in it but the module.`,
      );
    }
    yield chunk;
  }
}

/** Collects the modules of a tar. What they come to is bounded as the tar is. */
async function readTar(
  source: AsyncIterable<Uint8Array>,
  files: Map<string, Uint8Array>,
  reference: OciReference,
  maxModuleBytes: number,
): Promise<void> {
  const entries = Readable.toWeb(Readable.from(source)).pipeThrough(createTarDecoder({ strict: true }));
  for await (const { header, body } of entries as AsyncIterable<ParsedTarEntry>) {
    const path = header.name.replace(/^(?:\.?\/)+/, "");
    if (header.type !== "file" || !isModuleName(path)) {
      await body.cancel();
      continue;
    }
    if (header.size > maxModuleBytes) {
      throw moduleTooLarge(`OCI ${formatReference(reference)} (${path})`, header.size, maxModuleBytes);
    }
    files.set(path, await new Response(body).bytes());
  }
}

/** Not an image's note that a file was removed (`.wh.`), nor what macOS puts beside each file (`._`). */
function isModuleName(path: string): boolean {
  const name = basename(path);
  return name.endsWith(".wasm") && !name.startsWith(".wh.") && !name.startsWith("._");
}

function chooseFile(files: ReadonlyMap<string, Uint8Array>, reference: OciReference): Uint8Array {
  const [only, ...others] = files.values();
  const file = others.length === 0 ? only : files.get(preferredName);
  if (file !== undefined) return file;
  if (files.size === 0) {
    throw unfit(
      reference,
      "is an image whose last layer has no *.wasm file. Copy the module into it as the last step.",
    );
  }
  throw unfit(
    reference,
    `is an image with ${files.size} *.wasm files: ${listed([...files.keys()])}. Leave one, or call the one that is meant ${preferredName}.`,
  );
}
