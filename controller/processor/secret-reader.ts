import { MillraceError } from "../../engine/errors.ts";
import { ApiError, type Client } from "../api/client.ts";
import { secrets } from "../api/kinds.ts";

/**
 * Reads a Secret's `data`, decoded, from the API server. Throws MillraceError NotFound when there is no such Secret,
 * Unavailable when the server cannot be asked or refuses.
 */
export function secretReader(
  client: Client,
): (namespace: string, name: string, signal: AbortSignal) => Promise<Readonly<Record<string, Uint8Array>>> {
  return async (namespace, name, signal) => {
    const object = await client.get(secrets, { namespace, name }, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      throw translated(error, `Secret ${namespace}/${name}`);
    });
    return decodedSecret((object.data ?? {}) as Readonly<Record<string, string>>);
  };
}

/** What a Secret's `data` holds in Base64. */
export function decodedSecret(data: Readonly<Record<string, string>>): Readonly<Record<string, Uint8Array>> {
  return Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text, "base64")]));
}

function translated(error: unknown, what: string): MillraceError {
  if (error instanceof ApiError && error.status.code === 404) {
    return new MillraceError("NotFound", `${what} does not exist; create it`, { cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  return new MillraceError("Unavailable", `${what} cannot be read: ${message}`, { cause: error });
}
