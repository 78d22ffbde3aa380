import { readFileSync } from "node:fs";
import { expect } from "chai";
import { connectionError, grpcError, grpcStatusNames, httpCode, statusTable } from "../../../backends/rpc/errors.ts";

const cause = new Error("cause");

describe("the table of statuses", () => {
  it("is the one that docs/rpc.md shows", () => {
    const text = readFileSync(new URL("../../../docs/rpc.md", import.meta.url), "utf8");
    const rows = [...text.matchAll(/^\| `([A-Za-z0-9_]+)` +\| ([A-Za-z]+) +\|/gm)].map(([, name, code]) => [
      name,
      code,
    ]);
    const table = [statusTable.fault, statusTable.grpc, statusTable.http].flatMap((part) => Object.entries(part));
    expect(Object.fromEntries(rows)).to.deep.equal(Object.fromEntries(table));
  });

  it("gives every HTTP status from 400 to 599 a code", () => {
    for (let status = 400; status < 600; status++) expect(httpCode(status)).to.be.a("string");
    expect([httpCode(499), httpCode(599)]).to.deep.equal([statusTable.http["4xx"], statusTable.http["5xx"]]);
  });

  it("takes a gRPC status number that nobody knows as UNKNOWN", () => {
    expect(grpcError("words:1", { status: 99, details: "", pushback: undefined, cause }).code).to.equal(
      statusTable.grpc.UNKNOWN,
    );
  });
});

describe("the faults that grpc-js names in its details", () => {
  const rows = [
    ["RESOURCE_EXHAUSTED", "Received message larger than max (5 vs 4)", "PayloadTooLarge"],
    ["RESOURCE_EXHAUSTED", "grpc: received message larger than max (5 vs. 4)", "PayloadTooLarge"],
    ["RESOURCE_EXHAUSTED", "grpc: received message after decompression larger than max 4", "PayloadTooLarge"],
    ["RESOURCE_EXHAUSTED", "no more quota", "ResourceExhausted"],
    ["UNAVAILABLE", "Connection dropped", "ProcessorCrashed"],
    ["UNAVAILABLE", "read ECONNRESET", "ProcessorCrashed"],
    ["UNAVAILABLE", "No connection established. Last error: connect ECONNREFUSED", "Unavailable"],
    ["UNAVAILABLE", "Stream refused by server", "Unavailable"],
    ["INTERNAL", "Response message parsing error: index out of range", "ProcessorCrashed"],
  ] as const;
  for (const [name, details, code] of rows) {
    it(`takes ${name} "${details}" as ${code}`, () => {
      const error = grpcError("words:1", {
        status: grpcStatusNames.indexOf(name),
        details,
        pushback: undefined,
        cause,
      });
      expect([error.code, error.cause]).to.deep.equal([code, cause]);
    });
  }

  it("ignores a pushback that is not a number of milliseconds", () => {
    for (const pushback of ["-1", "", "soon", "1e3"]) {
      expect(grpcError("words:1", { status: 14, details: "", pushback, cause }).retryAfterMs).to.equal(undefined);
    }
  });
});

describe("an error of the connection", () => {
  it("is told apart by whether the request had been sent", () => {
    const error = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
    expect(connectionError("http://words", error, false).code).to.equal("Unavailable");
    expect(connectionError("http://words", error, true).code).to.equal("ProcessorCrashed");
  });

  it("names its code where it has no message, as Node's AggregateError", () => {
    const error = Object.assign(new AggregateError([new Error("one")], ""), { code: "ECONNREFUSED" });
    expect(connectionError("http://words", error, false).message).to.contain("ECONNREFUSED");
  });
});
