import { readFile } from "node:fs/promises";
import { expect } from "chai";
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
    const executions = Array.from({ length: count }, (_, index) => ({
      apiVersion: "millrace.dev/v1alpha1",
      kind: "Execution",
      metadata: { name: `run-${index}`, namespace: namespace.name },
      spec: { pipeline: "five", input: { text: "hello" } },
    }));
    // All are there before the controller is: it meets them at once.
    const stdin = JSON.stringify({ apiVersion: "v1", kind: "List", items: executions });
    await cluster.kubectl(["create", "-f", "-"], { stdin });
    const args = ["--namespace", namespace.name, "--leader-elect=false"];
    await using controller = await ControllerProcess.start({ kubeconfig: cluster.kubeconfig, args });
    await namespace.kubectl("wait", "mexec", "--all", "--for=condition=Complete", "--timeout=400s");
    const phases = await namespace.kubectl("get", "mexec", "-o", "jsonpath={.items[*].status.phase}");
    expect(phases.split(" ").filter((phase) => phase === "Succeeded")).to.have.length(count);
    expect(await peakMebibytes(controller.pid)).to.be.lessThan(maxMebibytes);
  });
});

/** The most resident memory that the process ever had. */
async function peakMebibytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}
