import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import { MillraceError } from "../../../engine/errors.ts";
import { fromBase64 } from "./base64.ts";

/** A key by which modules are checked. */
export interface PublicKey {
  /** Minisign's keys check minisign's files only, and no other key does. */
  readonly kind: "Minisign" | "Plain";
  /** For messages: `minisign key D7FB34F78B22B218`, `ECDSA key on P-256`. */
  readonly name: string;
  /** Minisign's number of the key, 16 hexadecimal digits. */
  readonly id?: string;
  readonly key: KeyObject;
  /** `sha256:…`, which tells it from other keys. */
  readonly fingerprint: string;
}

/** The digests by which cosign, openssl and others sign with a kind of key, the usual one first; null: the key's own. */
const digestsOf = {
  P256: ["sha256"],
  P384: ["sha384", "sha256"],
  Ed25519: [null],
  RSA: ["sha256"],
} as const;

type KeyType = keyof typeof digestsOf;

const names: Readonly<Record<KeyType, string>> = {
  P256: "ECDSA key on P-256",
  P384: "ECDSA key on P-384",
  Ed25519: "Ed25519 key",
  RSA: "RSA key",
};

const minRsaBits = 2048;

/** With nothing before or after it: Node would take no notice of it, and whoever put it there expects something of it. */
const wholePem = /^-----BEGIN ((?:RSA )?PUBLIC KEY)-----[^-]*-----END \1-----$/;

/** Minisign's mark of Ed25519, the key's number and the key. */
const minisignKeyBytes = 2 + 8 + 32;

/**
 * Reads a public key: PEM of an ECDSA key on P-256 or P-384, an Ed25519 key or an RSA key of 2048 bits or more, as `cosign
 * generate-key-pair` and openssl write them; or minisign's, with its comment or without.
 * @param where what holds the text, for messages: `key cosign.pub of the Secret signers`
 * @throws InvalidInput for anything else
 */
export function parsePublicKey(text: string, where: string): PublicKey {
  const trimmed = text.trim();
  return trimmed.startsWith("-----") ? parsePem(trimmed, where) : parseMinisign(trimmed, where);
}

/** Whether `signature` (DER of an ECDSA key) was made with the private part of `key` of these very bytes. */
export function isSignedBy(bytes: Uint8Array, signature: Uint8Array, { key }: PublicKey): boolean {
  const type = typeOf(key);
  return type !== undefined && digestsOf[type].some((digest) => verify(digest, bytes, key, signature));
}

function parsePem(text: string, where: string): PublicKey {
  // From a private key Node would take its public part; but then the private one is where it should not be.
  if (text.includes("PRIVATE KEY")) {
    throw refusedKey(
      where,
      "is a private key. Put only the public key there, and make a new pair, as this one has been shown.",
    );
  }
  const key = keyOf(() => createPublicKey(text));
  if (key === undefined || !wholePem.test(text)) {
    throw refusedKey(where, "is no PEM of a public key, or has something besides it.");
  }
  const type = typeOf(key);
  if (type === undefined) {
    throw refusedKey(
      where,
      "is of a kind that is not supported: ECDSA on P-256 or P-384, Ed25519, and RSA of 2048 bits or more are.",
    );
  }
  return { kind: "Plain", name: names[type], key, fingerprint: fingerprintOf(key) };
}

function parseMinisign(text: string, where: string): PublicKey {
  const bytes = fromBase64(text.split("\n").at(-1)?.trim() ?? "");
  if (bytes?.byteLength !== minisignKeyBytes || bytes.toString("latin1", 0, 2) !== "Ed") {
    throw refusedKey(
      where,
      "is neither a PEM that begins with -----BEGIN PUBLIC KEY----- nor a public key of minisign.",
    );
  }
  const id = minisignId(bytes.subarray(2, 10));
  const jwk = { kty: "OKP", crv: "Ed25519", x: bytes.subarray(10).toString("base64url") };
  const key = createPublicKey({ key: jwk, format: "jwk" });
  return { kind: "Minisign", name: `minisign key ${id}`, id, key, fingerprint: fingerprintOf(key, id) };
}

/** As minisign prints it: the last byte first. */
export function minisignId(bytes: Uint8Array): string {
  return Buffer.from(bytes).reverse().toString("hex").toUpperCase();
}

function typeOf(key: KeyObject): KeyType | undefined {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case "ed25519":
      return "Ed25519";
    case "rsa":
      return modulusLength >= minRsaBits ? "RSA" : undefined;
    case "ec":
      return { prime256v1: "P256", secp384r1: "P384" }[namedCurve ?? ""] as KeyType | undefined;
    default:
      return undefined;
  }
}

function keyOf(read: () => KeyObject): KeyObject | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function fingerprintOf(key: KeyObject, id = ""): string {
  const hash = createHash("sha256")
    .update(key.export({ type: "spki", format: "der" }))
    .update(id);
  return `sha256:${hash.digest("hex")}`;
}

/** The field with what is wrong with a key that it names. */
export function refusedKey(where: string, what: string): MillraceError {
  return new MillraceError("InvalidInput", `spec.wasm.verify.publicKeySecretRef: ${where} ${what}`);
}
