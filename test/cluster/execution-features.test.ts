import { expect } from "chai";
import type { ExecutionStatus } from "../../controller/api/types.ts";
import { useCluster } from "./cluster.ts";
import { ControllerProcess } from "./controller-process.ts";
import { type Manifest, Namespace, pipeline, processor } from "./manifests.ts";
import { type RecordingProcessor, recordingProcessor } from "./recording-processor.ts";

const upper = processor("upper", { local: { builtin: "text.uppercase" } });

function execution(name: string, spec: Readonly<Record<string, unknown>>): Manifest {
  return { kind: "Execution", metadata: { name }, spec };
}

describe("Executions with items, pauses and known results in a real cluster", function () {
  this.timeout(120_000);
  const cluster = useCluster();
  let controller: ControllerProcess;
  let namespace: Namespace;
  let remote: RecordingProcessor;

  before(async () => {
    controller = await ControllerProcess.start({
      kubeconfig: cluster.kubeconfig,
      args: ["--lease-namespace", "default"],
    });
  });
  after(async () => {
    await controller?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    namespace = await Namespace.create(cluster);
    remote = await recordingProcessor();
  });
  afterEach(async () => {
    await remote?.[Symbol.asyncDispose]();
  });

  function recording(timeout: string): Manifest {
    const retry = { limit: 0 };
    return processor("remote", { rpc: { protocol: "HTTP", endpoint: remote.endpoint }, timeout, retry });
  }

  async function statusOf(name: string): Promise<ExecutionStatus> {
    return (await namespace.get(`mexec/${name}`)).status as unknown as ExecutionStatus;
  }

  it("run ten thousand items in seconds, in one row of a small status", async () => {
    const steps = [{ name: "pages", processor: "upper", forEach: "input.map(i, 'page')", maxParallel: 16 }];
    const items = Array.from({ length: 10_000 }, (_, index) => index);
    await namespace.apply(
      upper,
      pipeline("book", { steps }),
      execution("one", { pipeline: "book", input: { json: items } }),
    );
    await namespace.wait("mexec/one", "condition=Succeeded");
    const status = await statusOf("one");
    const { results, list, ...counts } = status.steps?.[0]?.items ?? {};
    expect(counts).to.deep.equal({ total: 10_000, succeeded: 10_000, failed: 0, done: "0-9999" });
    expect(results?.ref).to.match(/^sha256:/);
    expect(list).to.match(/^[0-9a-f]{32}$/);
    expect(JSON.stringify(status).length).to.be.lessThan(16 * 1024);
    const tookMs = Date.parse(status.completionTime ?? "") - Date.parse(status.startTime ?? "");
    expect(tookMs).to.be.lessThan(15_000);
  });

  it("pause between steps and go on where they were", async () => {
    const held = Promise.withResolvers<void>();
    remote.before = () => held.promise;
    const steps = [
      { name: "a", processor: "remote" },
      { name: "b", processor: "upper", dependsOn: ["a"] },
    ];
    await namespace.apply(
      recording("100s"),
      upper,
      pipeline("slow", { steps }),
      execution("one", { pipeline: "slow", input: { text: "x" } }),
    );
    await remote.called(1);
    await namespace.kubectl("patch", "mexec", "one", "--type=merge", "-p", '{"spec":{"suspend":true}}');
    await namespace.wait("mexec/one", "jsonpath={.status.observedGeneration}=2");
    held.resolve();
    await namespace.wait("mexec/one", "jsonpath={.status.phase}=Suspended");
    const paused = await statusOf("one");
    expect(paused.steps?.map(({ state }) => state)).to.deep.equal(["Succeeded", "Waiting"]);
    expect(paused.active).to.have.key("beforeMs");
    await namespace.kubectl("patch", "mexec", "one", "--type=merge", "-p", '{"spec":{"suspend":false}}');
    await namespace.wait("mexec/one", "condition=Succeeded");
    expect((await statusOf("one")).steps?.map(({ attempts }) => attempts)).to.deep.equal([1, 1]);
  });

  it("take over what an earlier run of them gave, and what a cache remembers", async () => {
    const steps = [
      { name: "clean", processor: "upper", cache: { maxAge: "1h" } },
      { name: "send", processor: "remote", dependsOn: ["clean"] },
    ];
    remote.before = () => new Promise(() => {});
    await namespace.apply(
      recording("2s"),
      upper,
      pipeline("mail", { steps }),
      execution("one", { pipeline: "mail", input: { text: "x" } }),
    );
    await namespace.wait("mexec/one", "condition=Complete");
    expect((await statusOf("one")).phase).to.equal("Failed");
    remote.before = () => Promise.resolve();
    await namespace.apply(
      execution("two", { pipeline: "mail", retryFrom: { execution: "one" } }),
      execution("three", { pipeline: "mail", input: { text: "x" } }),
    );
    for (const name of ["two", "three"]) await namespace.wait(`mexec/${name}`, "condition=Succeeded");
    expect((await statusOf("two")).steps?.[0]).to.include({ reason: "Reused", attempts: 0 });
    expect((await statusOf("three")).steps?.[0]).to.include({ reason: "Cached", attempts: 0 });
  });
});
