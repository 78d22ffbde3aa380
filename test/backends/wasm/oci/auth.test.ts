import { expect } from "chai";
import { CredentialStore } from "../../../../backends/wasm/sources/oci/auth.ts";
import { parseChallenges } from "../../../../backends/wasm/sources/oci/challenge.ts";
import { parseReference } from "../../../../backends/wasm/sources/oci/reference.ts";
import { MillraceError } from "../../../../engine/errors.ts";

const encode = (value: unknown) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
const base64 = (text: string) => Buffer.from(text).toString("base64");
const parse = (config: unknown) => CredentialStore.parse(encode(config), "registry");

/** Who is known where, each key standing for a user of its name. */
function userAt(reference: string, ...keys: readonly string[]): string | undefined {
  const auths = Object.fromEntries(keys.map((key) => [key, { username: key, password: "p" }]));
  const credential = parse({ auths }).find(parseReference(reference));
  return credential?.kind === "Password" ? credential.username : undefined;
}

describe("pull secrets", () => {
  it("hold a user and a password, by base64 or as they are, the former first", () => {
    const find = (entry: object) => parse({ auths: { "ghcr.io": entry } }).find(parseReference("ghcr.io/acme/words"));
    const expected = { kind: "Password", username: "ada", password: "a:b c" };
    expect(find({ auth: base64("ada:a:b c") })).to.deep.equal(expected);
    expect(find({ username: "ada", password: "a:b c" })).to.deep.equal(expected);
    expect(find({ auth: base64("ada:a:b c"), username: "eve", password: "x", email: "e@x" })).to.deep.equal(expected);
    expect(find({ auth: base64("ada:a:b c\0\0") })).to.deep.equal(expected);
    expect(find({ auth: base64("ada:") })).to.deep.equal({ ...expected, password: "" });
  });

  it("hold a refresh token, which is for the authorization server alone", () => {
    const config = {
      auths: { "ghcr.io": { auth: base64("00000000-0000-0000-0000-000000000000:"), identitytoken: "t" } },
    };
    const expected = { kind: "RefreshToken", token: "t" };
    expect(parse(config).find(parseReference("ghcr.io/words"))).to.deep.equal(expected);
  });

  for (const [key, ...references] of [
    ["ghcr.io", "ghcr.io/acme/words", "GHCR.io/words"],
    ["https://ghcr.io", "ghcr.io/acme/words"],
    ["https://ghcr.io/v2/", "ghcr.io/acme/words"],
    ["http://registry:5000", "registry:5000/words"],
    ["ghcr.io/acme", "ghcr.io/acme/words", "ghcr.io/acme/deep/words"],
    ["ghcr.io/acme/", "ghcr.io/acme/words"],
    ["ghcr.io/v1/acme", "ghcr.io/acme/words"],
    ["*.acme.io", "eu.acme.io/words"],
    ["eu-*.acme.io:5000", "eu-west.acme.io:5000/words"],
    ["e?.acme.io", "eu.acme.io/words"],
    ["https://index.docker.io/v1/", "words", "acme/words", "docker.io/acme/words"],
    ["docker.io", "words"],
    ["registry-1.docker.io", "words"],
    ["docker.io/acme", "acme/words"],
  ] as const) {
    for (const reference of references) {
      it(`of ${key} are for ${reference}`, () => expect(userAt(reference, key)).to.equal(key));
    }
  }

  for (const [key, ...references] of [
    [
      "ghcr.io",
      "quay.io/words",
      "ghcr.io.evil.com/words",
      "evil-ghcr.io/words",
      "ghcr.io:5000/words",
      "a.ghcr.io/words",
      "words",
    ],
    ["ghcr.io:443", "ghcr.io/words"],
    ["ghcr.io/acme", "ghcr.io/acme-evil/words", "ghcr.io/words", "ghcr.io/other/acme"],
    ["*.acme.io", "acme.io/words", "a.b.acme.io/words", "evilacme.io/words", "x.acme.io:5000/words"],
    ["*", "ghcr.io/words"],
    ["e?.acme.io", "euw.acme.io/words", "e.acme.io/words"],
    ["docker.io/acme", "words", "ghcr.io/acme/words"],
  ] as const) {
    for (const reference of references) {
      it(`of ${key} are not for ${reference}`, () => expect(userAt(reference, key)).to.equal(undefined));
    }
  }

  it("may have entries with nothing in them, as docker leaves them where a helper keeps the password", () => {
    const store = parse({ auths: { "ghcr.io": {}, "quay.io": { auth: base64("ada:p") } }, credsStore: "desktop" });
    expect(store.find(parseReference("ghcr.io/words"))).to.equal(undefined);
    expect(store.find(parseReference("quay.io/words"))).to.include({ username: "ada" });
    expect(parse({ auths: {} }).find(parseReference("words"))).to.equal(undefined);
  });

  it("are taken by the key that says most", () => {
    const keys = ["*.io", "ghcr.io", "ghcr.io/acme", "g*.io", "ghcr.io/acme/deep"];
    expect(userAt("ghcr.io/acme/deep/words", ...keys)).to.equal("ghcr.io/acme/deep");
    expect(userAt("ghcr.io/acme/words", ...keys)).to.equal("ghcr.io/acme");
    expect(userAt("ghcr.io/words", ...keys)).to.equal("ghcr.io");
    expect(userAt("gitlab.io/words", ...keys)).to.equal("g*.io");
    expect(userAt("quay.io/words", ...keys)).to.equal("*.io");
  });

  it("with many stars are compared in no time", () => {
    const started = performance.now();
    expect(userAt(`${"a".repeat(200)}.io/words`, `${"*a".repeat(100)}b.io`)).to.equal(undefined);
    expect(performance.now() - started).to.be.lessThan(1000);
  });

  for (const [name, config] of [
    ["no JSON", "auths: hunter2"],
    ["no object", [1, "hunter2"]],
    ["without auths", { "ghcr.io": { auth: base64("ada:hunter2") } }],
    ["with a list of auths", { auths: [{ auth: base64("ada:hunter2") }] }],
    ["with an entry that is a text", { auths: { "ghcr.io": "hunter2" } }],
    ["with an entry without a user", { auths: { "ghcr.io": { auth: base64("hunter2") } } }],
    ["with an entry without a password", { auths: { "ghcr.io": { username: "hunter2" } } }],
  ] as const) {
    it(`that are ${name} are refused, and nothing of them is shown`, () => {
      let thrown: unknown;
      try {
        parse(config);
      } catch (error) {
        thrown = error;
      }
      if (!(thrown instanceof MillraceError)) return expect.fail("they were taken");
      expect(thrown.code).to.equal("InvalidInput");
      expect(thrown.message).to.include("spec.wasm.pullSecretRef").and.include("registry").and.not.include("hunter2");
      expect(thrown.cause).to.equal(undefined);
    });
  }
});

describe("challenges of servers", () => {
  const read = (header: string) =>
    parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

  for (const [header, ...expected] of [
    ['Basic realm="x"', ["basic", { realm: "x" }]],
    [
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a:pull,push"',
      [
        "bearer",
        { realm: "https://auth.docker.io/token", service: "registry.docker.io", scope: "repository:a:pull,push" },
      ],
    ],
    ['BEARER Realm = "a\\"b" , service=x', ["bearer", { realm: 'a"b', service: "x" }]],
    [
      'Negotiate, Basic realm="x", Bearer realm="y"',
      ["negotiate", {}],
      ["basic", { realm: "x" }],
      ["bearer", { realm: "y" }],
    ],
    ["Bearer realm=https://a/token,service=b", ["bearer", { realm: "https://a/token", service: "b" }]],
    [""],
    [",, ,"],
    ['realm="x"'],
    ['Bearer realm="unended', ["bearer", {}]],
    ["Bearer realm=", ["bearer", {}]],
    ['"'],
  ] as const) {
    it(`are read from ${JSON.stringify(header).slice(0, 60)}`, () => expect(read(header)).to.deep.equal(expected));
  }

  it("are read in no time, however they are made", () => {
    const started = performance.now();
    for (const part of ["a", "a=", ' a="', '\\"', ",", "Bearer realm=x,"])
      parseChallenges(part.repeat(32_768 / part.length));
    expect(performance.now() - started).to.be.lessThan(1000);
  });
});
