import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { ExecutionStatus, StepRow } from "../../controller/api/types.ts";
import { useCluster } from "./cluster.ts";
import { ControllerProcess } from "./controller-process.ts";
import { Namespace, pipeline, processor } from "./manifests.ts";
import { recordingProcessor } from "./recording-processor.ts";

const names = Array.from({ length: 10 }, (_, index) => `step-${index}`);

describe("a controller that is killed in the middle of a ten-step Execution", function () {
  this.timeout(120_000);
  const cluster = useCluster();

  it("has a successor that finishes it, repeats no recorded success, and repeats the rest with the same key", async () => {
    const namespace = await Namespace.create(cluster);
    const payloadsDir = await mkdtemp(join(tmpdir(), "millrace-payloads-"));
    const common = {
      kubeconfig: cluster.kubeconfig,
      payloadsDir,
      args: ["--namespace", namespace.name, "--leader-elect=false"],
    };
    await using remote = await recordingProcessor();
    // Larger than what a status holds: what the successor goes on from comes out of the payload store.
    remote.answer = (call) => Buffer.alloc(10_000, call.step);
    const killed = Promise.withResolvers<void>();
    remote.before = async ({ step }) => {
      if (step === "step-5") await killed.promise;
    };
    const steps = names.map((name, index) => ({
      name,
      processor: "remote",
      ...(index === 0 ? {} : { dependsOn: [names[index - 1]] }),
    }));
    await namespace.apply(
      processor("remote", { rpc: { protocol: "HTTP", endpoint: remote.endpoint }, timeout: "60s" }),
      pipeline("ten", { steps }),
    );
    await using first = await ControllerProcess.start(common);
    await namespace.wait("mpipe/ten", "condition=Ready");
    await namespace.apply({ kind: "Execution", metadata: { name: "one" }, spec: { pipeline: "ten" } });
    await remote.called(6);
    await namespace.wait("mexec/one", "jsonpath={.status.progress}=5/10");
    const recorded = succeeded(await rows(namespace));
    await first.stop("SIGKILL");
    killed.resolve();

    await using _second = await ControllerProcess.start(common);
    await namespace.wait("mexec/one", "condition=Succeeded");
    await rm(payloadsDir, { recursive: true, force: true });

    const status = (await namespace.get("mexec/one")).status as unknown as ExecutionStatus;
    expect(recorded).to.deep.equal(names.slice(0, 5));
    const counts = names.map((name) => remote.calls.filter(({ step }) => step === name).length);
    expect(counts, "the processor's own counts").to.deep.equal([1, 1, 1, 1, 1, 2, 1, 1, 1, 1]);
    const keys = new Set(remote.calls.map(({ idempotencyKey }) => idempotencyKey));
    expect(keys.size, "a repeat bears the key of the first").to.equal(10);
    expect(status.owner?.epoch).to.equal(2);
    expect(status.steps?.[5]?.attempts).to.equal(2);
    expect(status.output?.payload?.bytes).to.equal(10_000);
  });
});

async function rows(namespace: Namespace): Promise<readonly StepRow[]> {
  return ((await namespace.get("mexec/one")).status as unknown as ExecutionStatus).steps ?? [];
}

function succeeded(steps: readonly StepRow[]): string[] {
  return steps.filter(({ state }) => state === "Succeeded").map(({ name }) => name);
}
