import { expect } from "chai";
import { CheckedProcessor, type ResponseChecks } from "../../backends/checked.ts";
import { BytesPayload, jsonPayload, type Payload, textPayload } from "../../engine/payload.ts";
import type { ProcessorResponse } from "../../engine/processor.ts";
import { attemptOf, callerOf, never, requestOf, scripted } from "./support.ts";

const checks: ResponseChecks = {
  output: (value) => (typeof value === "number" || value === "text" ? undefined : "output is not a number"),
  metadata: (metadata) => (metadata.bad === undefined ? undefined : "metadata.bad is not declared"),
};

async function answer(payload: Payload, metadata = {}, intent: "Transform" | "Analyze" = "Transform") {
  const inner = scripted(() => Promise.resolve({ ok: true, payload, metadata }), intent);
  await using caller = callerOf(new CheckedProcessor(inner, checks));
  return await caller.call(attemptOf(), requestOf(), never);
}

function failureOf(response: ProcessorResponse): unknown {
  return response.ok ? "none" : response.error;
}

describe("A processor that is held to its own schemas", () => {
  it("gives what fits them, JSON and text", async () => {
    for (const payload of [jsonPayload(1), textPayload("text"), new BytesPayload(Buffer.from("2"), "text/x+json")]) {
      expect(failureOf(await answer(payload))).to.equal("none");
    }
  });

  const refused: readonly [string, Payload, object, string][] = [
    ["another value", jsonPayload("1"), {}, "output is not a number"],
    [
      "what is not JSON",
      new BytesPayload(Buffer.from("{"), "application/json"),
      {},
      "output is of type application/json, and is not JSON",
    ],
    [
      "bytes",
      new BytesPayload(Buffer.from("1"), "image/png"),
      {},
      "output is of type image/png, and outputSchema describes JSON or text",
    ],
    ["metadata that is not declared", jsonPayload(1), { bad: "1" }, "metadata.bad is not declared"],
  ];
  for (const [what, payload, metadata, fault] of refused) {
    it(`fails with SchemaViolation where it gives ${what}, which is not worth a retry`, async () => {
      const message = `subject does not keep to its own schema: ${fault}`;
      const error = { code: "SchemaViolation", message, retryable: false };
      expect(failureOf(await answer(payload, metadata))).to.deep.equal(error);
    });
  }

  it("is not looked at where its intent is Analyze, or its output is over 1 MiB: no expression reads either", async () => {
    expect(failureOf(await answer(jsonPayload("1"), {}, "Analyze"))).to.equal("none");
    expect(failureOf(await answer(jsonPayload("1".repeat(1024 * 1024))))).to.equal("none");
  });

  it("is disposed with what holds it", async () => {
    const inner = scripted(() => Promise.reject(new Error("never called")));
    await callerOf(new CheckedProcessor(inner, checks))[Symbol.asyncDispose]();
    expect(inner.disposals).to.equal(1);
  });
});
