import { expect } from "chai";
import type { ExecutionStatus } from "../../controller/api/types.ts";
import { millrace, type Ran } from "../support/millrace.ts";
import { useCluster } from "./cluster.ts";
import { ControllerProcess } from "./controller-process.ts";
import { type Manifest, Namespace, pipeline, processor } from "./manifests.ts";
import { type RecordingProcessor, recordingProcessor } from "./recording-processor.ts";

function execution(name: string, spec: Readonly<Record<string, unknown>> = {}): Manifest {
  return { kind: "Execution", metadata: { name }, spec: { pipeline: "held", ...spec } };
}

describe("Executions that wait, pause and go, in a real cluster", function () {
  this.timeout(120_000);
  const cluster = useCluster();
  let namespace: Namespace;
  let remote: RecordingProcessor;
  let open: () => void;

  beforeEach(async () => {
    namespace = await Namespace.create(cluster);
    remote = await recordingProcessor();
    const opened = Promise.withResolvers<void>();
    open = opened.resolve;
    remote.before = () => opened.promise;
  });
  afterEach(async () => {
    open();
    await remote[Symbol.asyncDispose]();
  });

  function start(...args: readonly string[]): Promise<ControllerProcess> {
    const flags = ["--namespace", namespace.name, "--leader-elect=false", ...args];
    return ControllerProcess.start({ kubeconfig: cluster.kubeconfig, args: flags });
  }

  /** A Pipeline of two steps, of which the first waits until the test opens. */
  async function held(more: Readonly<Record<string, unknown>>): Promise<void> {
    const steps = [
      { name: "first", processor: "remote" },
      { name: "second", processor: "remote", dependsOn: ["first"] },
    ];
    const endpoint = { rpc: { protocol: "HTTP", endpoint: remote.endpoint }, timeout: "60s" };
    await namespace.apply(processor("remote", endpoint), pipeline("held", { steps, ...more }));
    await namespace.wait("mpipe/held", "condition=Ready");
  }

  async function statusOf(name: string): Promise<ExecutionStatus> {
    return (await namespace.get(`mexec/${name}`)).status as unknown as ExecutionStatus;
  }

  const phaseIs = (name: string, phase: string) => namespace.wait(`mexec/${name}`, `jsonpath={.status.phase}=${phase}`);
  const reasonOf = async (name: string) =>
    (await statusOf(name)).conditions?.find(({ type }) => type === "Succeeded")?.reason;

  const uidOf = (name: string) =>
    cluster.kubectl(["get", `mexec/${name}`, "-n", namespace.name, "-o", "jsonpath={.metadata.uid}"]);

  function edit(name: string, spec: Readonly<Record<string, unknown>>): Promise<string> {
    const args = ["patch", `mexec/${name}`, "-n", namespace.name, "--type=merge", "-p", JSON.stringify({ spec })];
    return cluster.kubectl(args);
  }

  function remove(...args: readonly string[]): Promise<Ran> {
    return millrace(["delete", "pipeline", "--kubeconfig", cluster.kubeconfig, "-n", namespace.name, ...args]);
  }

  it("are queued by their Pipeline's limit, through a restart too, and counted in its status", async () => {
    await using first = await start();
    await held({ concurrency: { limit: 1, policy: "Queue" } });
    await namespace.apply(execution("one"));
    await phaseIs("one", "Running");
    await namespace.apply(execution("two"), execution("three", { priority: 3 }));
    await phaseIs("two", "Queued");
    await phaseIs("three", "Queued");
    await namespace.wait("mpipe/held", "jsonpath={.status.executions.queued}=2");
    expect(((await namespace.get("mpipe/held")).status as { executions?: unknown }).executions).to.deep.equal({
      queued: 2,
      running: 1,
    });
    expect((await statusOf("two")).queuedSince).to.match(/^20/);
    await first.stop("SIGKILL");
    await using _second = await start();
    open();
    for (const name of ["one", "two", "three"]) await namespace.wait(`mexec/${name}`, "condition=Succeeded");
    const order = [...new Set(remote.calls.map(({ idempotencyKey }) => idempotencyKey.split("/")[0]))];
    const uids = await Promise.all(["one", "three", "two"].map(uidOf));
    expect(order, "the one that ran, then by priority").to.deep.equal(uids);
  });

  it("are queued by the limit of their namespace", async () => {
    await using _controller = await start("--max-executions-per-namespace=1");
    await held({});
    await namespace.apply(execution("one"));
    await phaseIs("one", "Running");
    await namespace.apply(execution("two"));
    await phaseIs("two", "Queued");
    open();
    await namespace.wait("mexec/two", "condition=Succeeded");
  });

  it("are forbidden, or replace the ones before", async () => {
    await using _controller = await start();
    await held({ concurrency: { limit: 1, policy: "Forbid" } });
    await namespace.apply(execution("one"));
    await phaseIs("one", "Running");
    await namespace.apply(execution("two"));
    await phaseIs("two", "Failed");
    expect(await reasonOf("two")).to.equal("ConcurrencyForbidden");
    await held({ concurrency: { limit: 1, policy: "Replace" } });
    await namespace.apply(execution("three"));
    await phaseIs("one", "Cancelled");
    expect(await reasonOf("one")).to.equal("Replaced");
    open();
    await namespace.wait("mexec/three", "condition=Succeeded");
  });

  it("pause between steps and go on where they were", async () => {
    await using _controller = await start();
    await held({});
    await namespace.apply(execution("one"), execution("later", { suspend: true }));
    await phaseIs("later", "Suspended");
    await phaseIs("one", "Running");
    await edit("one", { suspend: true });
    await namespace.wait("mexec/one", "jsonpath={.status.observedGeneration}=2");
    open();
    await phaseIs("one", "Suspended");
    const paused = await statusOf("one");
    expect(paused.steps?.map(({ state }) => state)).to.deep.equal(["Succeeded", "Waiting"]);
    expect(paused.active).to.have.all.keys("beforeMs");
    await edit("one", { suspend: false });
    await namespace.wait("mexec/one", "condition=Succeeded");
    await edit("later", { cancel: "Graceful" });
    await phaseIs("later", "Cancelled");
    expect(remote.calls.map(({ step }) => step)).to.deep.equal(["first", "second"]);
  });

  it("go when there are more than their Pipeline's historyLimit", async () => {
    await using _controller = await start();
    open();
    await held({ historyLimit: { succeeded: 1 } });
    for (const name of ["one", "two"]) {
      await namespace.apply(execution(name));
      await namespace.wait(`mexec/${name}`, "condition=Succeeded").catch(() => {});
    }
    await cluster.kubectl(["wait", "mexec/one", "-n", namespace.name, "--for=delete", "--timeout=30s"]);
    expect((await statusOf("two")).phase).to.equal("Succeeded");
  });

  it("are deleted with their Pipeline by `millrace delete pipeline --executions`, and stay without it", async () => {
    await using _controller = await start();
    await held({});
    await namespace.apply(execution("one"), execution("two", { suspend: true }));
    await phaseIs("one", "Running");
    const dry = await remove("held", "--executions", "--dry-run");
    expect(dry.stdout).to.include("pipeline.millrace.dev/held deleted (dry run)");
    expect(dry.stdout).to.include(
      "2 Executions of pipeline.millrace.dev/held deleted, 2 of them before they had ended",
    );
    const alone = await remove("held");
    expect(alone, alone.stderr).to.include({ code: 0, stdout: "pipeline.millrace.dev/held deleted\n" });
    expect(alone.stderr).to.include("2 Executions of it stay; 2 of them, which have not ended");
    const again = await remove("held");
    expect(again.code).to.equal(1);
    expect(again.stderr).to.include("but 2 Executions of it; give --executions to delete them");
    const all = await remove("held", "--executions", "--wait");
    expect(all.code, all.stderr).to.equal(0);
    expect(await cluster.kubectl(["get", "mexec", "-n", namespace.name, "-o", "name"])).to.equal("");
    expect((await remove("held", "--executions")).stderr).to.include('there is no Pipeline "held"');
  });
});
