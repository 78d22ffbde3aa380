import { expect } from "chai";
import { MillraceError } from "../../../../engine/errors.ts";
import { BytesPayload, type Payload, textPayload } from "../../../../engine/payload.ts";
import { chain, compiled, condition, Stage } from "../stage.ts";

describe("an input in the object", () => {
  it("is refused over 256 KiB, counted in bytes, and the Execution has its Pipeline's ttl all the same", async () => {
    await using stage = new Stage();
    stage.pipeline({ ...compiled(chain("clean")), ttlSecondsAfterFinished: 60 });
    stage.api.put("text", { pipeline: "article", input: { text: "é".repeat(140_000) } });
    stage.api.put("json", { pipeline: "article", input: { json: { a: "x".repeat(600_000) } } });
    for (const name of ["text", "json"]) {
      await stage.until(() => stage.api.execution(name).status?.phase === "Failed");
      const { status } = stage.api.execution(name);
      expect(condition(status, "Succeeded")?.reason).to.equal("PayloadTooLarge");
      expect(status?.pipelineRevision).to.be.a("string");
    }
    expect(stage.calls).to.deep.equal([]);
  });
});

describe("a large input is kept in the store", () => {
  const large = "x".repeat(100_000);
  const spec = { pipeline: "article", input: { configMapKeyRef: { name: "book", key: "text" } } };

  /** One run: what its first step found the input to be, and what it read of it after `before`. */
  async function read(stage: Stage, before: () => Promise<void> | void): Promise<Payload | undefined> {
    let got: Payload | undefined;
    stage.work = async (_attempt, request, signal) => {
      got = request.payload;
      await before();
      const bytes = await got.bytes(signal);
      const streamed = await new Response(got.stream(signal)).text();
      return { ok: true, payload: textPayload(`${bytes.byteLength} ${streamed === large}`), metadata: {} };
    };
    stage.pipeline(compiled(chain("clean")));
    stage.api.configMap("book", { text: large });
    stage.api.put("one", spec);
    await stage.until(() => stage.api.writes > 0);
    return got;
  }

  it("and not in memory, as a whole", async () => {
    await using stage = new Stage();
    const got = await read(stage, () => undefined);
    expect(got).not.to.be.instanceOf(BytesPayload);
    expect(got?.size).to.equal(large.length);
    expect(stage.store.puts).to.deep.equal([textPayload(large).digest]);
    expect(stage.api.execution("one").status?.output?.text).to.equal("100000 true");
  });

  it("and reads it again from where it came from when a sweep took it from a long run", async () => {
    await using stage = new Stage();
    await read(stage, () => stage.emptyStore());
    expect(stage.api.execution("one").status?.output?.text).to.equal("100000 true");
  });

  it("but takes no other input for it", async () => {
    await using stage = new Stage();
    await read(stage, async () => {
      await stage.emptyStore();
      stage.api.configMap("book", { text: large.replace("x", "y") });
    });
    expect(stage.api.execution("one").status?.steps?.[0]?.error?.code).to.equal("PayloadLost");
  });

  it("and fails the run when it cannot be stored", async () => {
    await using stage = new Stage();
    stage.store.before = () => Promise.reject(new MillraceError("ResourceExhausted", "the disk is full"));
    await read(stage, () => undefined);
    const failed = condition(stage.api.execution("one").status, "Succeeded");
    expect(failed).to.deep.include({ reason: "ResourceExhausted", message: "the disk is full" });
    expect(stage.calls).to.deep.equal([]);
  });
});
