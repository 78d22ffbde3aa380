import { expect } from "chai";
import type { Client, KubernetesObject, Patch } from "../../../controller/api/client.ts";
import { SchemaCompiler } from "../../../controller/api/json-schema.ts";
import { pipelines } from "../../../controller/api/kinds.ts";
import type { Pipeline, PipelineSpec } from "../../../controller/api/types.ts";
import {
  type PipelineEntry,
  type ProcessorEntry,
  type ProcessorVersion,
  Register,
} from "../../../controller/catalog.ts";
import { dependentsOfProcessor, indexers } from "../../../controller/pipeline/dependents.ts";
import { PipelineReconciler } from "../../../controller/pipeline/reconciler.ts";
import type { EventNote } from "../../../controller/runtime/events.ts";
import type { Logger } from "../../../controller/runtime/logger.ts";
import { ObjectStore } from "../../../controller/runtime/object-store.ts";
import { StatusWriter } from "../../../controller/runtime/status-writer.ts";
import { facts } from "../../support/pipelines.ts";
import { VirtualTime } from "../../support/virtual-time.ts";
import { apiPipeline, apiSpec, step } from "./builders.ts";

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const key = "team/article";
const never = new AbortController().signal;

/** A Pipeline's controller; the API server takes every status. */
class Stage {
  readonly time = new VirtualTime();
  readonly store = new ObjectStore(indexers);
  readonly processors = new ObjectStore();
  readonly catalogued = new Register<ProcessorEntry>();
  readonly entries = new Register<PipelineEntry>();
  readonly events: EventNote[] = [];
  readonly reconciler: PipelineReconciler;
  writes = 0;
  changes = 0;

  constructor() {
    const ports = this.time;
    const client = { patch: (_: unknown, __: unknown, patch: Patch) => this.#patched(patch) } as unknown as Client;
    const onWritten = (object: KubernetesObject) => this.store.set(object);
    this.entries.onChange(() => {
      this.changes += 1;
    });
    this.reconciler = new PipelineReconciler({
      ports,
      pipelines: this.store,
      processors: this.processors,
      catalogued: this.catalogued,
      entries: this.entries,
      schemas: new SchemaCompiler(),
      statuses: new StatusWriter({
        client,
        resource: pipelines,
        ports,
        logger: silent,
        foreign: ["executions"],
        onWritten,
      }),
      events: {
        record: (_: KubernetesObject, note: EventNote) => void this.events.push(note),
        [Symbol.asyncDispose]: async () => {},
      },
    });
  }

  serve(name: string, generation = 1): void {
    const serving = {
      generation,
      digests: [],
      called: "process",
      facts: facts(name),
      invoke: () => Promise.reject(new Error("not called")),
    };
    this.catalogued.set("team", name, { serving: serving satisfies ProcessorVersion });
  }

  async reconcile(): Promise<string> {
    await this.time.drive(this.reconciler.reconcile(key, never));
    const conditions = (this.store.get(key) as Pipeline | undefined)?.status?.conditions ?? [];
    const ready = conditions.find(({ type }) => type === "Ready");
    return ready === undefined ? "nothing" : `${ready.status}/${ready.reason}`;
  }

  get state(): PipelineEntry["state"] | undefined {
    return this.entries.get("team", "article")?.state;
  }

  async #patched({ body }: Patch): Promise<KubernetesObject> {
    this.writes += 1;
    const object = this.store.get(key) as KubernetesObject;
    const { status } = body as { status: Record<string, unknown> };
    const merged = Object.entries({ ...(object.status as object), ...status }).filter(([, value]) => value !== null);
    return { ...object, status: Object.fromEntries(merged) };
  }
}

describe("the controller of Pipelines", () => {
  let stage: Stage;
  const one = apiSpec([step("a")]);
  beforeEach(() => {
    stage = new Stage();
    stage.store.set(apiPipeline(1, one));
  });

  it("compiles once, writes once, and tells the catalog once while nothing changes", async () => {
    stage.serve("words");
    for (let time = 0; time < 3; time++) expect(await stage.reconcile()).to.equal("True/Compiled");
    expect([stage.writes, stage.changes, stage.events.length]).to.deep.equal([1, 1, 1]);
  });

  it("writes nothing while a Processor is being loaded, and lets Executions wait", async () => {
    stage.processors.set({ apiVersion: "", kind: "Processor", metadata: { name: "words", namespace: "team" } });
    expect(await stage.reconcile()).to.equal("nothing");
    stage.catalogued.set("team", "words", { waiting: "it is being loaded", waitingReason: "Loading" });
    expect(await stage.reconcile()).to.equal("nothing");
    expect(stage.writes).to.equal(0);
    expect(stage.state).to.include({ ready: false, reason: "ProcessorNotReady" });
    stage.serve("words");
    expect(await stage.reconcile()).to.equal("True/Compiled");
  });

  it("compiles anew when a Processor has another version, and not when another Processor has", async () => {
    stage.serve("words", 1);
    await stage.reconcile();
    const first = stage.state;
    stage.serve("other", 1);
    await stage.reconcile();
    expect(stage.state).to.equal(first);
    stage.serve("words", 2);
    await stage.reconcile();
    expect(stage.state).not.to.equal(first);
    expect(stage.writes).to.equal(1);
  });

  it("is not fooled by another Pipeline of the same name and generation", async () => {
    stage.serve("words");
    await stage.reconcile();
    const other = apiPipeline(1, apiSpec([step("b")]));
    stage.store.set({ ...other, metadata: { ...other.metadata, uid: "uid-2" } });
    await stage.reconcile();
    const { state } = stage;
    expect(state?.ready && state.pipeline.plan.steps[0]?.name).to.equal("b");
  });

  it("waits when a Processor goes and tells it by an event, and forgets a Pipeline that goes", async () => {
    stage.serve("words");
    await stage.reconcile();
    stage.catalogued.delete("team", "words");
    expect(await stage.reconcile()).to.equal("False/ProcessorNotFound");
    expect(stage.events.map(({ type, reason }) => `${type} ${reason}`)).to.deep.equal([
      "Normal Compiled",
      "Warning ProcessorNotFound",
    ]);
    expect(stage.state).to.include({ ready: false });
    stage.store.delete(key);
    await stage.reconcile();
    expect(stage.state).to.equal(undefined);
  });

  it("lets the catalog know a new Pipeline before it is checked", () => {
    stage.reconciler.announce(key);
    stage.reconciler.announce(key);
    expect(stage.state).to.include({ ready: false, reason: "Pending" });
    expect(stage.changes).to.equal(1);
  });

  it("offers an edited Pipeline to nobody before it is checked, and writes no status of that", async () => {
    stage.serve("words");
    await stage.reconcile();
    const { status } = stage.store.get(key) as Pipeline;
    stage.reconciler.announce(key);
    expect(stage.state).to.include({ ready: true });
    stage.store.set(apiPipeline(2, apiSpec([step("b")]), status));
    stage.reconciler.announce(key);
    stage.reconciler.announce(key);
    expect(stage.state).to.include({ ready: false, reason: "Pending" });
    expect([stage.writes, stage.changes]).to.deep.equal([1, 2]);
    expect(await stage.reconcile()).to.equal("True/Compiled");
    const { state } = stage;
    expect(state?.ready && state.pipeline.plan.steps[0]?.name).to.equal("b");
    expect(stage.events.map(({ reason }) => reason)).to.deep.equal(["Compiled"]);
  });

  it("keeps what it compiled through a burst of Processors' changes that change no version", async () => {
    stage.serve("words");
    stage.serve("other");
    await stage.reconcile();
    const first = stage.state;
    const serving = stage.catalogued.get("team", "words") as ProcessorEntry;
    for (let time = 0; time < 20; time++) {
      stage.catalogued.set("team", "words", { ...serving });
      stage.serve("other", time);
      await stage.reconcile();
    }
    expect(stage.state).to.equal(first);
    expect([stage.writes, stage.changes]).to.deep.equal([1, 1]);
  });

  it("compiles an Execution's own Pipeline against what serves", () => {
    expect(stage.reconciler.compileInline("team", "run", one)).to.include({
      ready: false,
      reason: "ProcessorNotFound",
    });
    stage.serve("words");
    expect(stage.reconciler.compileInline("team", "run", one)).to.include({ ready: true });
    expect(stage.reconciler.compileInline("else", "run", one)).to.include({ ready: false });
  });

  it("leaves the counts of Executions, which another writes, as they are", async () => {
    const counts = { executions: { queued: 2, running: 1 } };
    stage.store.set(apiPipeline(1, one, counts));
    expect(await stage.reconcile()).to.equal("False/ProcessorNotFound");
    stage.serve("words");
    expect(await stage.reconcile()).to.equal("True/Compiled");
    expect((stage.store.get(key) as Pipeline).status).to.deep.include(counts);
  });
});

describe("the controller of Pipelines that bring in others", () => {
  let stage: Stage;
  const outer = apiSpec([step("a"), { name: "get", pipeline: "inner", dependsOn: ["a"] }]);
  const named = (name: string, generation: number, spec: PipelineSpec): Pipeline => {
    const object = apiPipeline(generation, spec);
    return { ...object, metadata: { ...object.metadata, name, uid: `uid-${name}` } };
  };
  const inner = (generation: number, ...names: readonly string[]) =>
    named(
      "inner",
      generation,
      apiSpec(
        names.map((name) => step(name)),
        { output: "1" },
      ),
    );
  /** As the assembly does on each change. */
  const change = (object: Pipeline): readonly string[] => {
    stage.store.set(object);
    return stage.reconciler.announce(`team/${object.metadata.name}`);
  };
  const rows = () => {
    const { state } = stage;
    return state?.ready === true ? state.pipeline.plan.steps.map(({ name }) => name) : [];
  };
  beforeEach(() => {
    stage = new Stage();
    stage.serve("words");
    stage.store.set(apiPipeline(1, outer));
  });

  it("waits for one that does not exist, and both conditions say so", async () => {
    expect(await stage.reconcile()).to.equal("False/PipelineNotFound");
    const conditions = (stage.store.get(key) as Pipeline).status?.conditions ?? [];
    expect(conditions.map(({ type, status }) => `${type}=${status}`)).to.deep.equal([
      "Ready=False",
      "Reconciling=True",
      "Stalled=True",
    ]);
    expect(change(inner(1, "x"))).to.deep.equal([key]);
    expect(await stage.reconcile()).to.equal("True/Compiled");
    expect(rows()).to.deep.equal(["a", "get", "get/x", "get"]);
  });

  it("counts the steps that are brought in", async () => {
    stage.store.set(inner(1, "x", "y"));
    await stage.reconcile();
    expect((stage.store.get(key) as Pipeline).status?.graph).to.deep.equal({ steps: 4, levels: 2, width: 2 });
  });

  it("is looked at again when one is edited, and is offered to nobody until then", async () => {
    change(inner(1, "x"));
    await stage.reconcile();
    const first = stage.state;
    expect(change(inner(1, "x"))).to.deep.equal([]);
    expect(stage.state).to.equal(first);
    expect(change(inner(2, "y"))).to.deep.equal([key]);
    expect(stage.state).to.include({ ready: false, reason: "Pending" });
    expect(await stage.reconcile()).to.equal("True/Compiled");
    expect(rows()).to.include("get/y");
    expect(stage.writes).to.equal(1);
  });

  it("waits when one is deleted, and is told when it is another of the same name", async () => {
    change(inner(1, "x"));
    await stage.reconcile();
    stage.store.delete("team/inner");
    expect(stage.reconciler.announce("team/inner")).to.deep.equal([key]);
    expect(stage.state).to.include({ ready: false, reason: "Pending" });
    expect(await stage.reconcile()).to.equal("False/PipelineNotFound");
    const again = inner(1, "y");
    expect(change({ ...again, metadata: { ...again.metadata, uid: "uid-other" } })).to.deep.equal([key]);
    expect(await stage.reconcile()).to.equal("True/Compiled");
  });

  it("hears of an edit through a Pipeline between them", async () => {
    stage.store.set(named("inner", 1, apiSpec([{ name: "deep", pipeline: "innermost" }])));
    stage.store.set(named("innermost", 1, apiSpec([step("x")])));
    await stage.reconcile();
    expect(rows()).to.include("get/deep/x");
    expect(change(named("innermost", 2, apiSpec([step("z")])))).to.deep.equal([key]);
    await stage.reconcile();
    expect(rows()).to.include("get/deep/z");
  });

  it("tells a fault of one at its step, and that it is mended", async () => {
    change(named("inner", 1, apiSpec([step("x", { when: "size(" })])));
    expect(await stage.reconcile()).to.equal("False/InvalidPipeline");
    const ready = (stage.store.get(key) as Pipeline).status?.conditions?.[0];
    expect(ready?.message).to.match(/^steps\[1\]\.pipeline: .*Pipeline inner, where steps\[0\]\.when is wrong/);
    expect(change(inner(2, "x"))).to.deep.equal([key]);
    expect(await stage.reconcile()).to.equal("True/Compiled");
  });

  it("waits for their Processors, and compiles anew when one has another version", async () => {
    const calling = (processor: string) => named("inner", 1, apiSpec([step("x", { processor })]));
    change(calling("other"));
    expect(await stage.reconcile()).to.equal("False/ProcessorNotFound");
    stage.catalogued.set("team", "other", { waiting: "no export", waitingReason: "ModuleRefused" });
    expect(await stage.reconcile()).to.equal("False/ProcessorNotReady");
    stage.serve("other");
    expect(await stage.reconcile()).to.equal("True/Compiled");
    const first = stage.state;
    expect(first?.ready === true && first.pipeline.processors).to.deep.equal(["other", "words"]);
    stage.serve("other", 2);
    await stage.reconcile();
    expect(stage.state).not.to.equal(first);
    expect([...dependentsOfProcessor(stage.store, "team/other")]).to.have.members([key, "team/inner"]);
    expect([...dependentsOfProcessor(stage.store, "team/words")]).to.deep.equal([key]);
  });

  it("refuses Pipelines that bring in each other, each for itself", async () => {
    change(named("inner", 1, apiSpec([{ name: "back", pipeline: "article" }])));
    expect(await stage.reconcile()).to.equal("False/PipelineRecursion");
    const ready = (stage.store.get(key) as Pipeline).status?.conditions?.[0];
    expect(ready?.message).to.contain("article → inner → article");
    expect(stage.reconciler.announce(key)).to.deep.equal([]);
  });

  it("compiles an Execution's own Pipeline with what it brings in, and says what may change that", () => {
    expect(stage.reconciler.compileInline("team", "run", outer)).to.deep.include({
      ready: false,
      reason: "PipelineNotFound",
      names: { processors: ["words"], pipelines: ["inner"] },
    });
    change(named("inner", 1, apiSpec([step("x", { processor: "other" })])));
    expect(stage.reconciler.compileInline("team", "run", outer)).to.deep.include({
      ready: false,
      reason: "ProcessorNotFound",
      names: { processors: ["other", "words"], pipelines: ["inner"] },
    });
    stage.serve("other");
    const state = stage.reconciler.compileInline("team", "run", outer);
    expect(state.ready && state.pipeline.closure.pipelines.map(({ name }) => name)).to.deep.equal(["inner"]);
  });

  it("is found by each Processor and each Pipeline that it names, once", () => {
    const twice = apiSpec([step("a"), step("b"), { name: "g", pipeline: "inner" }, { name: "h", pipeline: "inner" }], {
      finally: [{ name: "z", processor: "other" }],
    });
    expect(indexers.processor(apiPipeline(1, twice))).to.deep.equal(["team/words", "team/other"]);
    expect(indexers.pipeline(apiPipeline(1, twice))).to.deep.equal(["team/inner"]);
  });
});
