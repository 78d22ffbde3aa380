import { expect } from "chai";
import fc from "fast-check";
import { decodeMetadata, encodeMetadata, maxSecretHeaderBytes, requestHeaders } from "../../../backends/rpc/headers.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { contextOf, requestOf } from "../../support/rpc/calls.ts";

const keys = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,20}$/);

describe("metadata in a header", () => {
  it("comes back as it was, whatever the texts and the keys' case", () => {
    fc.assert(
      fc.property(fc.dictionary(keys, fc.string({ unit: "grapheme" })), (metadata) => {
        expect(decodeMetadata(encodeMetadata(metadata))).to.deep.equal({ ...metadata });
      }),
    );
  });

  it("is printable ASCII without space, whatever the texts", () => {
    fc.assert(
      fc.property(fc.dictionary(keys, fc.string({ unit: "binary" })), (metadata) => {
        expect(encodeMetadata(metadata)).to.match(/^[!-~]*$/);
      }),
    );
  });

  it("may have spaces around its members", () => {
    expect(decodeMetadata(" a=1 , b = %20x%20 ")).to.deep.equal({ a: "1", b: " x " });
  });

  it("is empty when the header is", () => {
    expect(decodeMetadata("  ")).to.deep.equal({});
  });

  it("either decodes or throws a SyntaxError, whatever the server sends", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        try {
          decodeMetadata(text);
        } catch (error) {
          expect(error).to.be.instanceOf(SyntaxError);
        }
      }),
    );
  });
});

describe("a request's headers", () => {
  it("are values that a header can carry, whatever the context says", () => {
    const text = fc.string({ unit: "binary" });
    fc.assert(
      fc.property(text, text, text, (name, step, idempotencyKey) => {
        const execution = { namespace: name, name, uid: name };
        const context = contextOf({ execution, step, idempotencyKey, traceparent: step });
        const headers = requestHeaders(requestOf("x", { options: { text: name } }), context, 1);
        expect(headers.every((value) => /^[\x20-\x7e]*$/.test(value))).to.equal(true);
      }),
    );
  });

  it("leave out what is empty: options, metadata, trace", () => {
    const headers = requestHeaders(requestOf("x"), contextOf(), 1);
    expect(headers.filter((_, index) => index % 2 === 0)).to.have.members([
      "content-type",
      "millrace-execution",
      "millrace-execution-uid",
      "millrace-step",
      "millrace-attempt",
      "idempotency-key",
      "millrace-timeout-ms",
    ]);
  });

  it("fit into 64 KiB at the longest metadata, options and secrets", () => {
    const request = requestOf("x", { metadata: { k: "ü".repeat(4095) }, options: { o: "ü".repeat(2040) } });
    const context = contextOf({ secrets: { k: "x".repeat(maxSecretHeaderBytes - "millrace-secret-k".length) } });
    expect(requestHeaders(request, context, 1).join(": \r\n").length).to.be.lessThan(64 * 1024);
  });

  it("refuse secrets that are too long for headers, and say what would take them", () => {
    const secrets = { key: "ü".repeat(4096) };
    expect(() => requestHeaders(requestOf("x"), contextOf({ secrets }), 1))
      .to.throw(MillraceError, /spec\.secrets: .* 24595 bytes .* 24576 bytes.*gRPC/)
      .with.property("code", "InvalidInput");
  });

  it("carry each secret under its name, percent-encoded, and the item", () => {
    const headers = requestHeaders(requestOf("x"), contextOf({ secrets: { "api-key": "a b\nü" }, item: 0 }), 1);
    expect(headers[headers.indexOf("millrace-secret-api-key") + 1]).to.equal("a%20b%0A%C3%BC");
    expect(headers[headers.indexOf("millrace-item") + 1]).to.equal("0");
  });
});
