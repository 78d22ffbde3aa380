import { expect } from "chai";
import { checkedGrpcTarget, httpTarget } from "../../../backends/rpc/endpoints.ts";
import { MillraceError } from "../../../engine/errors.ts";

function refusal(check: () => unknown): string {
  try {
    check();
  } catch (error) {
    if (error instanceof MillraceError) return error.code;
    throw error;
  }
  return "taken";
}

describe("a gRPC endpoint", () => {
  for (const [endpoint, target] of [
    ["words:50051", "dns:///words:50051"],
    ["dns:///words.default.svc:50051", "dns:///words.default.svc:50051"],
    ["dns:words:1", "dns:words:1"],
    ["127.0.0.1:65535", "dns:///127.0.0.1:65535"],
    ["[::1]:50051", "dns:///[::1]:50051"],
  ] as const) {
    it(`may be ${endpoint}`, () => expect(checkedGrpcTarget(endpoint)).to.equal(target));
  }

  for (const endpoint of [
    "",
    "words",
    "words:0",
    "words:65536",
    "words:x",
    "dns:///words",
    "dns://8.8.8.8/words:1",
    "unix:/run/x",
    "unix:///run/x.sock",
    "xds:///words:1",
    "http://words:1",
    "words:1/path",
    "a b:1",
    "words:1\n",
    "user@words:1",
  ]) {
    it(`is refused as ${JSON.stringify(endpoint)}`, () =>
      expect(refusal(() => checkedGrpcTarget(endpoint))).to.equal("InvalidInput"));
  }
});

describe("an HTTP endpoint", () => {
  it("is taken apart into what a connection needs", () => {
    expect(httpTarget("http://words:8080", "/process")).to.deep.equal({
      origin: "http://words:8080",
      hostname: "words",
      port: 8080,
      secure: false,
      path: "/process",
    });
    expect(httpTarget("https://[::1]/", "/a?b=c")).to.include({
      hostname: "::1",
      port: 443,
      secure: true,
      path: "/a?b=c",
    });
  });

  for (const endpoint of [
    "",
    "words:1",
    "ftp://words",
    "http://u:p@words",
    "http://words/path",
    "http://words?x",
    "http://words/#x",
    "unix:///x",
  ]) {
    it(`is refused as ${JSON.stringify(endpoint)}`, () =>
      expect(refusal(() => httpTarget(endpoint, "/"))).to.equal("InvalidInput"));
  }

  for (const path of ["", "process", "/a b", "/a#b", "/ü", "/a\r\nx: y"]) {
    it(`is refused with the path ${JSON.stringify(path)}`, () =>
      expect(refusal(() => httpTarget("http://words", path))).to.equal("InvalidInput"));
  }
});
