import { MillraceError } from "../../../engine/errors.ts";

/** A Secret's `data`, decoded. */
export type SecretData = Readonly<Record<string, Uint8Array>>;

/**
 * Reads a Secret; injected by whoever knows the API, or the files, that hold it.
 * @throws MillraceError NotFound when there is no such Secret
 */
export type ReadSecret = (namespace: string, name: string, signal: AbortSignal) => Promise<SecretData>;

/** A Secret of a Processor's namespace, and the field that names it. */
export interface SecretRef {
  readonly namespace: string;
  readonly name: string;
  readonly field: string;
}

/** @throws NotFound that names the field, what `read` throws */
export async function readSecretOf(
  read: ReadSecret | undefined,
  { namespace, name, field }: SecretRef,
  signal: AbortSignal,
): Promise<SecretData> {
  const missing = (why: string, cause?: unknown) =>
    new MillraceError("NotFound", `${field}: the Secret ${name} of the namespace ${namespace} ${why}`, { cause });
  if (read === undefined) throw missing("cannot be read, as there are no Secrets here.");
  return await read(namespace, name, signal).catch((error: unknown) => {
    if (!(error instanceof MillraceError) || error.code !== "NotFound") throw error;
    throw missing("is not there. Create it, or correct the name.", error);
  });
}
