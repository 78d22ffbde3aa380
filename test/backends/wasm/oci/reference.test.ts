import { expect } from "chai";
import fc from "fast-check";
import { apiHostOf, formatReference, parseReference } from "../../../../backends/wasm/sources/oci/reference.ts";
import { MillraceError } from "../../../../engine/errors.ts";

const hex = "0123456789abcdef".repeat(4);

function refusal(text: string): MillraceError {
  try {
    parseReference(text);
  } catch (error) {
    if (error instanceof MillraceError) return error;
    throw error;
  }
  return expect.fail(`${text} was taken`);
}

describe("OCI references", () => {
  for (const [text, whole, host] of [
    ["words", "docker.io/library/words:latest", "registry-1.docker.io"],
    ["acme/words:1.2", "docker.io/acme/words:1.2", "registry-1.docker.io"],
    ["docker.io/words", "docker.io/library/words:latest", "registry-1.docker.io"],
    ["index.docker.io/acme/words", "docker.io/acme/words:latest", "registry-1.docker.io"],
    ["ghcr.io/acme/words", "ghcr.io/acme/words:latest", "ghcr.io"],
    ["GHCR.io/acme/words:V1", "ghcr.io/acme/words:V1", "ghcr.io"],
    ["localhost/words", "localhost/words:latest", "localhost"],
    ["registry:5000/words", "registry:5000/words:latest", "registry:5000"],
    ["127.0.0.1:5000/a/b/c:x_y.z-1", "127.0.0.1:5000/a/b/c:x_y.z-1", "127.0.0.1:5000"],
    ["[fd00::1]:5000/words:1", "[fd00::1]:5000/words:1", "[fd00::1]:5000"],
    ["a.b/c__d-e--f.g:1", "a.b/c__d-e--f.g:1", "a.b"],
    [`ghcr.io/words@sha256:${hex}`, `ghcr.io/words@sha256:${hex}`, "ghcr.io"],
    [`ghcr.io/words:1@sha256:${hex}`, `ghcr.io/words:1@sha256:${hex}`, "ghcr.io"],
    [`words@sha512:${hex}${hex}`, `docker.io/library/words@sha512:${hex}${hex}`, "registry-1.docker.io"],
  ] as const) {
    it(`read ${text.slice(0, 50)} as Docker does`, () => {
      const reference = parseReference(text);
      expect(formatReference(reference)).to.equal(whole);
      expect(apiHostOf(reference)).to.equal(host);
      expect(parseReference(formatReference(reference))).to.deep.equal(reference);
    });
  }

  for (const [text, says] of [
    ["", "repository"],
    ["https://ghcr.io/acme/words", "scheme"],
    ["oci://ghcr.io/acme/words", "scheme"],
    ["ghcr.io/Acme/words", "lower-case"],
    ["ghcr.io/", "repository"],
    ["ghcr.io/acme//words", "repository"],
    ["ghcr.io/acme/../words", "repository"],
    ["ghcr.io/acme/words:", "tag"],
    ["ghcr.io/acme/words:-1", "tag"],
    ["ghcr.io/acme/words:a/b?c", "repository"],
    ["ghcr.io/acme/words:1 ", "tag"],
    ["ghcr.io/acme/words@sha256:12", "sha256"],
    [`ghcr.io/acme/words@md5:${hex}`, "sha256"],
    [`ghcr.io/words@sha256:${hex}@sha256:${hex}`, "more than one @"],
    [`ghcr.io/words@sha256:${hex.toUpperCase()}`, "sha256"],
    ["user:password@ghcr.io/words", "sha256"],
    ["-ghcr.io/words", "HOST"],
    ["ghcr.io:port/words", "HOST"],
    ["gh cr.io/words", "HOST"],
    [`ghcr.io/${"a".repeat(255)}`, "255"],
    ["a".repeat(2000), "1024"],
  ] as const) {
    it(`are not ${JSON.stringify(text).slice(0, 50)}`, () => {
      const error = refusal(text);
      expect(error.code).to.equal("InvalidInput");
      expect(error.message).to.include(says).and.include("spec.wasm.source.oci").and.have.length.lessThan(800);
    });
  }

  it("are never more than a host, a path and a tag, whatever they are read from", () => {
    const parts = fc.array(
      fc.constantFrom(
        "a",
        "A",
        ".",
        "/",
        ":",
        "@",
        "-",
        "_",
        "0",
        "?",
        "#",
        "%2f",
        " ",
        "\n",
        "[",
        "]",
        `sha256:${hex}`,
      ),
    );
    fc.assert(
      fc.property(parts, (texts) => {
        let reference: ReturnType<typeof parseReference>;
        try {
          reference = parseReference(texts.join(""));
        } catch (error) {
          expect(error).to.be.instanceOf(MillraceError);
          return;
        }
        const url = new URL(
          `https://${apiHostOf(reference)}/v2/${reference.repository}/manifests/${reference.digest ?? reference.tag}`,
        );
        expect([url.username, url.password, url.search, url.hash]).to.deep.equal(["", "", "", ""]);
        expect(url.pathname).to.equal(`/v2/${reference.repository}/manifests/${reference.digest ?? reference.tag}`);
      }),
      { numRuns: 2000 },
    );
  });
});
