import { expect } from "chai";
import type { ProcessorSpec } from "../../../backends/backend.ts";
import { ApiError } from "../../../controller/api/client.ts";
import type { Processor } from "../../../controller/api/types.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { noMetadata } from "../../../engine/metadata.ts";
import { jsonPayload, textPayload } from "../../../engine/payload.ts";
import { apiSpec, attempt, ManualProcessor, wasmSpec } from "./builders.ts";
import { key, never, request, Stage } from "./stage.ts";

describe("the controller of Processors", () => {
  let stage: Stage;
  beforeEach(() => {
    stage = new Stage();
  });
  afterEach(() => stage.secrets[Symbol.asyncDispose]());

  it("loads once, writes once, and does nothing while nothing changes", async () => {
    stage.put(1);
    for (let time = 0; time < 3; time++) expect(await stage.reconcile()).to.deep.equal({});
    expect([stage.loads.length, stage.writes, stage.events.length]).to.deep.equal([1, 1, 1]);
    expect(stage.serving.generation).to.equal(1);
  });

  it("switches to a new generation at once, and lets the old one end its calls", async () => {
    const [old, next] = [new ManualProcessor("sha256:old"), new ManualProcessor("sha256:new")];
    stage.load = async (spec) => (spec.limits.maxConcurrency === 1 ? next : old);
    stage.put(1);
    await stage.reconcile();
    const running = stage.serving.invoke(attempt, request, never);
    stage.put(2, apiSpec({ local: { builtin: "text.trim" }, maxConcurrency: 1 }));
    await stage.reconcile();
    expect(stage.serving).to.deep.include({ generation: 2, digests: ["sha256:new"] });
    expect(old.disposed).to.equal(false);

    old.calls[0]?.resolve({ ok: true, payload: textPayload("out"), metadata: noMetadata });
    expect((await running).ok).to.equal(true);
    await stage.time.advance(0);
    expect(old.disposed).to.equal(true);
    expect(next.disposed).to.equal(false);
  });

  it("aborts what the old version does not end within half a minute", async () => {
    const old = new ManualProcessor("sha256:old");
    stage.load = async () => old;
    stage.put(1);
    await stage.reconcile();
    const running = stage.serving
      .invoke({ ...attempt, timeoutMs: 3_600_000 }, request, never)
      .catch((error: unknown) => error);
    stage.load = async () => new ManualProcessor("sha256:new");
    stage.put(2);
    await stage.reconcile();
    await stage.time.advance(30_000);
    expect(await running)
      .to.be.instanceOf(MillraceError)
      .with.property("code", "Unavailable");
  });

  it("serves the old generation on when the new one is refused, and takes back what it said when that is undone", async () => {
    stage.put(1);
    await stage.reconcile();
    stage.load = () => Promise.reject(new MillraceError("InvalidInput", "no export"));
    stage.put(2, apiSpec({ local: { module: { file: "a.mjs", export: "process", isolation: "Thread" } } }));
    await stage.reconcile();
    expect(stage.serving.generation).to.equal(1);
    expect([stage.condition("Ready"), stage.condition("Stalled")]).to.deep.equal([
      "True/PreviousVersionServes",
      "True/ModuleRefused",
    ]);
    stage.load = async () => new ManualProcessor("sha256:again");
    stage.put(3);
    await stage.reconcile();
    expect([stage.condition("Ready"), stage.condition("Stalled")]).to.deep.equal(["True/Loaded", "absent"]);
  });

  it("tries again what may pass, later and later, and forgets the trouble when it has passed", async () => {
    stage.load = () => Promise.reject(new MillraceError("Unavailable", "away"));
    stage.put(1);
    const waits: number[] = [];
    for (let time = 0; time < 4; time++) {
      const { requeueAfterMs = 0 } = await stage.reconcile();
      waits.push(requeueAfterMs);
      await stage.time.advance(requeueAfterMs);
    }
    expect(waits.every((wait, index) => wait > 700 * 2 ** index && wait < 1_300 * 2 ** index)).to.equal(true);
    expect([stage.condition("Ready"), stage.condition("Reconciling")]).to.deep.equal([
      "False/LoadFailed",
      "True/LoadFailed",
    ]);
    expect(stage.writes).to.equal(1);
    expect(stage.entries.get("team", "words")).to.include({ waitingReason: "LoadFailed" });
    stage.load = async () => new ManualProcessor("sha256:first");
    await stage.reconcile();
    expect([stage.condition("Ready"), stage.condition("Reconciling")]).to.deep.equal(["True/Loaded", "absent"]);
  });

  it("does not try again what is refused for good before it changes", async () => {
    stage.load = () => Promise.reject(new MillraceError("NotFound", "no such built-in"));
    stage.put(1);
    expect(await stage.reconcile()).to.deep.equal({});
    await stage.reconcile();
    expect(stage.loads).to.have.length(1);
  });

  it("gives up a load that takes longer than a minute", async () => {
    stage.load = () =>
      new Promise((_, reject) => stage.time.scheduler.after(70_000, () => reject(new Error("aborted"))));
    stage.put(1);
    await stage.reconcile();
    expect(stage.condition("Ready")).to.equal("False/LoadFailed");
  });

  it("loads anew when the ConfigMap of its module changes, and only then", async () => {
    const spec = apiSpec({ wasm: wasmSpec({ source: { configMapKeyRef: { name: "m", key: "k" } } }) });
    stage.put(1, spec);
    await stage.reconcile();
    await stage.reconcile();
    stage.source = { version: "uid/2", watched: true };
    await stage.reconcile();
    expect(stage.loads).to.have.length(2);
    stage.source = { version: "uid/2", watched: false };
    expect(await stage.reconcile()).to.deep.equal({ requeueAfterMs: 60_000 });
  });

  it("serves an endpoint that is away, asks it again soon, and says when it is there", async () => {
    const remote = new ManualProcessor("sha256:remote");
    remote.probe = () => Promise.reject(new MillraceError("Unavailable", "refused"));
    stage.load = async () => remote;
    stage.put(1, apiSpec({ rpc: { protocol: "HTTP", endpoint: "http://a", maxConnections: 1 } }));
    const { requeueAfterMs = 0 } = await stage.reconcile();
    expect(requeueAfterMs).to.be.within(4_000, 6_000);
    expect(stage.condition("Ready")).to.equal("False/EndpointUnreachable");
    expect(stage.serving.generation).to.equal(1);
    remote.probe = () => Promise.resolve();
    await stage.time.advance(requeueAfterMs);
    const { requeueAfterMs: later = 0 } = await stage.reconcile();
    expect(later).to.be.within(48_000, 72_000);
    expect(stage.condition("Ready")).to.equal("True/EndpointReachable");
  });

  it("does not let an endpoint that is away take the place of one that answers", async () => {
    const [good, bad] = [new ManualProcessor("good"), new ManualProcessor("bad")];
    good.probe = () => Promise.resolve();
    bad.probe = () => Promise.reject(new MillraceError("Unavailable", "refused"));
    const rpc = (endpoint: string) => apiSpec({ rpc: { protocol: "HTTP", endpoint, maxConnections: 1 } });
    stage.load = async () => good;
    stage.put(1, rpc("http://good"));
    await stage.reconcile();
    stage.load = async () => bad;
    stage.put(2, rpc("http://bad"));
    await stage.reconcile();
    await stage.time.advance(0);
    expect(stage.serving.digests).to.deep.equal(["good"]);
    expect([stage.condition("Ready"), stage.condition("Reconciling")]).to.deep.equal([
      "True/PreviousVersionServes",
      "True/EndpointUnreachable",
    ]);
    expect(bad.disposed).to.equal(true);
  });

  it("unloads what is deleted, after its calls, and the catalog forgets it", async () => {
    const only = new ManualProcessor("sha256:only");
    stage.load = async () => only;
    stage.put(1);
    await stage.reconcile();
    stage.store.delete(key);
    await stage.reconcile();
    await stage.time.advance(0);
    expect(stage.entries.get("team", "words")).to.equal(undefined);
    expect(only.disposed).to.equal(true);
  });

  it("refuses a schema of options that is none", async () => {
    stage.put(1, apiSpec({ local: { builtin: "a" }, optionsSchema: { type: "strng" } }));
    await stage.reconcile();
    expect(stage.condition("Stalled")).to.equal("True/InvalidOptionsSchema");
    expect(stage.loads).to.have.length(0);
  });

  describe("with secrets", () => {
    const spec = (key = "key") =>
      apiSpec({ local: { builtin: "echo" }, secrets: [{ name: "token", secretKeyRef: { name: "api", key } }] });
    const put = (version: string, key: string) =>
      stage.secretServer.put("api", version, { data: { key: Buffer.from(key).toString("base64") } });
    const message = () =>
      (stage.store.get(key) as Processor).status?.conditions?.find(({ type }) => type === "Ready")?.message;
    const call = async () => {
      const processor = (await stage.load({} as ProcessorSpec)) as ManualProcessor;
      const answer = stage.serving.invoke(attempt, request, never).catch((error: MillraceError) => error.code);
      await stage.time.advance(0);
      const token = processor.contexts.at(-1)?.secrets.token;
      processor.calls.pop()?.resolve({ ok: true, payload: request.payload, metadata: noMetadata });
      return typeof (await answer) === "string" ? await answer : token;
    };
    beforeEach(() => {
      const processor = new ManualProcessor("sha256:one");
      stage.load = async () => processor;
    });

    it("is not Ready and not loaded while one is not there, and says where it is named and what to do", async () => {
      stage.put(1, spec());
      await stage.reconcile();
      expect([stage.condition("Ready"), stage.condition("Stalled"), stage.loads.length]).to.deep.equal([
        "False/SecretNotFound",
        "True/SecretNotFound",
        0,
      ]);
      expect(message()).to.match(
        /^spec\.secrets\[0\]\.secretKeyRef\.name: Secret team\/api does not exist\. Create it/,
      );
      expect(stage.entries.get("team", "words")?.waitingReason).to.equal("SecretNotFound");
    });

    it("loads when it appears, and gives its value; a changed one is given without another load", async () => {
      stage.put(1, spec());
      await stage.reconcile();
      put("1", "first");
      await stage.time.advance(0);
      expect(stage.changed).to.deep.equal([key]);
      await stage.reconcile();
      expect([stage.condition("Ready"), await call()]).to.deep.equal(["True/Loaded", "first"]);
      put("2", "second");
      await stage.time.advance(0);
      expect([await call(), stage.loads.length]).to.deep.equal(["second", 1]);
    });

    it("is not Ready when it goes away later, though what was loaded still serves: its calls are Unavailable", async () => {
      put("1", "first");
      stage.put(1, spec());
      await stage.reconcile();
      stage.secretServer.remove("api");
      await stage.time.advance(0);
      await stage.reconcile();
      expect([stage.condition("Ready"), stage.condition("PluginLoaded"), await call()]).to.deep.equal([
        "False/SecretNotFound",
        "True/Loaded",
        "Unavailable",
      ]);
      put("3", "third");
      await stage.time.advance(0);
      await stage.reconcile();
      expect([stage.condition("Ready"), await call()]).to.deep.equal(["True/Loaded", "third"]);
    });

    it("serves on as it was where a new generation names a key that is not there", async () => {
      put("1", "first");
      stage.put(1, spec());
      await stage.reconcile();
      stage.put(2, spec("other"));
      await stage.reconcile();
      expect([stage.condition("Ready"), stage.condition("Stalled"), await call()]).to.deep.equal([
        "True/PreviousVersionServes",
        "True/SecretNotFound",
        "first",
      ]);
    });

    it("is refused where a value is no text, and nothing of it is in status or events", async () => {
      stage.secretServer.put("api", "1", { data: { key: Buffer.from("k3y\xff", "latin1").toString("base64") } });
      stage.put(1, spec());
      await stage.reconcile();
      expect(stage.condition("Ready")).to.equal("False/InvalidSecret");
      put("2", "k3y-0815");
      await stage.time.advance(0);
      await stage.reconcile();
      expect(stage.condition("Ready")).to.equal("True/Loaded");
      expect(JSON.stringify([stage.store.get(key), stage.events])).not.to.include("k3y");
    });

    it("says that they cannot be read where the API server refuses, and tries again", async () => {
      stage.secretServer.refusal = new ApiError({ code: 403, reason: "Forbidden", message: "secrets is forbidden" });
      stage.put(1, spec());
      const { requeueAfterMs } = await stage.reconcile();
      expect([stage.condition("Ready"), requeueAfterMs]).to.deep.equal(["False/LoadFailed", 60_000]);
      expect(message()).to.equal("Secret team/api cannot be read: secrets is forbidden");
    });

    it("follows them no longer when it is gone", async () => {
      put("1", "first");
      stage.put(1, spec());
      await stage.reconcile();
      stage.store.delete(key);
      await stage.reconcile();
      await stage.time.advance(0);
      expect(stage.secretServer.watched).to.deep.equal([]);
    });
  });

  const broken: readonly [string, string, object][] = [
    ["outputSchema", "InvalidOutputSchema", { $ref: "https://example.com/schema.json" }],
    ["metadataSchema", "InvalidMetadataSchema", { type: "nothing" }],
    ["optionsSchema", "InvalidOptionsSchema", { description: "x".repeat(70_000) }],
  ];
  for (const [field, reason, schema] of broken) {
    it(`is Stalled with ${reason} where ${field} is none that can be used`, async () => {
      stage.put(1, apiSpec({ local: { builtin: "echo" }, [field]: schema }));
      await stage.reconcile();
      expect([stage.condition("Ready"), stage.condition("Stalled")]).to.deep.equal([
        `False/${reason}`,
        `True/${reason}`,
      ]);
      const ready = (stage.store.get(key) as Processor).status?.conditions?.find(({ type }) => type === "Ready");
      expect(ready?.message).to.match(new RegExp(`^spec\\.${field}.*\\. [A-Z]`));
    });
  }

  it("holds what a version gives to its schemas", async () => {
    const processor = new ManualProcessor("sha256:one");
    stage.load = async () => processor;
    const outputSchema = { type: "object", required: ["words"], properties: { words: { type: "integer" } } };
    stage.put(1, apiSpec({ local: { builtin: "echo" }, outputSchema }));
    await stage.reconcile();
    const answers = [{ words: 1 }, { words: "one" }].map(async (value) => {
      const answer = stage.serving.invoke(attempt, request, never);
      processor.calls.pop()?.resolve({ ok: true, payload: jsonPayload(value), metadata: noMetadata });
      const response = await answer;
      return response.ok ? "ok" : `${response.error.code}: ${response.error.message}`;
    });
    expect(await Promise.all(answers)).to.deep.equal([
      "ok",
      "SchemaViolation: words does not keep to its own schema: output.words is not of type integer",
    ]);
  });

  it("gives the digests that a version has now, not those that it had when it was loaded", async () => {
    const processor = new ManualProcessor("sha256:one");
    stage.load = async () => processor;
    stage.put(1);
    await stage.reconcile();
    processor.digests = ["sha256:two"];
    expect(stage.serving.digests).to.deep.equal(["sha256:two"]);
  });
});
