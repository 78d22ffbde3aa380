import { MillraceError } from "../engine/errors.ts";
import { type Metadata, maxMetadataBytes, metadataBytes, metadataKeyPattern } from "../engine/metadata.ts";
import type { ProcessorError, ProcessorRequest, ProcessorResponse } from "../engine/processor.ts";
import type { CallLimits, LoadedProcessor } from "./backend.ts";
import type { Secrets } from "./secrets.ts";

/** The response, held to the limits and to the processor's intent; a declared failure with the secrets in its words masked. */
export function accept(
  response: ProcessorResponse,
  request: ProcessorRequest,
  host: { readonly processor: LoadedProcessor; readonly limits: CallLimits },
  secrets: Secrets,
): ProcessorResponse {
  if (!response.ok) return { ...response, error: maskedFailure(response.error, secrets) };
  const { processor, limits } = host;
  if (response.payload.size > limits.maxOutputBytes) {
    throw new MillraceError(
      "PayloadTooLarge",
      `the output of ${processor.name}: ${response.payload.size} bytes, over the limit of ${limits.maxOutputBytes} bytes (maxOutputSize)`,
    );
  }
  if (response.payload.contentType !== request.payload.contentType) {
    checkContentType(secrets.masked(response.payload.contentType), processor.name);
  }
  checkMetadata(response.metadata, processor.name, secrets);
  if (processor.intent === "Transform" || response.payload === request.payload) return response;
  return { ok: true, metadata: response.metadata, payload: request.payload };
}

/** It goes into headers and into status: one line of printable ASCII. */
function checkContentType(contentType: string, name: string): void {
  if (/^[\x20-\x7e]{1,255}$/.test(contentType)) return;
  throw new MillraceError(
    "ProcessorCrashed",
    `${name} answered with the content type ${JSON.stringify(contentType.slice(0, 80))}: it is 1 to 255 characters of printable ASCII`,
  );
}

function checkMetadata(metadata: Metadata, name: string, secrets: Secrets): void {
  for (const key in metadata) {
    if (metadataKeyPattern.test(key) && typeof metadata[key] === "string") continue;
    throw new MillraceError(
      "ProcessorCrashed",
      `${name} answered with metadata ${JSON.stringify(secrets.masked(key).slice(0, 80))}: a key is a letter or digit, then up to 62 letters, digits, "_", "." or "-", and its value a string`,
    );
  }
  const bytes = metadataBytes(metadata);
  if (bytes > maxMetadataBytes) {
    throw new MillraceError(
      "PayloadTooLarge",
      `the metadata of ${name}: ${bytes} bytes, over the limit of ${maxMetadataBytes} bytes`,
    );
  }
}

/** The error with the secrets in its message masked; its cause, which may hold them too, is left behind. */
export function withoutSecrets(error: MillraceError, secrets: Secrets): MillraceError {
  if (secrets.longest === 0) return error;
  const { code, message, retryAfterMs } = error;
  return new MillraceError(code, secrets.masked(message), retryAfterMs === undefined ? {} : { retryAfterMs });
}

function maskedFailure(error: ProcessorError, secrets: Secrets): ProcessorError {
  if (secrets.longest === 0) return error;
  return { ...error, code: secrets.masked(error.code), message: secrets.masked(error.message) };
}
