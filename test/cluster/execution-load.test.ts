import { readFile } from "node:fs/promises";
import { expect } from "chai";
import { executions } from "../../controller/api/kinds.ts";
import { createHttpClient } from "../../controller/runtime/http-client.ts";
import { HttpTransport } from "../../controller/runtime/http-transport.ts";
import { loadKubeConfig } from "../../controller/runtime/kube-config.ts";
import { systemPorts } from "../../engine/clock.ts";
import type { JsonObject } from "../../engine/payload.ts";
import { type Cluster, useCluster } from "./cluster.ts";
import { ControllerProcess } from "./controller-process.ts";
import { Namespace, pipeline, processor } from "./manifests.ts";
import { recordingProcessor } from "./recording-processor.ts";

const count = 1_000;
const maxMebibytes = 300;

/** Runs that held their ConfigMaps would take 950 MiB more; what is read and not collected yet takes some 70. */
const maxMebibytesWithBooks = 520;

describe("a thousand five-step Executions at once", function () {
  // Two cores carry etcd, the API server and everything else of a run besides.
  this.timeout(420_000);
  const cluster = useCluster();

  it("all succeed, with the controller's memory below 300 MiB", async () => {
    const namespace = await Namespace.create(cluster);
    const steps = ["a", "b", "c", "d", "e"].map((name, index, all) => ({
      name,
      processor: "upper",
      ...(index === 0 ? {} : { dependsOn: [all[index - 1]] }),
    }));
    await namespace.apply(processor("upper", { local: { builtin: "text.uppercase" } }), pipeline("five", { steps }));
    // All are there before the controller is: it meets them at once.
    await createAll(cluster.kubeconfig, namespace.name, { pipeline: "five", input: { text: "hello" } });
    const args = ["--namespace", namespace.name, "--leader-elect=false"];
    await using controller = await ControllerProcess.start({ kubeconfig: cluster.kubeconfig, args });
    await all(namespace, "Succeeded");
    expect(await peakMebibytes(controller.pid)).to.be.lessThan(maxMebibytes);
  });

  it("hold no input of a megabyte each while they run", async () => {
    const namespace = await Namespace.create(cluster);
    await using remote = await recordingProcessor();
    const held = Promise.withResolvers<void>();
    remote.before = () => held.promise;
    const rpc = { protocol: "HTTP", endpoint: remote.endpoint };
    // It is the input of the run that is large, not that of the step.
    const steps = [{ name: "wait", processor: "remote", input: "execution.name" }];
    await namespace.apply(processor("remote", { rpc, timeout: "400s" }), pipeline("long", { steps }));
    await createBook(cluster, namespace);
    const input = { configMapKeyRef: { name: "book", key: "text" } };
    await createAll(cluster.kubeconfig, namespace.name, { pipeline: "long", input });
    const args = ["--namespace", namespace.name, "--leader-elect=false"];
    await using controller = await ControllerProcess.start({ kubeconfig: cluster.kubeconfig, args });
    await all(namespace, "Running");
    held.resolve();
    await all(namespace, "Succeeded");
    expect(await peakMebibytes(controller.pid)).to.be.lessThan(maxMebibytesWithBooks);
  });
});

/** `kubectl wait` asks for each object by itself, five a second. */
async function all(namespace: Namespace, phase: string): Promise<void> {
  for (;;) {
    const phases = await namespace.kubectl("get", "mexec", "-o", "jsonpath={.items[*].status.phase}");
    if (phases.split(" ").filter((each) => each === phase).length === count) return;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** A ConfigMap near the API server's limit; too large for the annotation of `kubectl apply`. */
async function createBook(cluster: Cluster, namespace: Namespace): Promise<void> {
  const metadata = { name: "book", namespace: namespace.name };
  const book = { apiVersion: "v1", kind: "ConfigMap", metadata, data: { text: "x".repeat(1_000_000) } };
  await cluster.kubectl(["create", "-f", "-"], { stdin: JSON.stringify(book) });
}

/** 32 at a time: kubectl takes its time for each. */
async function createAll(kubeconfig: string, namespace: string, spec: JsonObject): Promise<void> {
  const config = loadKubeConfig({}, { kubeconfig });
  await using transport = new HttpTransport({ config, ports: systemPorts });
  const client = createHttpClient({ transport, ports: systemPorts, version: "0.0.0-test" });
  const { signal } = new AbortController();
  let next = 0;
  const lane = async () => {
    while (next < count) {
      const metadata = { name: `run-${next++}`, namespace };
      const object = { apiVersion: "millrace.dev/v1alpha1", kind: "Execution", metadata, spec };
      await client.create(executions, object, { namespace }, signal);
    }
  };
  await Promise.all(Array.from({ length: 32 }, lane));
}

/** The most resident memory that the process ever had. */
async function peakMebibytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}
