import { MillraceError } from "../../engine/errors.ts";
import { ApiError, type Client } from "../api/client.ts";
import { configMaps } from "../api/kinds.ts";

/**
 * Reads a key of a ConfigMap's `binaryData`, or else of its `data`, from the API server. Throws MillraceError NotFound when
 * there is no such ConfigMap or key, Unavailable when the server cannot be asked or refuses.
 */
export function configMapKeyReader(
  client: Client,
): (namespace: string, name: string, key: string, signal: AbortSignal) => Promise<Uint8Array> {
  return async (namespace, name, key, signal) => {
    const what = `ConfigMap ${namespace}/${name}`;
    const object = await client.get(configMaps, { namespace, name }, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      throw translated(error, what);
    });
    const { binaryData, data } = object as { binaryData?: Record<string, string>; data?: Record<string, string> };
    if (binaryData !== undefined && Object.hasOwn(binaryData, key)) return Buffer.from(binaryData[key] ?? "", "base64");
    if (data !== undefined && Object.hasOwn(data, key)) return Buffer.from(data[key] ?? "", "utf8");
    const keys = Object.keys({ ...binaryData, ...data }).join(", ") || "none";
    throw new MillraceError("NotFound", `${what} has no key ${key}; it has: ${keys}`);
  };
}

function translated(error: unknown, what: string): MillraceError {
  if (error instanceof ApiError && error.status.code === 404) {
    return new MillraceError("NotFound", `${what} does not exist; create it`, { cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  return new MillraceError("Unavailable", `${what} cannot be read: ${message}`, { cause: error });
}
