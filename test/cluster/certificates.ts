import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIPv4 } from "node:net";

/** A certificate and its private key, both PEM. */
export interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

export interface Authority extends Certificate {
  readonly commonName: string;
  readonly privateKey: KeyObject;
}

export interface CertificateRequest {
  readonly commonName: string;
  /** What Kubernetes takes as the user's groups. */
  readonly organizations?: readonly string[];
  readonly usage: "Server" | "Client";
  /** DNS names and IPv4 addresses of a server. */
  readonly hosts?: readonly string[];
}

/** A certificate authority for tests: P-256, good for a day. */
export function createAuthority(commonName: string): Authority {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const subject = nameOf(commonName, []);
  const certificate = issue(publicKey, subject, subject, privateKey, [
    extension(oids.basicConstraints, sequence(der(0x01, Buffer.from([0xff]))), "Critical"),
    extension(oids.keyUsage, bitString(Buffer.from([0x86]), 1), "Critical"),
  ]);
  return { commonName, privateKey, certificate, key: pem(privateKey) };
}

/** A certificate signed by `authority`, good for a day. */
export function createCertificate(authority: Authority, request: CertificateRequest): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const usage = request.usage === "Server" ? oids.serverAuth : oids.clientAuth;
  const extensions = [
    extension(oids.keyUsage, bitString(Buffer.from([0x80]), 7), "Critical"),
    extension(oids.extendedKeyUsage, sequence(oid(usage)), "Optional"),
  ];
  const hosts = request.hosts ?? [];
  if (hosts.length > 0) {
    extensions.push(extension(oids.subjectAltName, sequence(...hosts.map(alternativeName)), "Optional"));
  }
  const subject = nameOf(request.commonName, request.organizations ?? []);
  const issuer = nameOf(authority.commonName, []);
  return {
    certificate: issue(publicKey, subject, issuer, authority.privateKey, extensions),
    key: pem(privateKey),
  };
}

const oids = {
  commonName: "2.5.4.3",
  organization: "2.5.4.10",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  basicConstraints: "2.5.29.19",
  keyUsage: "2.5.29.15",
  extendedKeyUsage: "2.5.29.37",
  subjectAltName: "2.5.29.17",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;

/** RFC 5280: the DER of a version 3 certificate, in PEM. */
function issue(publicKey: KeyObject, subject: Buffer, issuer: Buffer, signer: KeyObject, extensions: Buffer[]): string {
  const algorithm = sequence(oid(oids.ecdsaWithSha256));
  const now = Date.now();
  const body = sequence(
    der(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    issuer,
    sequence(time(now - 3_600_000), time(now + 24 * 3_600_000)),
    subject,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(...extensions)),
  );
  const certificate = sequence(body, algorithm, bitString(sign("sha256", body, signer), 0));
  const lines = certificate.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function pem(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

function nameOf(commonName: string, organizations: readonly string[]): Buffer {
  const parts = organizations.map((name) => attribute(oids.organization, name));
  return sequence(...parts, attribute(oids.commonName, commonName));
}

function attribute(type: string, value: string): Buffer {
  return der(0x31, sequence(oid(type), der(0x0c, Buffer.from(value))));
}

function alternativeName(host: string): Buffer {
  return isIPv4(host) ? der(0x87, Buffer.from(host.split(".").map(Number))) : der(0x82, Buffer.from(host));
}

function extension(id: string, value: Buffer, importance: "Critical" | "Optional"): Buffer {
  const critical = importance === "Critical" ? [der(0x01, Buffer.from([0xff]))] : [];
  return sequence(oid(id), ...critical, der(0x04, value));
}

function der(tag: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content]);
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  if (length < 0x100) return Buffer.from([0x81, length]);
  return Buffer.from([0x82, length >> 8, length & 0xff]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function integer(bytes: Buffer): Buffer {
  return der(0x02, bytes);
}

function bitString(bytes: Buffer, unusedBits: number): Buffer {
  return der(0x03, Buffer.concat([Buffer.from([unusedBits]), bytes]));
}

/** UTCTime, for years before 2050. */
function time(epochMs: number): Buffer {
  const text = new Date(epochMs).toISOString().replace(/[-:T]|\.\d+/g, "");
  return der(0x17, Buffer.from(text.slice(2)));
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  return der(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

function base128(value: number): number[] {
  const digits = [value & 0x7f];
  for (let left = value >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80);
  return digits;
}
