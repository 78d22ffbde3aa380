import { MillraceError } from "../../../engine/errors.ts";
import type { FoundSignatures } from "../verify/check.ts";
import { type LocalSource, moduleTooLarge } from "./source.ts";

/**
 * Reads one key of a ConfigMap's `binaryData` (or `data`); injected by whoever knows the API, or the files, that hold it.
 * @throws MillraceError NotFound when there is no such ConfigMap or key
 */
export type ReadConfigMapKey = (
  namespace: string,
  name: string,
  key: string,
  signal: AbortSignal,
) => Promise<Uint8Array>;

/** A key of a ConfigMap, in the Processor's namespace. */
export interface ConfigMapKey {
  readonly name: string;
  readonly key: string;
}

/** The source that a key is. Whoever watches ConfigMaps tells when it has changed. */
export function configMapSource(
  read: ReadConfigMapKey,
  namespace: string,
  ref: ConfigMapKey,
  maxBytes: number,
): LocalSource {
  const name = `ConfigMap ${ref.name}/${ref.key}`;
  return {
    kind: "Local",
    name,
    read: (signal) => readKey(read, namespace, ref, maxBytes, signal),
    resolve: () => Promise.resolve({ version: name }),
    signatures: (signal) => readSignatures(read, namespace, ref, signal),
  };
}

/** @throws what `read` throws (Unavailable, if that is no MillraceError), PayloadTooLarge */
async function readKey(
  read: ReadConfigMapKey,
  namespace: string,
  { name, key }: ConfigMapKey,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const source = `ConfigMap ${name}/${key}`;
  const bytes = await read(namespace, name, key, signal).catch((error: unknown) => {
    if (error instanceof MillraceError || signal.aborted) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw new MillraceError(
      "Unavailable",
      `spec.wasm.source.configMapKeyRef: ${source} of namespace ${namespace} cannot be read: ${message}`,
      { cause: error },
    );
  });
  if (bytes.byteLength > maxBytes) throw moduleTooLarge(source, bytes.byteLength, maxBytes);
  return bytes;
}

async function readSignatures(
  read: ReadConfigMapKey,
  namespace: string,
  { name, key }: ConfigMapKey,
  signal: AbortSignal,
): Promise<FoundSignatures> {
  const keys = [`${key}.minisig`, `${key}.sig`];
  const files: Uint8Array[] = [];
  for (const signatureKey of keys) {
    const bytes = await read(namespace, name, signatureKey, signal).catch((error: unknown) => {
      if (error instanceof MillraceError && error.code === "NotFound") return undefined;
      throw error;
    });
    if (bytes !== undefined) files.push(bytes);
  }
  return { kind: "Detached", files, sought: `the keys ${keys.join(" and ")} of ConfigMap ${name}` };
}
