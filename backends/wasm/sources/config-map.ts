import { MillraceError } from "../../../engine/errors.ts";
import { moduleTooLarge, type SourcedModule } from "./source.ts";

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

/** @throws what `read` throws (Unavailable, if that is no MillraceError), PayloadTooLarge */
export async function readModuleKey(
  read: ReadConfigMapKey,
  namespace: string,
  ref: { readonly name: string; readonly key: string },
  maxBytes: number,
  signal: AbortSignal,
): Promise<SourcedModule> {
  const source = `ConfigMap ${ref.name}/${ref.key}`;
  const bytes = await read(namespace, ref.name, ref.key, signal).catch((error: unknown) => {
    if (error instanceof MillraceError || signal.aborted) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw new MillraceError(
      "Unavailable",
      `spec.wasm.source.configMapKeyRef: ${source} of namespace ${namespace} cannot be read: ${message}`,
      { cause: error },
    );
  });
  if (bytes.byteLength > maxBytes) throw moduleTooLarge(source, bytes.byteLength, maxBytes);
  return { bytes, source };
}
