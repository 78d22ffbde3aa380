import { readFile } from "node:fs/promises";
import { expect } from "chai";
import { executions } from "../../controller/api/kinds.ts";
import { createHttpClient } from "../../controller/runtime/http-client.ts";
import { HttpTransport } from "../../controller/runtime/http-transport.ts";
import { loadKubeConfig } from "../../controller/runtime/kube-config.ts";
import { systemPorts } from "../../engine/clock.ts";
import { useCluster } from "./cluster.ts";
import { ControllerProcess } from "./controller-process.ts";
import { Namespace, pipeline, processor } from "./manifests.ts";

const count = 1_000;
const maxMebibytes = 300;

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
    await createAll(cluster.kubeconfig, namespace.name);
    const args = ["--namespace", namespace.name, "--leader-elect=false"];
    await using controller = await ControllerProcess.start({ kubeconfig: cluster.kubeconfig, args });
    await namespace.kubectl("wait", "mexec", "--all", "--for=condition=Complete", "--timeout=400s");
    const phases = await namespace.kubectl("get", "mexec", "-o", "jsonpath={.items[*].status.phase}");
    expect(phases.split(" ").filter((phase) => phase === "Succeeded")).to.have.length(count);
    expect(await peakMebibytes(controller.pid)).to.be.lessThan(maxMebibytes);
  });
});

/** 32 at a time: kubectl takes its time for each. */
async function createAll(kubeconfig: string, namespace: string): Promise<void> {
  const config = loadKubeConfig({}, { kubeconfig });
  await using transport = new HttpTransport({ config, ports: systemPorts });
  const client = createHttpClient({ transport, ports: systemPorts, version: "0.0.0-test" });
  const { signal } = new AbortController();
  let next = 0;
  const lane = async () => {
    while (next < count) {
      const metadata = { name: `run-${next++}`, namespace };
      const spec = { pipeline: "five", input: { text: "hello" } };
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
