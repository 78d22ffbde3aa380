import { expect } from "chai";
import { draftExecution } from "../../../../controller/cli/cluster/execution-draft.ts";
import { CliError } from "../../../../controller/cli/context.ts";
import { BytesPayload, digestOf } from "../../../../engine/payload.ts";

const json = "application/json";
const text = "text/plain; charset=utf-8";
const binary = "application/octet-stream";
const limit = 256 * 1024;

const bytes = (content: string | Uint8Array) => (typeof content === "string" ? Buffer.from(content) : content);
const draft = (content: string | Uint8Array, contentType: string) =>
  draftExecution("article", "team", {}, {}, new BytesPayload(bytes(content), contentType));

describe("the Execution that millrace create makes", () => {
  for (const [title, content, contentType, input] of [
    ["JSON goes in as a value", '{"a": [1, null]}', json, { json: { a: [1, null] } }],
    ["fractions go in as the doubles that they are", '{"price": 1.50}', json, { json: { price: 1.5 } }],
    ["JSON null, too", "null", json, { json: null }],
    ["JSON with a charset, too", "1", "application/json; charset=utf-8", { json: 1 }],
    ["text goes in as text", "héllo", text, { text: "héllo" }],
    ["a byte order mark is kept", "\ufeffx", "text/plain", { text: "\ufeffx" }],
    ["bytes go in as Base64", new Uint8Array([1, 2]), binary, { base64: "AQI=" }],
    ["256 KiB of text go in", "x".repeat(limit), text, { text: "x".repeat(limit) }],
  ] as const) {
    it(title, () => {
      const { object, upload } = draft(content, contentType);
      expect((object.spec as { input: unknown }).input).to.deep.equal(input);
      expect(upload).to.equal(undefined);
    });
  }

  for (const [title, content, contentType] of [
    ["more than 256 KiB", "x".repeat(limit + 1), text],
    ["larger JSON", JSON.stringify("x".repeat(limit)), json],
    ["JSON whose numbers would lose digits", '{"id": 9007199254740993}', json],
    ["what is of another content type", "a,b", "text/csv"],
    ["text of another charset", "x", "text/plain; charset=latin1"],
    ["text that is not UTF-8", new Uint8Array([0xff]), "text/plain"],
  ] as const) {
    it(`goes by the payload store with ${title}`, () => {
      const { object, upload } = draft(content, contentType);
      const payload = { ref: digestOf(bytes(content)), contentType };
      expect((object.spec as { input: unknown }).input).to.deep.equal({ payload });
      expect(upload?.size).to.equal(bytes(content).byteLength);
    });
  }

  it("is refused with JSON that is none, saying what would be right", () => {
    expect(() => draft("{", json))
      .to.throw(CliError, "--content-type text/plain")
      .with.property("exitCode", 2);
  });

  it("has no input where none is given, and the Pipeline's name before a generated one", () => {
    const { object } = draftExecution("article", "team", {}, {}, undefined);
    expect(object).to.deep.include({
      metadata: { namespace: "team", generateName: "article-" },
      spec: { pipeline: "article" },
    });
  });
});
