import { expect } from "chai";
import type { LoadedProcessor, ProcessorSpec } from "../../../backends/backend.ts";
import { ByteBudget } from "../../../backends/byte-budget.ts";
import type { Client, KubernetesObject, Patch } from "../../../controller/api/client.ts";
import { SchemaCompiler } from "../../../controller/api/json-schema.ts";
import { processors } from "../../../controller/api/kinds.ts";
import type { Processor } from "../../../controller/api/types.ts";
import { type ProcessorEntry, Register } from "../../../controller/catalog.ts";
import type { ConfigMapVersion, ConfigMapVersions } from "../../../controller/processor/config-maps.ts";
import { ProcessorReconciler } from "../../../controller/processor/reconciler.ts";
import { Versions } from "../../../controller/processor/versions.ts";
import type { EventNote } from "../../../controller/runtime/events.ts";
import type { Logger } from "../../../controller/runtime/logger.ts";
import { noMetrics } from "../../../controller/runtime/metrics.ts";
import { ObjectStore } from "../../../controller/runtime/object-store.ts";
import { StatusWriter } from "../../../controller/runtime/status-writer.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { noMetadata } from "../../../engine/metadata.ts";
import { textPayload } from "../../../engine/payload.ts";
import { VirtualTime } from "../../support/virtual-time.ts";
import { apiProcessor, apiSpec, attempt, ManualProcessor } from "./builders.ts";

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const key = "team/words";
const never = new AbortController().signal;
const request = { payload: textPayload("in"), metadata: noMetadata, options: {} };

/** A Processor's controller with a scripted backend, in virtual time; the API server takes every status. */
class Stage {
  readonly time = new VirtualTime();
  readonly store = new ObjectStore();
  readonly entries = new Register<ProcessorEntry>();
  readonly events: EventNote[] = [];
  readonly loads: ProcessorSpec[] = [];
  writes = 0;
  source: ConfigMapVersion = { version: "absent", watched: true };
  load: (spec: ProcessorSpec) => Promise<LoadedProcessor> = async () => new ManualProcessor("sha256:first");
  readonly versions: Versions;
  readonly reconciler: ProcessorReconciler;

  constructor() {
    const ports = this.time;
    const budget = new ByteBudget();
    this.versions = new Versions({ ports, logger: silent, metrics: noMetrics, budget, entries: this.entries });
    this.reconciler = new ProcessorReconciler({
      ports,
      processors: this.store,
      backends: {
        load: (spec) => {
          this.loads.push(spec);
          return this.load(spec);
        },
      },
      versions: this.versions,
      configMaps: { release() {}, versionFor: async () => this.source } as unknown as ConfigMapVersions,
      schemas: new SchemaCompiler(),
      statuses: new StatusWriter({
        client: this.#client(),
        resource: processors,
        ports,
        logger: silent,
        onWritten: (object) => this.store.set(object),
      }),
      events: {
        record: (_: KubernetesObject, note: EventNote) => void this.events.push(note),
        [Symbol.asyncDispose]: async () => {},
      },
    });
  }

  /** Puts the object, with the status that it has. */
  put(generation: number, spec = apiSpec()): void {
    this.store.set(apiProcessor(generation, spec, (this.store.get(key) as Processor | undefined)?.status));
  }

  reconcile(): Promise<{ readonly requeueAfterMs?: number }> {
    return this.time.drive(this.reconciler.reconcile(key, never));
  }

  get serving(): NonNullable<ProcessorEntry["serving"]> {
    const { serving } = this.entries.get("team", "words") ?? {};
    if (serving === undefined) throw new Error("nothing serves");
    return serving;
  }

  condition(type: string): string {
    const conditions = (this.store.get(key) as Processor).status?.conditions ?? [];
    const found = conditions.find((condition) => condition.type === type);
    return found === undefined ? "absent" : `${found.status}/${found.reason}`;
  }

  #client(): Client {
    const patch = async (_: unknown, __: unknown, { body }: Patch): Promise<KubernetesObject> => {
      this.writes += 1;
      const object = this.store.get(key) as KubernetesObject;
      const { status } = body as { status: Record<string, unknown> };
      const merged = { ...(object.status as object), ...status };
      const kept = Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== null));
      return { ...object, status: kept };
    };
    return { patch } as unknown as Client;
  }
}

describe("the controller of Processors", () => {
  let stage: Stage;
  beforeEach(() => {
    stage = new Stage();
  });

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
    const wasm = { abi: "Auto", entrypoint: "process", limits: { memory: "1Mi" } } as const;
    const spec = apiSpec({ wasm: { ...wasm, source: { configMapKeyRef: { name: "m", key: "k" } } } });
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
});
