import { createHash } from "node:crypto";
import type { Builtin, BuiltinCall } from "./builtin.ts";
import { textOf } from "./content.ts";
import type { OptionSpecs } from "./options.ts";
import { Refusal } from "./refusal.ts";

/** Bytes are written as text at some hundred megabytes a second. */
const maxInlineBytes = 256 * 1024;

type HashName = "md5" | "sha1" | "sha256" | "sha512";

function hash(name: HashName, note: string, digest: string): Builtin {
  return {
    name: `hash.${name}`,
    summary: `Gives the ${name.toUpperCase()} digest of the payload's bytes as a text${note}.`,
    options: {
      encoding: { type: "string", description: "How the digest is written.", enum: ["hex", "base64"], default: "hex" },
    },
    prepare(options) {
      const encoding = options.text("encoding") as "hex" | "base64";
      return (request) => createHash(name).update(request.payload).digest(encoding);
    },
    maxInlineBytes: 1024 * 1024,
    example: { input: "mill", output: digest },
  };
}

const base64Options: OptionSpecs = {
  variant: {
    type: "string",
    description: "standard has + and / and padding, url has - and _ and none.",
    enum: ["standard", "url"],
    default: "standard",
  },
};

const decodeOptions: OptionSpecs = {
  contentType: { type: "string", description: "Of what comes out.", default: "application/octet-stream" },
};

function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Node's decoders skip what they do not know: what is not of the alphabet is refused here. */
function decoder(
  isValid: (text: string) => boolean,
  wanted: string,
  encoding: BufferEncoding,
  contentType: string,
): BuiltinCall {
  return (request) => {
    const text = textOf(request.payload).replace(/[ \t\r\n]+/g, "");
    if (!isValid(text)) throw new Refusal(`the payload is not ${wanted}`);
    return { payload: Buffer.from(text, encoding), contentType };
  };
}

function isBase64(text: string): boolean {
  return /^[A-Za-z0-9+/_-]*={0,2}$/.test(text);
}

/** Pairs are counted and not matched: a repeated group takes stack for each. */
function isHex(text: string): boolean {
  return text.length % 2 === 0 && /^[0-9A-Fa-f]*$/.test(text);
}

const base64: readonly Builtin[] = [
  {
    name: "encode.base64",
    summary: "Writes the payload's bytes as base64.",
    options: base64Options,
    prepare(options) {
      const isUrl = options.text("variant") === "url";
      return (request, _context, output) => {
        const { byteLength } = request.payload;
        output.claim(isUrl ? Math.ceil((byteLength * 4) / 3) : Math.ceil(byteLength / 3) * 4);
        return buffer(request.payload).toString(isUrl ? "base64url" : "base64");
      };
    },
    maxInlineBytes,
    example: { input: "mill>", output: "bWlsbD4=" },
  },
  {
    name: "decode.base64",
    summary: "Reads base64, of either variant, padded or not; white space is left out.",
    options: decodeOptions,
    prepare: (options) => decoder(isBase64, "base64", "base64", options.text("contentType")),
    example: { options: { contentType: "text/plain" }, input: "bWlsbD4=", output: "mill>" },
  },
];

const hex: readonly Builtin[] = [
  {
    name: "encode.hex",
    summary: "Writes the payload's bytes as hexadecimal digits, lower case.",
    options: {},
    prepare: () => (request, _context, output) => {
      output.claim(2 * request.payload.byteLength);
      return buffer(request.payload).toString("hex");
    },
    maxInlineBytes,
    example: { input: "mill", output: "6d696c6c" },
  },
  {
    name: "decode.hex",
    summary: "Reads hexadecimal digits, upper or lower case; white space is left out.",
    options: decodeOptions,
    prepare: (options) => decoder(isHex, "pairs of hexadecimal digits", "hex", options.text("contentType")),
    example: { options: { contentType: "text/plain" }, input: "6d 69 6c 6c", output: "mill" },
  },
];

const url: readonly Builtin[] = [
  {
    name: "encode.url",
    summary: "Percent-encodes a text for a part of a URL.",
    options: {},
    prepare: () => (request) => encodeURIComponent(textOf(request.payload)),
    example: { input: "a b/ü", output: "a%20b%2F%C3%BC" },
  },
  {
    name: "decode.url",
    summary: "Reads a percent-encoded text.",
    options: {},
    prepare: () => (request) => {
      try {
        return decodeURIComponent(textOf(request.payload));
      } catch (error) {
        if (error instanceof URIError) throw new Refusal("the payload is not percent-encoded UTF-8");
        throw error;
      }
    },
    example: { input: "a%20b%2F%C3%BC", output: "a b/ü" },
  },
];

export const encodingBuiltins: readonly Builtin[] = [
  hash("sha256", "", "901fac08e3b464b12fab1d04624a51901b851f15f30119bc3458428505030545"),
  hash(
    "sha512",
    "",
    "0261a0173e5d533116ddc89786857e62ec693263c8ee70ac540cab839d2c8c8bc2450dfe1fe2c7e4b447abab55f42d1a7c193e9a13c471f17a1e31804eed71eb",
  ),
  hash("sha1", "; not for security", "be37ec2ec8ed4c1733fae1e904b82971b84181bc"),
  hash("md5", "; not for security", "a90794a1d591a78fb8905e7870116ea1"),
  ...base64,
  ...hex,
  ...url,
];
