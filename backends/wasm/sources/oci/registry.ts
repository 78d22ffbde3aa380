import { MillraceError } from "../../../../engine/errors.ts";
import { readBody } from "../../network/body.ts";
import type { NetworkResponse } from "../../network/network.ts";
import { modulePace, type Pace, paced } from "../../network/pace.ts";
import type { SimpleSignature } from "../../verify/simple-signing.ts";
import { Digest } from "../digest.ts";
import { moduleTooLarge } from "../source.ts";
import type { Credential } from "./auth.ts";
import { RegistryConnection, type RegistryNetwork, type RegistryRequest } from "./connection.ts";
import { isDigest } from "./digest.ts";
import { field, unfit, untrue } from "./failures.ts";
import { readLayer } from "./image-layer.ts";
import { chooseLayer, choosePlatform, type Layout } from "./layout.ts";
import { type Descriptor, type ImageManifest, manifestTypes, parseManifest } from "./manifest.ts";
import { formatReference, type OciReference } from "./reference.ts";

/** What a reference named when it was resolved. */
export interface OciModule {
  /** Of the manifest, or of the index where there are images for several platforms. */
  readonly manifestDigest: string;
  /** `REGISTRY/REPOSITORY@DIGEST`: names the same for ever. */
  readonly reference: string;
  /** Where its layer is. */
  readonly repository: OciReference;
  readonly layer: Pick<Descriptor, "digest" | "size" | "mediaType">;
  readonly layout: Layout;
}

export interface OciRegistryOptions {
  readonly maxModuleBytes: number;
  /** The time in milliseconds since the epoch. */
  readonly now: () => number;
  /** For one manifest, all of its requests together; default 30 s. */
  readonly manifestTimeoutMs?: number;
  /** For one layer; default {@link modulePace}. */
  readonly layerPace?: Pace;
}

const maxManifestBytes = 4 * 1024 * 1024;
const maxSignatures = 32;
const maxSignatureBytes = 64 * 1024;
const simpleSigningType = "application/vnd.dev.cosign.simplesigning.v1+json";
const signatureAnnotation = "dev.cosignproject.cosign/signature";

/**
 * Fetches modules from OCI registries, by the distribution specification. Whatever is given was compared with its digest and its length.
 * Every method throws MillraceErrors: NotFound, InvalidInput (refused, or not a module), PayloadTooLarge, SandboxViolation (an address that
 * may not be reached), Unavailable (with a wait where the registry asks for one), and the signal's reason.
 */
export class OciRegistry {
  readonly #connection: RegistryConnection;
  readonly #maxModuleBytes: number;
  readonly #manifestTimeoutMs: number;
  readonly #layerPace: Pace;

  constructor(network: RegistryNetwork, options: OciRegistryOptions) {
    this.#connection = new RegistryConnection(network, options.now);
    this.#maxModuleBytes = options.maxModuleBytes;
    this.#manifestTimeoutMs = options.manifestTimeoutMs ?? 30_000;
    this.#layerPace = options.layerPace ?? modulePace;
  }

  /**
   * The digest that the reference names now, as the registry says it, without the manifest: cheap, and shows that `credential` may pull.
   * Of a reference with a digest it is that one, once the registry has answered that it has it.
   */
  async resolveDigest(
    reference: OciReference,
    credential: Credential | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const request = { ...manifestRequest(reference, credential), method: "HEAD" } as const;
    const said = await this.#within(this.#manifestTimeoutMs, request, signal, async (inTime) => {
      const response = await this.#connection.request(request, inTime);
      await response.discard();
      return response.headers["docker-content-digest"];
    });
    if (reference.digest !== undefined) return reference.digest;
    if (said !== undefined && isDigest(said)) return said;
    // The header is not demanded by the specification.
    return (await this.#manifest(reference, credential, signal)).digest;
  }

  /** Finds the module that the reference names now. */
  async resolve(reference: OciReference, credential: Credential | undefined, signal: AbortSignal): Promise<OciModule> {
    const named = await this.#manifest(reference, credential, signal);
    const image =
      named.manifest.kind === "Image"
        ? named.manifest
        : await this.#imageOf(choosePlatform(named.manifest, reference), reference, credential, signal);
    const { layer, layout } = chooseLayer(image, reference);
    const { registry, repository } = reference;
    const pinned = { registry, repository, digest: named.digest };
    return {
      manifestDigest: named.digest,
      reference: formatReference(pinned),
      repository: pinned,
      layer: { digest: layer.digest, size: layer.size, mediaType: layer.mediaType },
      layout,
    };
  }

  /** The bytes of the module. */
  async pull(module: OciModule, credential: Credential | undefined, signal: AbortSignal): Promise<Uint8Array> {
    const { layer, layout, repository } = module;
    const maxModuleBytes = this.#maxModuleBytes;
    // Others of the image's files beside it, and a tar's own bytes.
    const maxLayerBytes = layout === "Wasm" ? maxModuleBytes : 2 * maxModuleBytes;
    if (layer.size > maxLayerBytes) throw moduleTooLarge(`OCI ${module.reference}`, layer.size, maxLayerBytes);
    const bytes = await this.#blob(layer, repository, credential, signal);
    if (layout === "Wasm") return bytes;
    const content = await readLayer(bytes, repository, { maxModuleBytes, maxLayerBytes }, signal);
    if (content.byteLength <= maxModuleBytes) return content;
    throw moduleTooLarge(`OCI ${module.reference}`, content.byteLength, maxModuleBytes);
  }

  /**
   * Cosign's signatures over `manifestDigest`, from where cosign keeps them: the tag `sha256-HEX.sig` of the same repository.
   * None of them is verified. Empty where there are none.
   */
  async fetchSignatures(
    reference: OciReference,
    manifestDigest: string,
    credential: Credential | undefined,
    signal: AbortSignal,
  ): Promise<readonly SimpleSignature[]> {
    const { registry, repository } = reference;
    const kept: OciReference = { registry, repository, tag: `${manifestDigest.replace(":", "-")}.sig` };
    let layers: readonly Descriptor[];
    try {
      const { manifest } = await this.#manifest(kept, credential, signal);
      layers = manifest.kind === "Image" ? manifest.layers : [];
    } catch (error) {
      if (error instanceof MillraceError && error.code === "NotFound") return [];
      throw error;
    }
    const signatures: SimpleSignature[] = [];
    const signed = layers.filter(({ mediaType, size }) => mediaType === simpleSigningType && size <= maxSignatureBytes);
    for (const layer of signed.slice(0, maxSignatures)) {
      const signature = layer.annotations[signatureAnnotation];
      if (signature === undefined) continue;
      const payload = await this.#blob(layer, kept, credential, signal);
      signatures.push({ payload, signature });
    }
    return signatures;
  }

  async #manifest(reference: OciReference, credential: Credential | undefined, signal: AbortSignal) {
    const request = manifestRequest(reference, credential);
    return await this.#within(this.#manifestTimeoutMs, request, signal, async (inTime) => {
      const response = await this.#connection.request(request, inTime);
      const { headers } = response;
      const said = headers["docker-content-digest"];
      const expected = reference.digest ?? (said !== undefined && isDigest(said) ? said : undefined);
      const computed = new Digest(expected);
      const tooLarge = (size: number) => manifestTooLarge(reference, size);
      const bytes = await readBody(response, maxManifestBytes, tooLarge, (chunk) => computed.add(chunk));
      const digest = computed.end();
      if (expected !== undefined && digest !== expected) {
        throw untrue(reference, `gave a manifest whose digest is ${digest}, not ${expected}.`);
      }
      return { digest, manifest: parseManifest(bytes, headers["content-type"], reference) };
    });
  }

  async #imageOf(
    entry: Descriptor,
    reference: OciReference,
    credential: Credential | undefined,
    signal: AbortSignal,
  ): Promise<ImageManifest> {
    const { registry, repository } = reference;
    const { manifest } = await this.#manifest({ registry, repository, digest: entry.digest }, credential, signal);
    if (manifest.kind === "Image") return manifest;
    throw unfit(reference, "is an index of indexes. Name one of the inner ones by its digest.");
  }

  async #blob(
    descriptor: Pick<Descriptor, "digest" | "size">,
    reference: OciReference,
    credential: Credential | undefined,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const { digest, size } = descriptor;
    const what = `the layer ${digest} of ${formatReference(reference)}`;
    const path = `blobs/${digest}`;
    const request = { reference, what, credential, method: "GET", path, accept: "*/*" } as const;
    const tooSlow = (bytes: number, why: Error) =>
      untrue(reference, `gave ${what} too slowly: ${bytes} bytes, ${why.message}.`, why);
    return await paced(this.#layerPace, signal, tooSlow, async (inTime, came) => {
      const response = await this.#connection.request(request, inTime);
      const found = new Digest(digest);
      const tooLarge = () => untrue(reference, `gave more than the ${size} bytes of ${what}.`);
      const bytes = await readBody(response, size, tooLarge, (chunk) => {
        came(chunk);
        found.add(chunk);
      });
      verify(bytes.byteLength, found.end(), descriptor, reference, response);
      return bytes;
    });
  }

  /** Bounds the whole of what `work` does: a server that sends a byte now and then is never silent, and never done. */
  async #within<Result>(
    timeoutMs: number,
    { reference, what }: Pick<RegistryRequest, "reference" | "what">,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const timeout = AbortSignal.timeout(timeoutMs);
    try {
      return await work(AbortSignal.any([signal, timeout]));
    } catch (error) {
      signal.throwIfAborted();
      if (error !== timeout.reason) throw error;
      throw untrue(reference, `did not give ${what} within ${timeoutMs} ms.`, error);
    }
  }
}

function manifestRequest(reference: OciReference, credential: Credential | undefined): RegistryRequest {
  const { tag, digest } = reference;
  const what = `the manifest of ${formatReference(reference)}`;
  return { reference, what, credential, method: "GET", path: `manifests/${digest ?? tag}`, accept: manifestTypes };
}

function manifestTooLarge(reference: OciReference, bytes: number): MillraceError {
  return new MillraceError(
    "PayloadTooLarge",
    `${field}: ${formatReference(reference)} has a manifest of ${bytes} bytes or more, over the limit of ${maxManifestBytes} bytes for manifests.`,
  );
}

function verify(
  bytes: number,
  found: string,
  { digest, size }: Pick<Descriptor, "digest" | "size">,
  reference: OciReference,
  { url }: NetworkResponse,
): void {
  if (bytes !== size) {
    throw untrue(reference, `gave ${bytes} of the ${size} bytes of the layer ${digest} (from ${url.origin}).`);
  }
  if (found === digest) return;
  throw untrue(reference, `gave a layer whose digest is ${found}, not ${digest} (from ${url.origin}).`);
}
