import { expect } from "chai";
import fc from "fast-check";
import { MillraceError } from "../../../engine/errors.ts";
import type { Value } from "../../../engine/expressions/json-values.ts";
import { decode, encode, maxJsonDepth, maxResultBytes, parseJson } from "../../../engine/expressions/json-values.ts";

const text = (value: Value) => new TextDecoder().decode(encode(value).bytes);
const bytes = (value: string) => new TextEncoder().encode(value);

describe("decoding", () => {
  const table: readonly [json: string, value: unknown][] = [
    ["1", 1n],
    ["-1", -1n],
    ["1.0", 1],
    ["1.5", 1.5],
    ["1e3", 1000],
    ["9007199254740993", 9007199254740993n],
    ["9223372036854775807", 9223372036854775807n],
    ["-9223372036854775808", -9223372036854775808n],
    ["9223372036854775808", 2 ** 63],
    ["9223372036854786000", 9223372036854786000],
    ["[1, 1.5]", [1n, 1.5]],
    ['["see 3.5"]', ["see 3.5"]],
    ['{"a": {"b": null}}', new Map([["a", new Map([["b", null]])]])],
    ['{"__proto__": 1}', new Map([["__proto__", 1n]])],
  ];
  for (const [json, value] of table) {
    it(`reads ${json} exactly`, () => expect(parseJson(json)).to.deep.equal(value));
  }

  const refusals: readonly [json: string, says: string][] = [
    ["9223372036854775809", "fits neither int64 nor a double exactly"],
    ["1e999", "beyond the range of a double"],
    ["9".repeat(400), "beyond the range of a double"],
    ["{", "not valid JSON"],
    ["", "not valid JSON"],
    ["[".repeat(maxJsonDepth + 2) + "]".repeat(maxJsonDepth + 2), "nested deeper"],
    ["[".repeat(1_000_000), "not valid JSON"],
  ];
  for (const [json, says] of refusals) {
    it(`refuses ${json.slice(0, 20)}: ${says}`, () => expect(() => parseJson(json)).to.throw(MillraceError, says));
  }

  it("reads by content type: JSON and +json as values, text as a string, all else as bytes", () => {
    expect(decode(bytes("[1]"), "application/json; charset=utf-8")).to.deep.equal([1n]);
    expect(decode(bytes("[1]"), "application/problem+json")).to.deep.equal([1n]);
    expect(decode(bytes("[1]"), "Text/Plain")).to.equal("[1]");
    expect(decode(bytes("[1]"), "application/octet-stream")).to.deep.equal(bytes("[1]"));
  });

  it("refuses text that is not UTF-8", () => {
    expect(() => decode(new Uint8Array([0xff]), "text/plain")).to.throw(MillraceError, "not valid UTF-8");
  });
});

describe("encoding", () => {
  it("writes integers exactly, dates and durations as protobuf does, maps of any key", () => {
    expect(text([9223372036854775807n, -1n, 0.5, true, null])).to.equal("[9223372036854775807,-1,0.5,true,null]");
    expect(text([new Date(0)])).to.equal('["1970-01-01T00:00:00Z"]');
    expect(
      text(
        new Map<unknown, Value>([
          ["__proto__", 1n],
          [2n, "x"],
        ]),
      ),
    ).to.equal('{"__proto__":1,"2":"x"}');
  });

  it("gives text for a string and the bytes for bytes", () => {
    expect(encode("ä")).to.deep.equal({ bytes: bytes("ä"), contentType: "text/plain; charset=utf-8" });
    expect(encode(bytes("x")).contentType).to.equal("application/octet-stream");
  });

  it("refuses what has no JSON form", () => {
    expect(() => encode([Number.NaN])).to.throw(MillraceError, "no JSON form");
    expect(() => encode([Number.POSITIVE_INFINITY])).to.throw(MillraceError, "no JSON form");
  });

  it("stops at its limit however small the value is that prints so long", () => {
    let value: Value = ["xxxxxxxxxxxxxxxx"];
    for (let i = 0; i < 60; i++) value = [value, value];
    expect(() => encode(value)).to.throw(MillraceError, `${maxResultBytes}`);
    expect(() => encode("x".repeat(maxResultBytes + 1))).to.throw(MillraceError, `${maxResultBytes}`);
  });

  it("gives back any JSON as it was", () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        expect(JSON.parse(text([parseJson(JSON.stringify(value))]))).to.deep.equal([JSON.parse(JSON.stringify(value))]);
      }),
    );
  });
});
