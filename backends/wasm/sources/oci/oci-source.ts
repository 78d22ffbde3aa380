import { createHash } from "node:crypto";
import { MillraceError } from "../../../../engine/errors.ts";
import { SourceRefusal } from "../../../source-refusal.ts";
import type { FoundSignatures } from "../../verify/check.ts";
import type { RemoteSource, Resolution } from "../source.ts";
import type { Credential } from "./auth.ts";
import { formatReference, type OciReference } from "./reference.ts";
import type { OciModule, OciRegistry } from "./registry.ts";

/** What is fetched, and as whom. */
export interface OciSourceOptions {
  readonly registry: OciRegistry;
  readonly reference: OciReference;
  /** Absent: as anybody could. */
  readonly credential: Credential | undefined;
  /** The Secret that was looked into for it; absent: the Processor names none. */
  readonly pullSecret?: string;
}

/** The source that a reference of a registry is. */
export function ociSource(options: OciSourceOptions): RemoteSource {
  const { registry, reference, credential } = options;
  const named = <T>(work: Promise<T>) => work.catch((error: unknown) => Promise.reject(namingSecret(error, options)));
  const text = formatReference(reference);
  return {
    kind: "Remote",
    name: `OCI ${text}`,
    reference: `oci ${text}`,
    moves: reference.digest === undefined && reference.tag === "latest",
    credentials: hashOf(credential),
    resolve: (known, signal) => named(resolve(options, known, signal)),
    async fetch(resolution, signal) {
      const bytes = await named(registry.pull(moduleOf(resolution, reference), credential, signal));
      return { bytes, resolution };
    },
    signatures: (resolution, signal) => named(signaturesOf(options, resolution, signal)),
  };
}

async function resolve(
  { registry, reference, credential }: OciSourceOptions,
  known: Resolution | undefined,
  signal: AbortSignal,
): Promise<Resolution> {
  if (known !== undefined && known.version === (await registry.resolveDigest(reference, credential, signal))) {
    return known;
  }
  return resolutionOf(await registry.resolve(reference, credential, signal));
}

/** The registry's refusal speaks of the field; which Secret that names is known here. */
function namingSecret(error: unknown, { credential, pullSecret, reference }: OciSourceOptions): unknown {
  if (!(error instanceof SourceRefusal) || error.refusal !== "Unauthorized" || pullSecret === undefined) return error;
  const has = credential === undefined ? `has no entry for ${reference.registry}` : "is the one that was used";
  return new SourceRefusal(error.refusal, `${error.message} The Secret ${pullSecret} ${has}.`);
}

async function signaturesOf(
  { registry, reference, credential }: OciSourceOptions,
  { version }: Resolution,
  signal: AbortSignal,
): Promise<FoundSignatures> {
  const { repository } = reference;
  return {
    kind: "SimpleSigning",
    manifestDigest: version,
    signatures: await registry.fetchSignatures(reference, version, credential, signal),
    sought: `the tag ${version.replace(":", "-")}.sig of ${reference.registry}/${repository}`,
  };
}

function resolutionOf({ manifestDigest, reference, layer, layout }: OciModule): Resolution {
  const { digest, size, mediaType } = layer;
  return {
    version: manifestDigest,
    reference,
    // That of an image's layer is of the archive.
    ...(layout === "Wasm" && digest.startsWith("sha256:") ? { digest } : {}),
    details: { layout, digest, size: String(size), mediaType },
  };
}

function moduleOf({ version, details = {} }: Resolution, { registry, repository }: OciReference): OciModule {
  const { layout, digest, size, mediaType } = details;
  if (digest === undefined || size === undefined || mediaType === undefined) {
    throw new MillraceError("Internal", "what is known of an OCI reference does not name its layer");
  }
  const pinned = { registry, repository, digest: version };
  return {
    manifestDigest: version,
    reference: formatReference(pinned),
    repository: pinned,
    layer: { digest, size: Number(size), mediaType },
    layout: layout === "Wasm" ? "Wasm" : "Image",
  };
}

/** As the kubelet remembers whose credentials an image was pulled by. */
function hashOf(credential: Credential | undefined): string {
  return credential === undefined ? "" : createHash("sha256").update(JSON.stringify(credential)).digest("hex");
}
