import { createHash, verify } from "node:crypto";
import { fromBase64 } from "./base64.ts";
import { minisignId, type PublicKey } from "./public-key.ts";
import { invalid, type Verdict, valid } from "./verdict.ts";

/** A signature file of minisign: https://jedisct1.github.io/minisign/#signature-format */
interface MinisignFile {
  /** Of `ED` files the BLAKE2b-512 of the content is signed, of the older `Ed` ones the content. */
  readonly isPrehashed: boolean;
  readonly id: string;
  readonly signature: Buffer;
  /** Without `trusted comment: `. */
  readonly comment: string;
  /** Of the signature and the comment. */
  readonly commentSignature: Buffer;
}

const untrustedMark = "untrusted comment:";
const trustedMark = "trusted comment: ";
const signatureBytes = 64;
const headBytes = 2 + 8;

/** Whether a signature file is one of minisign's, well-formed or not. */
export function isMinisign(text: string): boolean {
  return text.startsWith(untrustedMark);
}

/** Checks the signature of `bytes` and that of its trusted comment: both must be right. */
export function verifyMinisign(bytes: Uint8Array, text: string, key: PublicKey): Verdict {
  const file = parse(text);
  if (file === undefined) return invalid("is no whole signature file of minisign");
  if (key.kind !== "Minisign") return invalid(`was made by minisign, and ${key.name} is none of minisign`);
  if (file.id !== key.id) return invalid(`was made by another key, minisign key ${file.id}`);
  const signed = file.isPrehashed ? createHash("blake2b512").update(bytes).digest() : bytes;
  if (!verify(null, signed, key.key, file.signature)) return invalid("is of other content");
  const comment = Buffer.concat([file.signature, Buffer.from(file.comment)]);
  return verify(null, comment, key.key, file.commentSignature)
    ? valid
    : invalid("has a trusted comment that was changed");
}

function parse(text: string): MinisignFile | undefined {
  const [, encoded = "", trusted = "", encodedComment = "", ...rest] = text.split(/\r?\n/);
  const bytes = fromBase64(encoded);
  const commentSignature = fromBase64(encodedComment);
  if (bytes?.byteLength !== headBytes + signatureBytes || commentSignature?.byteLength !== signatureBytes)
    return undefined;
  const algorithm = bytes.toString("latin1", 0, 2);
  if (!["Ed", "ED"].includes(algorithm) || !trusted.startsWith(trustedMark) || rest.some((line) => line !== "")) {
    return undefined;
  }
  return {
    isPrehashed: algorithm === "ED",
    id: minisignId(bytes.subarray(2, headBytes)),
    signature: bytes.subarray(headBytes),
    comment: trusted.slice(trustedMark.length),
    commentSignature,
  };
}
