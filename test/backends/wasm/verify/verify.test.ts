import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect } from "chai";
import fc from "fast-check";
import { type FoundSignatures, requireSignature } from "../../../../backends/wasm/verify/check.ts";
import { verifyDetached } from "../../../../backends/wasm/verify/detached.ts";
import { type PublicKey, parsePublicKey } from "../../../../backends/wasm/verify/public-key.ts";
import { parsePublicKeys } from "../../../../backends/wasm/verify/public-keys.ts";
import { verifySimpleSigning } from "../../../../backends/wasm/verify/simple-signing.ts";
import { MillraceError } from "../../../../engine/errors.ts";

const fixture = (name: string): Buffer => readFileSync(`${import.meta.dirname}/fixtures/${name}`);
const publicKey = (name: string): PublicKey => parsePublicKey(fixture(name).toString(), `file ${name}`);
const content = fixture("content.txt");
const other = Buffer.concat([content, Buffer.from(" ")]);

const plain = (key: KeyObject): PublicKey =>
  parsePublicKey(key.export({ type: "spki", format: "pem" }).toString(), "key");

/** A key of minisign, and what signs as minisign does. */
function minisign(id = randomBytes(8)) {
  const { publicKey: made, privateKey } = generateKeyPairSync("ed25519");
  const raw = made.export({ type: "spki", format: "der" }).subarray(-32);
  const encoded = Buffer.concat([Buffer.from("Ed"), id, raw]).toString("base64");
  const signed = (
    bytes: Uint8Array,
    { algorithm = "ED", comment = "timestamp:1", mark = "trusted comment: " } = {},
  ) => {
    const hashed = algorithm === "ED" ? createHash("blake2b512").update(bytes).digest() : bytes;
    const signature = sign(null, hashed, privateKey);
    const global = sign(null, Buffer.concat([signature, Buffer.from(comment)]), privateKey);
    const line = Buffer.concat([Buffer.from(algorithm), id, signature]).toString("base64");
    return `untrusted comment: by hand\n${line}\n${mark}${comment}\n${global.toString("base64")}\n`;
  };
  return {
    text: `untrusted comment: minisign public key\n${encoded}\n`,
    key: parsePublicKey(encoded, "key"),
    sign: signed,
  };
}

/** An ECDSA key, and what signs as openssl does. */
function ecdsa() {
  const { publicKey: made, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    text: made.export({ type: "spki", format: "pem" }).toString(),
    key: plain(made),
    sign: (bytes: Uint8Array) => sign("sha256", bytes, privateKey).toString("base64"),
  };
}

describe("public keys", () => {
  it("are told by name, and each from the others", () => {
    const names = ["ecdsa.pub", "p384.pub", "ed25519.pub", "rsa.pub", "minisign.pub", "legacy.pub"];
    const keys = names.map(publicKey);
    expect(keys.map(({ name }) => name)).to.deep.equal([
      "ECDSA key on P-256",
      "ECDSA key on P-384",
      "Ed25519 key",
      "RSA key",
      "minisign key D7FB34F78B22B218",
      "minisign key 843132AAEDB75147",
    ]);
    expect(new Set(keys.map(({ fingerprint }) => fingerprint)).size).to.equal(names.length);
    expect(keys.every(({ fingerprint }) => /^sha256:[0-9a-f]{64}$/.test(fingerprint))).to.equal(true);
  });

  it("of minisign may have their comment or not, and any line ends", () => {
    const { text, key } = minisign();
    for (const written of [text, text.split("\n")[1] ?? "", text.replaceAll("\n", "\r\n"), `\n${text}\n`]) {
      expect(parsePublicKey(written, "key").fingerprint).to.equal(key.fingerprint);
    }
  });

  const pem = (key: KeyObject, type: "spki" | "pkcs8" = "spki") => key.export({ type, format: "pem" }).toString();
  const ec = (namedCurve: string) => generateKeyPairSync("ec", { namedCurve });
  const malformed: readonly (readonly [what: string, text: () => string, said: string])[] = [
    ["nothing", () => "", "neither"],
    ["words", () => "my key", "neither"],
    ["a short key", () => Buffer.alloc(41, "Ed").toString("base64"), "neither"],
    ["a minisign key of another algorithm", () => Buffer.alloc(42, "ED").toString("base64"), "neither"],
    ["a broken PEM", () => "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "no PEM"],
    ["a private key", () => pem(ec("P-256").privateKey, "pkcs8"), "private"],
    ["a key on another curve", () => pem(ec("secp256k1").publicKey), "not supported"],
    ["a short RSA key", () => pem(generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey), "not supported"],
    ["a key that cannot sign", () => pem(generateKeyPairSync("x25519").publicKey), "not supported"],
  ];
  for (const [what, text, said] of malformed) {
    it(`are not ${what}`, () => {
      expect(() => parsePublicKey(text(), "key cosign.pub of the Secret signers"))
        .to.throw(MillraceError, /spec\.wasm\.verify\.publicKeySecretRef: key cosign\.pub of the Secret signers/)
        .with.property("code", "InvalidInput");
      expect(() => parsePublicKey(text(), "key")).to.throw(said);
    });
  }
});

describe("detached signatures", () => {
  for (const [signature, key] of [
    ["content.txt.minisig", "minisign.pub"],
    ["legacy.minisig", "legacy.pub"],
    ["ecdsa.sig", "ecdsa.pub"],
    ["p384.sig", "p384.pub"],
    ["rsa.sig", "rsa.pub"],
    ["ed25519.sig", "ed25519.pub"],
  ] as const) {
    it(`of real tools hold: ${signature}`, () => {
      expect(verifyDetached(content, fixture(signature), publicKey(key))).to.deep.equal({ valid: true });
      expect(verifyDetached(other, fixture(signature), publicKey(key)).valid).to.equal(false);
      expect(verifyDetached(content.subarray(1), fixture(signature), publicKey(key)).valid).to.equal(false);
    });

    it(`with any byte changed do not hold: ${signature}`, () => {
      const bytes = fixture(signature);
      const changed = fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }));
      fc.assert(
        fc.property(changed, ([index, mask]) => {
          const forged = Buffer.from(bytes);
          forged[index] = (forged[index] ?? 0) ^ mask;
          const verdict = verifyDetached(content, forged, publicKey(key));
          // What is not signed may be anything: the untrusted comment, white space, bits that base64 does not use.
          if (verdict.valid) expect(meaning(forged)).to.equal(meaning(bytes));
        }),
        { numRuns: 300 },
      );
    });
  }

  it("may be bytes or base64, in lines or not", () => {
    for (const name of ["ecdsa", "p384", "rsa", "ed25519"]) {
      const file = fixture(`${name}.sig`);
      const raw = name === "ed25519" ? file : Buffer.from(file.toString(), "base64");
      const encoded = raw.toString("base64");
      for (const form of [raw, encoded, `${encoded}\n`, encoded.replace(/.{64}/g, "$&\n")]) {
        expect(verifyDetached(content, Buffer.from(form), publicKey(`${name}.pub`)).valid, name).to.equal(true);
      }
    }
  });

  it("of P-384 may be by SHA-384 too", () => {
    const { publicKey: made, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
    expect(verifyDetached(content, sign("sha384", content, privateKey), plain(made)).valid).to.equal(true);
    expect(verifyDetached(content, sign("sha512", content, privateKey), plain(made)).valid).to.equal(false);
  });

  it("of minisign say what is wrong with them", () => {
    const mine = minisign();
    const theirs = minisign();
    const why = (text: string, key = mine.key) => {
      const verdict = verifyDetached(content, Buffer.from(text), key);
      return verdict.valid ? "" : verdict.why;
    };
    const good = mine.sign(content);
    expect(why(good)).to.equal("");
    expect(why(mine.sign(content, { algorithm: "Ed" }))).to.equal("");
    expect(why(good.replaceAll("\n", "\r\n"))).to.equal("");
    expect(why(theirs.sign(content)))
      .to.include("another key")
      .and.include(theirs.key.id);
    expect(why(mine.sign(other))).to.include("other content");
    expect(why(good.replace("timestamp:1", "timestamp:2"))).to.include("trusted comment");
    for (const broken of [
      good.split("\n").slice(0, 2).join("\n"),
      good.replace("trusted comment: t", "comment: t"),
      `${good}more`,
      mine.sign(content, { algorithm: "EX" }),
      good.replace("\n", "\n!"),
      "untrusted comment: ",
    ]) {
      expect(why(broken), broken).to.include("whole signature file");
    }
    expect(why(good, publicKey("ed25519.pub"))).to.include("none of minisign");
    expect(why(fixture("ed25519.sig").toString("base64"))).to.include("no signature file of minisign");
  });

  it("by a key that only has the same number do not hold", () => {
    const id = randomBytes(8);
    const verdict = verifyDetached(content, Buffer.from(minisign(id).sign(content)), minisign(id).key);
    expect(verdict).to.deep.equal({ valid: false, why: "is of other content" });
  });

  it("never throw, whatever they are", () => {
    const keys = ["ecdsa.pub", "p384.pub", "rsa.pub", "ed25519.pub", "minisign.pub"].map(publicKey);
    const files = fc.oneof(
      fc.uint8Array({ maxLength: 600 }),
      fc.string().map((text) => Buffer.from(`untrusted comment: ${text}`)),
      fc.base64String().map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(files, (file) => keys.every((key) => !verifyDetached(content, file, key).valid)),
      { numRuns: 300 },
    );
  });
});

describe("cosign's signatures", () => {
  const digest = `sha256:${"0123456789abcdef".repeat(4)}`;
  const repository = "registry.example.com:5000/acme/words";
  const type = "cosign container image signature";
  const { publicKey: made, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = plain(made);
  const critical = (more: object = {}) => ({
    critical: {
      identity: { "docker-reference": repository },
      image: { "docker-manifest-digest": digest },
      type,
      ...more,
    },
    optional: null,
  });
  const signed = (value: unknown, by = privateKey) => {
    const payload = Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
    return { payload, signature: sign("sha256", payload, by).toString("base64") };
  };
  const why = (value: unknown, manifest: { digest: string; repository?: string } = { digest, repository }) => {
    const verdict = verifySimpleSigning(signed(value), key, manifest);
    return verdict.valid ? "" : verdict.why;
  };

  it("hold for the manifest and the repository that they name", () => {
    expect(why(critical())).to.equal("");
    expect(why(critical(), { digest })).to.equal("");
    for (const identity of [{}, { "docker-reference": "" }, null, undefined])
      expect(why(critical({ identity }))).to.equal("");
    for (const suffix of [":1.2", `@${digest}`, `:1.2@${digest}`]) {
      expect(why(critical({ identity: { "docker-reference": repository + suffix } }))).to.equal("");
    }
    const hub = critical({ identity: { "docker-reference": "index.docker.io/library/words" } });
    expect(why(hub, { digest, repository: "docker.io/library/words" })).to.equal("");
    expect(why(hub, { digest, repository: "docker.io/evil/words" })).to.include("repository");
  });

  it("do not hold for another manifest, repository or purpose", () => {
    expect(why(critical({ image: { "docker-manifest-digest": digest.replace("0", "1") } }))).to.include(
      "another manifest",
    );
    expect(why(critical({ image: {} }))).to.include("another manifest");
    expect(why(critical({ identity: { "docker-reference": "registry.example.com/acme/other" } }))).to.include(
      "acme/other",
    );
    expect(why(critical({ identity: { "docker-reference": 5 } }))).to.include("repository");
    expect(why(critical({ type: "atomic container signature" }))).to.include("atomic");
    for (const strange of ["", "{", "null", "[]", "{}", '{"critical":{"type":"x"}}', '{"critical":[]}']) {
      expect(why(strange), strange).to.include("not cosign's");
    }
  });

  it("do not hold when another key made them, or for another payload, and are not read then", () => {
    const others = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    const manifest = { digest, repository };
    const forged = verifySimpleSigning(signed(critical(), others), key, manifest);
    expect(forged).to.deep.equal({ valid: false, why: "was made by another key, or is of another payload" });
    const { signature } = signed(critical());
    const payload = Buffer.from(JSON.stringify(critical({ type: "changed" })));
    expect(verifySimpleSigning({ payload, signature }, key, manifest)).to.deep.equal(forged);
    for (const nonsense of ["", "!!!!", "AAAA", `${signature}=`]) {
      expect(verifySimpleSigning({ ...signed(critical()), signature: nonsense }, key, manifest).valid).to.equal(false);
    }
    expect(verifySimpleSigning(signed(critical()), minisign().key, manifest).valid).to.equal(false);
  });

  it("of real payloads of sigstore hold", () => {
    const payload = fixture("cosign-payload.json");
    const signature = fixture("cosign-payload.sig").toString().trim();
    const manifest = {
      digest: "sha256:2ffb9ffd6ac6f69f14a4b32a37b7d9a8ea3cba97b9d83c1d3ddfe5e2b4a2c9d1",
      repository: "registry.example.com/acme/words",
    };
    const verdict = verifySimpleSigning({ payload, signature }, publicKey("cosign.pub"), manifest);
    expect(verdict).to.deep.equal({ valid: true });
  });
});

describe("a module that must be signed", () => {
  const mine = minisign();
  const found = (...files: readonly string[]): FoundSignatures => ({
    kind: "Detached",
    files: files.map((file) => Buffer.from(file)),
    sought: "words.wasm.minisig and words.wasm.sig",
  });
  const check = (signatures: FoundSignatures) => () =>
    requireSignature(signatures, content, [mine.key], "file words.wasm");

  it("passes with one good signature among others", () => {
    check(found(mine.sign(content)))();
    check(found("nonsense", minisign().sign(content), mine.sign(content)))();
  });

  it("is refused without, and told what was looked for, where, and what is wrong with each", () => {
    const none = check(found());
    expect(none).to.throw(MillraceError, "is not signed").with.property("code", "InvalidInput");
    expect(none).to.throw(/^spec\.wasm\.verify: the WASM module of file words\.wasm .* at words\.wasm\.minisig and /);
    expect(none).to.throw(mine.key.name);
    const wrong = check(found("nonsense", mine.sign(other)));
    expect(wrong).to.throw(/signature 1 is no signature file of minisign.*; signature 2 is of other content/);
    expect(wrong).to.throw(MillraceError).with.property("code", "InvalidInput");
  });

  for (const [kind, key] of [
    ["PEMs", () => ecdsa()],
    ["keys of minisign", () => minisign()],
  ] as const) {
    it(`may be signed by any of several keys, as while one takes the place of another: ${kind}`, () => {
      const [old, next, stranger] = [key(), key(), key()];
      const keys = parsePublicKeys(`${old.text}${next.text}`, "key");
      expect(keys.map(({ fingerprint }) => fingerprint)).to.deep.equal([old.key.fingerprint, next.key.fingerprint]);
      const signer = (...files: readonly string[]) =>
        requireSignature(found(...files), content, keys, "file words.wasm");
      expect(signer(old.sign(content))).to.equal(keys[0]);
      expect(signer(next.sign(content))).to.equal(keys[1]);
      expect(signer(stranger.sign(content), next.sign(content))).to.equal(keys[1]);
      expect(() => signer(stranger.sign(content)))
        .to.throw(keys[0]?.name ?? "-")
        .and.match(/ or the .*another key/);
      expect(() => signer(old.sign(other))).to.throw("other content");
    });
  }

  it("may be signed by no key of a list in which one is none, or that is long", () => {
    const [one, two] = [ecdsa(), ecdsa()];
    const read = (text: string) => () => parsePublicKeys(text, "key cosign.pub of the Secret signers");
    expect(read(`${one.text}nonsense\n${two.text}`)).to.throw("something besides it");
    expect(read(`${one.text}# the new one\n`)).to.throw("something besides it");
    expect(read(`${one.text}-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----`)).to.throw(
      /its key 2.* no PEM/,
    );
    expect(read(`${minisign().text}nonsense`)).to.throw(/its key 2.* neither/);
    expect(read(one.text.repeat(4))()).to.have.length(4);
    expect(read(one.text.repeat(5)))
      .to.throw(MillraceError, "5 keys")
      .with.property("code", "InvalidInput");
  });

  it("may have signatures of its manifest instead", () => {
    const { publicKey: made, privateKey } = generateKeyPairSync("ed25519");
    const digest = `sha256:${"0".repeat(64)}`;
    const critical = { type: "cosign container image signature", image: { "docker-manifest-digest": digest } };
    const payload = Buffer.from(JSON.stringify({ critical }));
    const signatures = [{ payload, signature: sign(null, payload, privateKey).toString("base64") }];
    const cosigned = { kind: "SimpleSigning", signatures, sought: "tag sha256-0.sig" } as const;
    requireSignature({ ...cosigned, manifestDigest: digest }, content, [plain(made)], "oci words");
    const moved = () =>
      requireSignature({ ...cosigned, manifestDigest: digest.replace("0", "1") }, content, [plain(made)], "oci words");
    expect(moved).to.throw(MillraceError, "another manifest");
  });
});

/** What of a signature file is signed or signs, so that two files of one meaning are equally good. */
function meaning(file: Buffer): string {
  const text = file.toString();
  if (!text.startsWith("untrusted comment:")) {
    const raw = file.length === 64 ? file : Buffer.from(text, "base64");
    return raw.toString("hex");
  }
  const [, line = "", trusted = "", global = "", ...rest] = text.split(/\r?\n/);
  const bytes = (encoded: string) => Buffer.from(encoded, "base64").toString("hex");
  return JSON.stringify([bytes(line), trusted, bytes(global), rest.join("")]);
}
