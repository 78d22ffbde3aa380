import { isDigest } from "./digest.ts";
import { unfit, untrue } from "./failures.ts";
import type { OciReference } from "./reference.ts";

/** Some content of a registry: what it is, and what identifies it. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations: Readonly<Record<string, string>>;
}

/** What an OCI image manifest and Docker's of version 2, schema 2 say that matters here. */
export interface ImageManifest {
  readonly kind: "Image";
  readonly layers: readonly Descriptor[];
}

/** Images by platform: an OCI image index, or Docker's manifest list. */
export interface ImageIndex {
  readonly kind: "Index";
  readonly entries: readonly IndexEntry[];
}

export interface IndexEntry extends Descriptor {
  /** `os/architecture`, as `wasi/wasm`; "" where the index does not say. */
  readonly platform: string;
}

const imageTypes = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
] as const;
const indexTypes = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
] as const;

/** The `Accept` of a request for any of them. */
export const manifestTypes = [...imageTypes, ...indexTypes].join(", ");

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads a manifest whose digest was verified. What it is says its own `mediaType`, without that the answer's header; one that has
 * layers and manifests, so that it could be read as either, is refused.
 * @throws MillraceError InvalidInput, Unavailable when it is malformed
 */
export function parseManifest(
  bytes: Uint8Array,
  contentType: string | undefined,
  reference: OciReference,
): ImageManifest | ImageIndex {
  const manifest = parseJson(bytes, reference);
  const { mediaType: own, layers, manifests } = manifest;
  const type = typeof own === "string" ? own : (contentType?.split(";", 1)[0]?.trim() ?? "");
  if (layers !== undefined && manifests !== undefined) {
    throw unfit(
      reference,
      "has a manifest with both layers and manifests, so that it could be read as an image and as an index.",
    );
  }
  if (indexTypes.some((known) => known === type)) {
    return { kind: "Index", entries: listOf(manifests, reference).map((entry) => entryOf(entry, reference)) };
  }
  if (imageTypes.some((known) => known === type)) {
    return { kind: "Image", layers: listOf(layers, reference).map((layer) => descriptorOf(layer, reference)) };
  }
  throw unfit(
    reference,
    `has a manifest of the media type ${shown(type)}. Push it as an OCI or Docker (version 2, schema 2) image, or as an OCI artifact.`,
  );
}

/** A media type or name that somebody else chose, for a message. */
export function shown(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}

/** Several, of which a message has room for the first ten. */
export function listed(texts: readonly string[]): string {
  const first = texts.slice(0, 10).map(shown).join(", ");
  return texts.length > 10 ? `${first} and ${texts.length - 10} more` : first;
}

function parseJson(bytes: Uint8Array, reference: OciReference): Json {
  try {
    const parsed: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof parsed === "object" && parsed !== null) return parsed as Json;
  } catch (error) {
    throw untrue(reference, "gave a manifest that is no JSON.", error);
  }
  throw untrue(reference, "gave a manifest that is no JSON object.");
}

function listOf(value: unknown, reference: OciReference): readonly Json[] {
  if (!Array.isArray(value)) throw untrue(reference, "gave a manifest without the list that its media type has.");
  return value.map((item: unknown) => (typeof item === "object" && item !== null ? (item as Json) : {}));
}

function descriptorOf({ mediaType, digest, size, annotations }: Json, reference: OciReference): Descriptor {
  if (
    typeof mediaType !== "string" ||
    typeof digest !== "string" ||
    !isDigest(digest) ||
    typeof size !== "number" ||
    !Number.isSafeInteger(size) ||
    size < 0
  ) {
    throw untrue(
      reference,
      "gave a manifest with a descriptor that lacks its media type, digest (sha256 or sha512) or size.",
    );
  }
  const texts = Object.entries(annotations ?? {}).filter(
    (pair): pair is [string, string] => typeof pair[1] === "string",
  );
  return { mediaType, digest, size, annotations: Object.fromEntries(texts) };
}

function entryOf(entry: Json, reference: OciReference): IndexEntry {
  const { os, architecture } = (entry.platform ?? {}) as Json;
  const platform = typeof os === "string" && typeof architecture === "string" ? `${os}/${architecture}` : "";
  return { ...descriptorOf(entry, reference), platform };
}
