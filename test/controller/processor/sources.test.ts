import { expect } from "chai";
import { SourceRefusal } from "../../../backends/source-refusal.ts";
import type { Processor, WasmSpec } from "../../../controller/api/types.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { apiSpec, attempt, ManualProcessor, wasmSpec } from "./builders.ts";
import { key, never, request, Stage } from "./stage.ts";

const oci = { oci: "ghcr.io/acme/words:latest" };
const fetched = (more: Partial<WasmSpec> = {}) => apiSpec({ wasm: wasmSpec({ source: oci, ...more }) });
const unavailable = () => Promise.reject(new MillraceError("Unavailable", "the registry is away"));

describe("a Processor whose source may name another module", () => {
  let stage: Stage;
  let named: string;
  beforeEach(() => {
    stage = new Stage();
    named = "one";
    stage.resolve = async () => ({ version: named, checkAgainMs: 60_000 });
    stage.load = async () => {
      const module = { digest: named, bytes: 8, source: "ghcr.io/acme/words:latest" };
      return Object.assign(new ManualProcessor(named), { module });
    };
  });
  afterEach(() => stage.secrets[Symbol.asyncDispose]());

  const message = (type: string): string => {
    const { conditions = [] } = (stage.store.get(key) as Processor).status ?? {};
    return conditions.find((condition) => condition.type === type)?.message ?? "";
  };
  const next = async (): Promise<void> => {
    const { requeueAfterMs = 0 } = await stage.reconcile();
    expect(requeueAfterMs).to.be.greaterThan(0);
    await stage.time.advance(requeueAfterMs);
    await stage.reconcile();
  };

  it("is asked as often as it wants to be, however often the Processor is looked at", async () => {
    stage.put(1, fetched());
    const { requeueAfterMs = 0 } = await stage.reconcile();
    expect(requeueAfterMs).to.be.within(48_000, 72_000);
    for (let time = 0; time < 5; time++) await stage.reconcile();
    expect([stage.asked, stage.loads.length]).to.deep.equal([1, 1]);
    await next();
    expect([stage.asked, stage.loads.length]).to.deep.equal([2, 1]);
  });

  it("may be told what others of its namespace were told, unless it has been edited", async () => {
    const befores: (string | undefined)[] = [];
    stage.resolve = async (_spec, before) => {
      befores.push(before?.version);
      return { version: named, checkAgainMs: 60_000 };
    };
    stage.put(1, fetched());
    await next();
    stage.put(2, fetched({ entrypoint: "other" }));
    await next();
    expect(befores).to.deep.equal([undefined, "one", undefined, "one"]);
  });

  it("is loaded anew when it names another one, and a call in flight ends on the old one", async () => {
    const old = new ManualProcessor("one");
    stage.load = async () => old;
    stage.put(1, fetched());
    const { requeueAfterMs = 0 } = await stage.reconcile();
    named = "two";
    stage.load = async () => new ManualProcessor("two");
    await stage.time.advance(requeueAfterMs);
    const running = stage.serving.invoke(attempt, request, never);
    await stage.reconcile();
    expect(stage.serving.digests).to.deep.equal(["two"]);
    expect(old.disposed).to.equal(false);
    old.calls[0]?.resolve({ ok: true, payload: request.payload, metadata: {} });
    expect((await running).ok).to.equal(true);
  });

  it("gives results of its own for each of the settings that it is run with, in whatever order they are written", async () => {
    const settings = [
      {},
      { randomSeed: "a" },
      { config: [{ name: "top", value: "9" }] },
      { allowedHosts: ["a.example"] },
    ];
    const env = [1, 2].map((value) => ({ name: `V${value}`, value: String(value) }));
    const called = [];
    for (const [index, capabilities] of [...settings, { env }, { env: env.toReversed() }].entries()) {
      stage.put(index + 1, fetched({ capabilities }));
      await stage.reconcile();
      called.push(stage.serving.called);
    }
    expect(new Set(called)).to.have.property("size", 5);
    expect(called[4]).to.equal(called[5]);
  });

  it("serves on while it cannot be asked, says why, and is asked again sooner", async () => {
    stage.put(1, fetched());
    await stage.reconcile();
    stage.resolve = unavailable;
    await next();
    expect(stage.serving.digests).to.deep.equal(["one"]);
    expect(["Ready", "ModuleCached", "Reconciling", "Stalled"].map((type) => stage.condition(type))).to.deep.equal([
      "True/Loaded",
      "True/Loaded",
      "True/ModuleUnavailable",
      "absent",
    ]);
    const { requeueAfterMs = 0 } = await stage.reconcile();
    expect(requeueAfterMs).to.be.within(800, 1_200);
    stage.resolve = async () => ({ version: "one", checkAgainMs: 60_000 });
    await stage.time.advance(requeueAfterMs);
    await stage.reconcile();
    expect(stage.condition("Reconciling")).to.equal("absent");
    expect(stage.loads).to.have.length(1);
  });

  it("serves on, too, when its tag is deleted or its credentials are taken away", async () => {
    stage.put(1, fetched());
    await stage.reconcile();
    stage.resolve = () => Promise.reject(new SourceRefusal("Unauthorized", "ghcr.io refuses it"));
    await next();
    expect(stage.serving.digests).to.deep.equal(["one"]);
    expect(["Ready", "Reconciling"].map((type) => stage.condition(type))).to.deep.equal([
      "True/Loaded",
      "True/ModuleUnauthorized",
    ]);
    expect(message("Ready")).to.contain("ghcr.io refuses it");
  });

  it("is refused where a new spec's source cannot be asked, and the old version serves", async () => {
    stage.put(1, fetched());
    await stage.reconcile();
    stage.resolve = unavailable;
    stage.put(2, fetched({ entrypoint: "other" }));
    await stage.reconcile();
    expect(stage.serving.generation).to.equal(1);
    expect(["Ready", "ModuleCached", "Reconciling"].map((type) => stage.condition(type))).to.deep.equal([
      "True/PreviousVersionServes",
      "False/ModuleUnavailable",
      "True/ModuleUnavailable",
    ]);
  });

  it("does not keep the endpoint that serves meanwhile from being asked", async () => {
    const remote = new ManualProcessor("remote");
    let probes = 0;
    remote.probe = async () => void probes++;
    stage.load = async () => remote;
    stage.put(1, apiSpec({ rpc: { protocol: "HTTP", endpoint: "http://a", maxConnections: 1 } }));
    await stage.reconcile();
    stage.resolve = () => Promise.reject(new MillraceError("NotFound", "no such tag"));
    stage.put(2, fetched());
    await stage.reconcile();
    await stage.time.advance(75_000);
    const { requeueAfterMs = 0 } = await stage.reconcile();
    expect(probes).to.equal(2);
    expect(requeueAfterMs).to.be.greaterThan(40_000);
    expect(stage.condition("Ready")).to.equal("True/PreviousVersionServes");
  });

  it("backs off while it cannot be asked at first, waits as long as it is told to, and loads once it can", async () => {
    stage.resolve = unavailable;
    stage.put(1, fetched());
    const waits: number[] = [];
    for (let time = 0; time < 3; time++) {
      const { requeueAfterMs = 0 } = await stage.reconcile();
      waits.push(requeueAfterMs);
      await stage.time.advance(requeueAfterMs);
    }
    expect(waits[0]).to.be.within(800, 1_200);
    expect(waits[2]).to.be.within(3_200, 4_800);
    expect(stage.condition("Ready")).to.equal("False/ModuleUnavailable");
    stage.resolve = () => Promise.reject(new MillraceError("Unavailable", "too many", { retryAfterMs: 90_000 }));
    expect(await stage.reconcile()).to.deep.equal({ requeueAfterMs: 90_000 });
    stage.resolve = async () => ({ version: "one" });
    await stage.time.advance(90_000);
    await stage.reconcile();
    expect([stage.condition("Ready"), stage.condition("Reconciling")]).to.deep.equal(["True/Loaded", "absent"]);
  });

  it("never serves a bad one: the good one serves on, and is kept when it is named again", async () => {
    stage.put(1, fetched());
    await stage.reconcile();
    named = "bad";
    stage.load = () => Promise.reject(new SourceRefusal("SignatureRefused", "no signature of this key"));
    await next();
    expect(stage.serving.digests).to.deep.equal(["one"]);
    expect(["Ready", "ModuleCached", "Stalled"].map((type) => stage.condition(type))).to.deep.equal([
      "True/PreviousVersionServes",
      "False/SignatureRefused",
      "True/SignatureRefused",
    ]);
    // Rolled back: it serves still, so that nothing is loaded.
    named = "one";
    const loads = stage.loads.length;
    await next();
    expect([stage.condition("Ready"), stage.condition("Stalled")]).to.deep.equal(["True/Loaded", "absent"]);
    expect(stage.loads).to.have.length(loads);
  });

  it("is tried again every minute when it was refused for good, as nothing tells when it is mended", async () => {
    stage.resolve = async () => ({ version: "pinned" });
    stage.load = () => Promise.reject(new SourceRefusal("NotCached", "pullPolicy is Never"));
    stage.put(1, fetched({ pullPolicy: "Never" }));
    const { requeueAfterMs = 0 } = await stage.reconcile();
    expect(requeueAfterMs).to.be.within(48_000, 72_000);
    expect(stage.condition("Stalled")).to.equal("True/ModuleNotCached");
  });

  it("is looked for every five seconds where it is a file that is not there", async () => {
    stage.resolve = () => Promise.reject(new MillraceError("NotFound", "no such file"));
    stage.put(1, fetched({ source: { file: "words.wasm" } }));
    const { requeueAfterMs = 0 } = await stage.reconcile();
    expect(requeueAfterMs).to.be.within(4_000, 6_000);
    expect(stage.condition("Ready")).to.equal("False/ModuleNotFound");
  });

  it("gives up a question that takes longer than half a minute", async () => {
    stage.resolve = () =>
      new Promise((_, reject) => stage.time.scheduler.after(40_000, () => reject(new Error("aborted"))));
    stage.put(1, fetched());
    await stage.reconcile();
    expect(stage.condition("Ready")).to.equal("False/ModuleUnavailable");
    expect(message("Ready")).to.equal("the module's source has not answered within 30000 ms");
  });

  it("says which Secret it lacks, does not ask the source until it is there, and asks anew when it changes", async () => {
    const verify = { publicKeySecretRef: { name: "keys", key: "cosign.pub" } };
    stage.put(1, fetched({ pullSecretRef: { name: "registry" }, verify }));
    await stage.reconcile();
    expect(stage.condition("Ready")).to.equal("False/SecretNotFound");
    expect(message("Ready")).to.match(/^spec\.wasm\.pullSecretRef\.name: Secret team\/registry does not exist/);
    stage.secretServer.put("registry", "1", { data: {} });
    stage.secretServer.put("keys", "1", { data: { "minisign.pub": "" } });
    await stage.reconcile();
    expect(message("Ready")).to.match(/^spec\.wasm\.verify\.publicKeySecretRef\.key: .* has no key cosign\.pub/);
    expect(stage.asked).to.equal(0);
    stage.secretServer.put("keys", "2", { data: { "cosign.pub": "" } });
    await stage.reconcile();
    expect([stage.asked, stage.condition("Ready")]).to.deep.equal([1, "True/Loaded"]);
    stage.changed.length = 0;
    stage.secretServer.put("registry", "2", { data: { ".dockerconfigjson": "" } });
    await stage.reconcile();
    expect(stage.changed).to.include(key);
    expect([stage.asked, stage.loads.length]).to.deep.equal([2, 2]);
  });

  it("is not loaded anew for another value of a variable, which the next call gets", async () => {
    const env = [
      { name: "LOG", value: "info" },
      { name: "TOKEN", valueFrom: { secretKeyRef: { name: "api", key: "token" } } },
    ];
    const processor = new ManualProcessor("one");
    stage.load = async () => processor;
    const value = (text: string) => ({ data: { token: Buffer.from(text).toString("base64") } });
    stage.put(1, fetched({ capabilities: { env } }));
    await stage.reconcile();
    expect(message("Ready")).to.match(
      /^spec\.wasm\.capabilities\.env\[1\]\.valueFrom\.secretKeyRef\.name: Secret team/,
    );
    stage.secretServer.put("api", "0", value("k3y\0rest"));
    await stage.reconcile();
    expect(stage.condition("Ready")).to.equal("False/InvalidSecret");
    expect(message("Ready")).to.include("NUL").and.not.include("k3y");
    stage.secretServer.put("api", "1", value("first"));
    await stage.reconcile();
    for (const text of ["first", "second"]) {
      stage.secretServer.put("api", text, value(text));
      await stage.reconcile();
      void stage.serving.invoke(attempt, request, never).catch(() => undefined);
      expect(processor.contexts.at(-1)?.secrets).to.deep.equal({ "env:TOKEN": text });
    }
    expect(stage.loads).to.have.length(1);
  });
});
