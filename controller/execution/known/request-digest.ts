import { createHash } from "node:crypto";
import type { JsonObject } from "../../../engine/payload.ts";
import type { ProcessorRequest } from "../../../engine/processor.ts";
import { canonicalJson } from "../../api/canonical-json.ts";

/** Options are those of the plan in most runs of a step: written once. */
const writtenOptions = new WeakMap<JsonObject, string>();

/** All attempts of a step have one request, and nearly always one version. */
const digests = new WeakMap<ProcessorRequest, { readonly called: string; readonly digest: string }>();

/**
 * What a step received, as 32 hexadecimal digits: the same for the same bytes of the same content type with the same options
 * and metadata, for the same part of a processor's code.
 */
export function requestDigest(request: ProcessorRequest, called: string): string {
  const known = digests.get(request);
  if (known !== undefined && known.called === called) return known.digest;
  const { payload, metadata } = request;
  const parts = [payload.digest, payload.contentType, optionsText(request.options), canonicalJson(metadata), called];
  const digest = hexDigest(parts, 32);
  digests.set(request, { called, digest });
  return digest;
}

export function optionsText(options: JsonObject): string {
  const written = writtenOptions.get(options);
  if (written !== undefined) return written;
  const text = canonicalJson(options);
  writtenOptions.set(options, text);
  return text;
}

/** Of the sha256 of texts, each apart from the others; at most 64 digits. */
export function hexDigest(parts: readonly string[], digits: number): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, digits);
}
