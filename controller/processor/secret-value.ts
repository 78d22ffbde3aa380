import { MillraceError } from "../../engine/errors.ts";
import { type NamedSecret, variablePrefix } from "./secret-refs.ts";

/** What one secret may take, in bytes. */
const maxSecretBytes = 32 * 1024;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * One value out of a Secret. Throws MillraceError Unavailable where Secret or key is not there, InvalidInput where the value is
 * no text, too long, or no value of a variable; neither message has anything of a value.
 *
 * @param name of the Secret, for messages
 * @param secret its `data` in Base64; undefined: there is no such Secret
 */
export function secretValue(
  { name: calledBy, secretKeyRef: { key }, field }: NamedSecret,
  name: string,
  secret: { readonly data: Readonly<Record<string, string>> } | undefined,
): string {
  if (secret === undefined) {
    throw new MillraceError(
      "Unavailable",
      `${field}.name: Secret ${name} does not exist. Create it, or name one that exists.`,
    );
  }
  const encoded = Object.hasOwn(secret.data, key) ? secret.data[key] : undefined;
  if (encoded === undefined) {
    throw new MillraceError(
      "Unavailable",
      `${field}.key: Secret ${name} has no key ${key}. Add it to the Secret, or name one that it has.`,
    );
  }
  const what = `the value of key ${key} of Secret ${name}`;
  const value = textOf(Buffer.from(encoded, "base64"), field, what);
  if (calledBy.startsWith(variablePrefix) && value.includes("\0")) {
    throw new MillraceError(
      "InvalidInput",
      `${field}.key: ${what} has a character NUL, which ends a variable. Give it without, for example in Base64.`,
    );
  }
  return value;
}

function textOf(bytes: Uint8Array, field: string, what: string): string {
  if (bytes.byteLength > maxSecretBytes) {
    throw new MillraceError(
      "InvalidInput",
      `${field}.key: ${what} has ${bytes.byteLength} bytes, over the limit of ${maxSecretBytes} bytes. Give a shorter one.`,
    );
  }
  try {
    return decoder.decode(bytes);
  } catch {
    throw new MillraceError(
      "InvalidInput",
      `${field}.key: ${what} is not UTF-8 text. Give it as text, for example in Base64.`,
    );
  }
}
