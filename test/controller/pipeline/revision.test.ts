import { expect } from "chai";
import {
  ApiError,
  type Client,
  type KubernetesObject,
  type ListOptions,
  type ObjectRef,
} from "../../../controller/api/client.ts";
import { SchemaCompiler } from "../../../controller/api/json-schema.ts";
import {
  type CompiledPipeline,
  type PipelineClosure,
  type PipelineEntry,
  Register,
} from "../../../controller/catalog.ts";
import { RevisionStore, revisionLabels } from "../../../controller/pipeline/revision.ts";
import { type RevisionSweepOptions, sweepRevisions } from "../../../controller/pipeline/revision-sweep.ts";
import type { Logger } from "../../../controller/runtime/logger.ts";
import { MillraceError } from "../../../engine/errors.ts";
import type { JsonObject } from "../../../engine/payload.ts";
import { facts } from "../../support/pipelines.ts";
import { VirtualTime } from "../../support/virtual-time.ts";
import { apiSpec, compiled as compile, step, words } from "./builders.ts";

const never = new AbortController().signal;
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

function compiled(timeout?: string, options: JsonObject = {}): CompiledPipeline {
  return compile(apiSpec([step("a")], timeout === undefined ? {} : { timeout }), {}, [words(undefined, options)]);
}

/** As much of an API server as revisions need. */
class FakeServer {
  readonly objects = new Map<string, KubernetesObject>();
  readonly time: VirtualTime;
  creates = 0;
  gets = 0;

  constructor(time: VirtualTime) {
    this.time = time;
  }

  get client(): Client {
    const create = async (_: unknown, object: JsonObject): Promise<KubernetesObject> => {
      this.creates += 1;
      const { metadata } = object as unknown as KubernetesObject;
      if (this.objects.has(metadata.name)) throw new ApiError({ code: 409, reason: "AlreadyExists", message: "there" });
      const creationTimestamp = new Date(this.time.clock.now()).toISOString();
      // What comes back has been through JSON.
      const stored = JSON.parse(
        JSON.stringify({ ...object, metadata: { ...metadata, uid: metadata.name, creationTimestamp } }),
      );
      this.objects.set(metadata.name, stored);
      return stored;
    };
    const get = async (_: unknown, { name }: ObjectRef): Promise<KubernetesObject> => {
      this.gets += 1;
      const object = this.objects.get(name);
      if (object === undefined) throw new ApiError({ code: 404, reason: "NotFound", message: "not there" });
      return object;
    };
    const list = async (_: unknown, { labelSelector = "" }: ListOptions) => {
      const wanted = labelSelector.split(",").map((part) => part.split("="));
      const items = [...this.objects.values()].filter(({ metadata }) =>
        wanted.every(([label = "", value]) => metadata.labels?.[label] === value),
      );
      return { items, resourceVersion: "1" };
    };
    const remove = async (_: unknown, { name }: ObjectRef) => void this.objects.delete(name);
    return { create, get, list, delete: remove } as unknown as Client;
  }
}

const isSchema = (key: string): boolean => key.endsWith("Schema");

/** As Millrace wrote it before Pipelines had strategies, `finally` and other Pipelines in them. */
const earlierRevision: KubernetesObject = {
  apiVersion: "apps/v1",
  kind: "ControllerRevision",
  metadata: { name: "article-0", namespace: "team", labels: revisionLabels },
  data: {
    name: "article",
    spec: {
      failurePolicy: "FailFast",
      maxParallelSteps: 16,
      timeout: "5m",
      input: { maxSize: "4Mi" },
      parameters: [{ name: "language", schema: { type: "string" }, default: "en" }],
      steps: [
        { name: "clean", processor: "words" },
        { name: "report", processor: "words", dependsOn: ["clean"], options: { top: 3 }, timeout: "1m" },
      ],
    },
    processors: [
      {
        name: "words",
        intent: "Transform",
        options: { top: 10 },
        timeoutMs: 30_000,
        retry: {
          limit: 1,
          backoff: { initialMs: 100, factor: 2, maxMs: 10_000, jitterPercent: 20 },
          codes: ["Unavailable"],
        },
      },
    ],
  },
  revision: 1,
};

describe("the revision of a Pipeline", () => {
  let time: VirtualTime;
  let server: FakeServer;
  const newStore = () => new RevisionStore({ client: server.client, clock: time.clock, schemas: new SchemaCompiler() });
  beforeEach(() => {
    time = new VirtualTime();
    server = new FakeServer(time);
  });

  it("is written once for a content, however many ask at once", async () => {
    const store = newStore();
    const pipeline = compiled();
    const names = await Promise.all(Array.from({ length: 50 }, () => store.ensure("team", pipeline, never)));
    await store.ensure("team", compiled(), never);
    expect(new Set(names).size).to.equal(1);
    expect(names[0]).to.match(/^article-[0-9a-f]{16}$/);
    expect(server.creates).to.equal(1);
  });

  it("has another name where the Pipeline, or the facts of a Processor, are others", () => {
    const store = newStore();
    const names = [compiled(), compiled("5m"), compiled(undefined, { top: 1 })].map((pipeline) =>
      store.nameOf(pipeline),
    );
    expect(new Set(names).size).to.equal(3);
  });

  it("has another name where a Pipeline that it brings in was edited", () => {
    const store = newStore();
    const outer = apiSpec([{ name: "get", pipeline: "inner" }]);
    const names = [apiSpec([step("a")]), apiSpec([step("b")]), apiSpec([step("a")])].map((inner) =>
      store.nameOf(compile(outer, { inner })),
    );
    expect(new Set(names).size).to.equal(2);
    expect(names[2]).to.equal(names[0]);
  });

  it("has the Pipelines that it brings in, and needs them no more", async () => {
    const inner = apiSpec([step("x"), { name: "get", pipeline: "innermost", dependsOn: ["x"] }]);
    const pipelines = { inner, innermost: apiSpec([step("y")]) };
    const pipeline = compile(apiSpec([step("a"), { name: "get", pipeline: "inner", dependsOn: ["a"] }]), pipelines);
    const name = await newStore().ensure("team", pipeline, never);
    const held = server.objects.get(name)?.data as PipelineClosure | undefined;
    expect(held?.pipelines.map((one) => one.name)).to.deep.equal(["inner", "innermost"]);
    const read = await newStore().read("team", name, never);
    expect(JSON.stringify(read.plan)).to.equal(JSON.stringify(pipeline.plan));
    expect(read.plan.steps.map((one) => one.name)).to.include("get/get/y");
  });

  it("has only the schemas that a run checks against", async () => {
    const optionsSchema = { type: "object", properties: { top: { type: "integer" } } };
    const processors = ["words", "checked"].map((name) =>
      facts(name, { optionsSchema, outputSchema: { type: "string" }, metadataSchema: { type: "object" } }),
    );
    const dynamic = step("b", { processor: "checked", optionsExpression: "{'top': input}" });
    const pipeline = compile(apiSpec([step("a"), dynamic], { output: "1" }), {}, processors);
    expect(
      pipeline.closure.processors.map(({ name, ...more }) => [name, Object.keys(more).filter(isSchema)]),
    ).to.deep.equal([
      ["checked", ["optionsSchema"]],
      ["words", []],
    ]);
    const name = await newStore().ensure("team", pipeline, never);
    const { plan } = await newStore().read("team", name, never);
    expect(plan.steps[1]?.checkOptions?.({ top: "x" })).to.contain("integer");
  });

  it("of an earlier version, which knew less of Pipelines and Processors, compiles as it was meant", async () => {
    server.objects.set("article-0", earlierRevision);
    const { plan, closure, processors } = await newStore().read("team", "article-0", never);
    expect(plan).to.include({
      strategy: "WorkQueue",
      failurePolicy: "FailFast",
      finallyTimeoutMs: 60_000,
      timeoutMs: 300_000,
    });
    expect(
      plan.steps.map(({ name, processor, options, timeoutMs }) => ({ name, processor, options, timeoutMs })),
    ).to.deep.equal([
      { name: "clean", processor: "words", options: { top: 10 }, timeoutMs: 30_000 },
      { name: "report", processor: "words", options: { top: 3 }, timeoutMs: 60_000 },
    ]);
    expect(plan.steps[1]).to.include({ delivery: "AtLeastOnce", lane: "Local", budgetPercent: 20 });
    expect(processors).to.deep.equal(["words"]);
    expect(closure.pipelines).to.deep.equal([]);
  });

  it("is found there already after a restart, and is read back to the same Plan", async () => {
    const pipeline = compiled("5m");
    const name = await newStore().ensure("team", pipeline, never);
    const restarted = newStore();
    const read = await restarted.read("team", name, never);
    expect(JSON.stringify(read.plan)).to.equal(JSON.stringify(pipeline.plan));
    await restarted.read("team", name, never);
    expect(server.gets).to.equal(1);
    expect(await newStore().ensure("team", pipeline, never)).to.equal(name);
    expect(server.objects.size).to.equal(1);
  });

  it("is NotFound when it is gone, or is somebody else's ControllerRevision", async () => {
    const store = newStore();
    const lost = await store.read("team", "article-1", never).catch((error: unknown) => error);
    expect(lost).to.be.instanceOf(MillraceError).with.property("code", "NotFound");
    const foreign = { apiVersion: "apps/v1", kind: "ControllerRevision", metadata: { name: "set-1" }, data: {} };
    server.objects.set("set-1", foreign);
    const refused = await store.read("team", "set-1", never).catch((error: unknown) => error);
    expect(refused).to.be.instanceOf(MillraceError).with.property("code", "NotFound");
  });

  it("is asked for anew after a failed write", async () => {
    const store = newStore();
    const broken = new RevisionStore({
      client: {
        create: () => Promise.reject(new ApiError({ code: 500, reason: "", message: "" })),
      } as unknown as Client,
      clock: time.clock,
      schemas: new SchemaCompiler(),
    });
    for (let attempt = 0; attempt < 2; attempt++) {
      expect(await broken.ensure("team", compiled(), never).catch((error: unknown) => error)).to.be.instanceOf(
        ApiError,
      );
    }
    expect(await store.ensure("team", compiled(), never)).to.match(/^article-/);
  });
});

describe("the sweep of revisions", () => {
  const minutes = 60_000;
  let time: VirtualTime;
  let server: FakeServer;
  let revisions: RevisionStore;
  let named: string[];
  let pipelines: Register<PipelineEntry>;
  const sweep = () => {
    const isNamed = (_: string, revision: string) => named.includes(revision);
    const options: RevisionSweepOptions = {
      client: server.client,
      ports: time,
      logger: silent,
      revisions,
      pipelines,
      isNamed,
    };
    return sweepRevisions(options, never);
  };
  beforeEach(() => {
    time = new VirtualTime();
    server = new FakeServer(time);
    revisions = new RevisionStore({ client: server.client, clock: time.clock, schemas: new SchemaCompiler() });
    named = [];
    pipelines = new Register();
  });

  it("deletes what nobody names any more, and nothing younger than ten minutes", async () => {
    const name = await revisions.ensure("team", compiled(), never);
    await time.advance(9 * minutes);
    expect(await sweep()).to.equal(0);
    await time.advance(2 * minutes);
    expect(await sweep()).to.equal(1);
    expect(server.objects.has(name)).to.equal(false);
  });

  it("keeps what an Execution names, what its Pipeline is now, and what is not ours", async () => {
    const name = await revisions.ensure("team", compiled(), never);
    const current = compiled("5m");
    await revisions.ensure("", current, never);
    pipelines.set("", "article", { uid: "u", generation: 1, state: { ready: true, pipeline: current } });
    server.objects.set("set-1", { apiVersion: "apps/v1", kind: "ControllerRevision", metadata: { name: "set-1" } });
    named = [name];
    await time.advance(60 * minutes);
    expect(await sweep()).to.equal(0);
    expect(server.objects.size).to.equal(3);
  });

  it("is made anew by a run that needs it after it was swept", async () => {
    const pipeline = compiled();
    const name = await revisions.ensure("", pipeline, never);
    await time.advance(60 * minutes);
    await sweep();
    expect(await revisions.ensure("", pipeline, never)).to.equal(name);
    expect(server.objects.has(name)).to.equal(true);
  });

  it("keeps what a run of this process has just used", async () => {
    const pipeline = compiled();
    await revisions.ensure("", pipeline, never);
    await time.advance(60 * minutes);
    await revisions.ensure("", pipeline, never);
    expect(await sweep()).to.equal(0);
  });
});
