import { unfit } from "./failures.ts";
import { type Descriptor, type ImageIndex, type ImageManifest, type IndexEntry, listed } from "./manifest.ts";
import type { OciReference } from "./reference.ts";

/** Whether the layer is the module itself, or a tar (mostly compressed) with the module in it. */
export type Layout = "Wasm" | "Image";

/** Of what wkg, ORAS and the CNCF's OCI layout for WASM push. */
const moduleTypes: ReadonlySet<string> = new Set([
  "application/wasm",
  "application/vnd.wasm.content.layer.v1+wasm",
  "application/vnd.module.wasm.content.layer.v1+wasm",
]);

const tarTypes: ReadonlySet<string> = new Set([
  "application/vnd.oci.image.layer.v1.tar",
  "application/vnd.oci.image.layer.v1.tar+gzip",
  "application/vnd.oci.image.layer.v1.tar+zstd",
  "application/vnd.docker.image.rootfs.diff.tar",
  "application/vnd.docker.image.rootfs.diff.tar.gzip",
  "application/vnd.docker.image.rootfs.diff.tar.zstd",
]);

/** What ORAS writes a pushed file's name into. */
const title = "org.opencontainers.image.title";

/**
 * The layer with the module: the only one that is one by its media type, or by its title `*.wasm` (ORAS calls a file a tar where
 * nobody says what it is); else the last tar, which of an image is what its last COPY made.
 * @throws MillraceError InvalidInput
 */
export function chooseLayer(
  { layers }: ImageManifest,
  reference: OciReference,
): { readonly layer: Descriptor; readonly layout: Layout } {
  const modules = layers.filter(
    ({ mediaType, annotations }) => moduleTypes.has(mediaType) || annotations[title]?.endsWith(".wasm") === true,
  );
  const [module, ...others] = modules;
  if (module !== undefined && others.length === 0) return { layer: module, layout: "Wasm" };
  if (module !== undefined) {
    throw unfit(reference, `has ${modules.length} layers that are WASM modules. Push an artifact with one module.`);
  }
  const tar = layers.findLast(({ mediaType }) => tarTypes.has(mediaType));
  if (tar !== undefined) return { layer: tar, layout: "Image" };
  const types = layers.map(({ mediaType }) => mediaType);
  const found = types.length === 0 ? "no layers" : `layers of the media types ${listed(types)}`;
  throw unfit(
    reference,
    `has no WASM module: ${found}. Push it as an artifact with a layer application/wasm (wkg, oras), or as an image FROM scratch with the file.`,
  );
}

/** The first of these that fits an entry is taken: WASI preview 1 by either of its names, then any other WASM, then what is alone. */
const preferences: readonly ((entry: IndexEntry, all: readonly IndexEntry[]) => boolean)[] = [
  ({ platform }) => platform === "wasi/wasm" || platform === "wasip1/wasm",
  ({ platform }) => platform.endsWith("/wasm"),
  (_entry, all) => all.length === 1,
];

/** BuildKit puts its attestations into an index, as images of no platform. */
const attestation = "vnd.docker.reference.type";

/** @throws MillraceError InvalidInput */
export function choosePlatform({ entries }: ImageIndex, reference: OciReference): IndexEntry {
  const images = entries.filter(({ annotations }) => annotations[attestation] === undefined);
  for (const fits of preferences) {
    const entry = images.find((candidate) => fits(candidate, images));
    if (entry !== undefined) return entry;
  }
  const platforms = images.map(({ platform, mediaType }) => platform || mediaType);
  const found = platforms.length === 0 ? "nothing" : listed(platforms);
  throw unfit(
    reference,
    `is an index without a WASM platform: it has ${found}. Build it for wasi/wasm (docker build --platform wasi/wasm), or name one image by its digest.`,
  );
}
