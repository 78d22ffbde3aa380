import { readFileSync } from "node:fs";
import { expect } from "chai";

const proto = readFileSync(new URL("../../../backends/rpc/processor.proto", import.meta.url), "utf8");

/** Type and number of each field, by `Message.field`. */
function fields(): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [, message = "", body = ""] of proto.replace(/\/\/.*$/gm, "").matchAll(/^message (\w+) \{$(.*?)^\}$/gms)) {
    for (const [, type = "", name = "", number = ""] of body.matchAll(
      /((?:optional |repeated )?[\w<>, ]+?) (\w+) = (\d+);/g,
    )) {
      found.set(`${message}.${name}`, `${type.trim()} = ${number}`);
    }
  }
  return found;
}

/** As they were published; what is here never changes, and nothing is taken out. */
const published: Readonly<Record<string, string>> = {
  "ProcessRequest.payload": "bytes = 1",
  "ProcessRequest.content_type": "string = 2",
  "ProcessRequest.metadata": "map<string, string> = 3",
  "ProcessRequest.options_json": "string = 4",
  "ProcessRequest.context": "CallContext = 5",
  "ProcessRequest.secrets": "map<string, string> = 6",
  "CallContext.execution": "Execution = 1",
  "CallContext.step": "string = 2",
  "CallContext.attempt": "uint32 = 3",
  "CallContext.idempotency_key": "string = 4",
  "CallContext.item": "optional uint32 = 5",
  "Execution.namespace": "string = 1",
  "Execution.name": "string = 2",
  "Execution.uid": "string = 3",
  "ProcessResponse.result": "Result = 1",
  "ProcessResponse.error": "Error = 2",
  "ProcessResponse.metadata": "map<string, string> = 3",
  "ProcessResponse.log": "repeated string = 4",
  "Result.payload": "bytes = 1",
  "Result.content_type": "string = 2",
  "Error.code": "string = 1",
  "Error.message": "string = 2",
  "Error.retryable": "bool = 3",
  "Error.retry_after_ms": "optional uint32 = 4",
  "DescribeResponse.name": "string = 1",
  "DescribeResponse.version": "string = 2",
  "DescribeResponse.intent": "Intent = 3",
  "DescribeResponse.options_schema_json": "string = 4",
};

describe("processor.proto", () => {
  it("has every field that was ever published, with its type and number", () => {
    expect(Object.fromEntries([...fields()].filter(([name]) => name in published))).to.deep.equal(published);
  });

  it("has no field that is not in this test, so that a published one cannot go unnoticed", () => {
    expect([...fields().keys()].filter((name) => !(name in published))).to.deep.equal([]);
  });
});
