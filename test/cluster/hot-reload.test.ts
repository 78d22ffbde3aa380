import { createHash } from "node:crypto";
import { expect } from "chai";
import type { Execution } from "../../controller/api/types.ts";
import { constant, directModule, end, result } from "../backends/wasm/assembler.ts";
import { callApi } from "./api-call.ts";
import { type Cluster, useCluster } from "./cluster.ts";
import { ControllerProcess } from "./controller-process.ts";
import { conditions, Namespace, pipeline, processor } from "./manifests.ts";

const edits = 50;
const runs = 300;
const field = "m.wasm";

/** A module that gives its own number, whatever it is given. */
function numbered(version: number): Uint8Array {
  const text = new TextEncoder().encode(String(version).padStart(4, "0"));
  const data = [[0, ...constant(64), end, text.byteLength, ...text]];
  return directModule({ process: result(64, text.byteLength), data });
}

function digestOf(module: Uint8Array): string {
  return `sha256:${createHash("sha256").update(module).digest("hex")}`;
}

/** What ran in a run's only step, and when. */
interface Ran {
  readonly version: number;
  readonly digests: readonly string[] | undefined;
  readonly startTime: string;
}

class Bench {
  readonly #cluster: Cluster;
  readonly namespace: Namespace;

  constructor(cluster: Cluster, namespace: Namespace) {
    this.#cluster = cluster;
    this.namespace = namespace;
  }

  async edit(module: Uint8Array): Promise<void> {
    const binaryData = { [field]: Buffer.from(module).toString("base64") };
    const { status } = await callApi(this.#cluster.kubeconfig, {
      method: "PUT",
      path: `/api/v1/namespaces/${this.namespace.name}/configmaps/m`,
      body: { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "m" }, binaryData },
    });
    expect(status).to.equal(200);
  }

  async start(name: string): Promise<void> {
    const path = `/apis/millrace.dev/v1alpha1/namespaces/${this.namespace.name}/executions`;
    const body = {
      apiVersion: "millrace.dev/v1alpha1",
      kind: "Execution",
      metadata: { name },
      spec: { pipeline: "one", input: { text: "x" } },
    };
    const { status } = await callApi(this.#cluster.kubeconfig, { method: "POST", path, body });
    expect(status).to.equal(201);
  }

  /** All runs, once they have ended. */
  async ended(): Promise<readonly Execution[]> {
    for (;;) {
      const list = JSON.parse(await this.namespace.kubectl("get", "mexec", "-o", "json")) as { items: Execution[] };
      if (list.items.every(({ status }) => status?.completionTime !== undefined)) return list.items;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }

  async runOne(name: string): Promise<number> {
    await this.start(name);
    await this.namespace.wait(`mexec/${name}`, "condition=Succeeded");
    const { status } = (await this.namespace.get(`mexec/${name}`)) as unknown as Execution;
    return Number(status?.output?.text ?? Buffer.from(status?.output?.base64 ?? "", "base64"));
  }
}

function ran({ status }: Execution): Ran {
  const { output, processor: by, startTime = "" } = status?.steps?.[0] ?? {};
  const text = output?.text ?? Buffer.from(output?.base64 ?? "", "base64").toString();
  return { version: Number(text), digests: by?.digests, startTime };
}

describe("a WASM module of a ConfigMap that is edited while Executions run", function () {
  this.timeout(180_000);
  const cluster = useCluster();
  let controller: ControllerProcess;
  let bench: Bench;

  before(async () => {
    controller = await ControllerProcess.start({ kubeconfig: cluster.kubeconfig });
    const namespace = await Namespace.create(cluster);
    bench = new Bench(cluster, namespace);
    await namespace.kubectl("create", "configmap", "m");
    await bench.edit(numbered(0));
    await namespace.apply(
      processor("words", { wasm: { source: { configMapKeyRef: { name: "m", key: field } } } }),
      pipeline("one", { steps: [{ name: "a", processor: "words" }] }),
    );
    await namespace.wait("mpipe/one", "condition=Ready");
  });
  after(() => controller?.[Symbol.asyncDispose]());

  it("fails none of them in fifty edits, mixes none, and goes forward only", async () => {
    const startAll = async () => {
      for (let run = 0; run < runs; run++) await bench.start(`run-${run}`);
    };
    const editAll = async () => {
      for (let version = 1; version <= edits; version++) {
        if (version % 10 === 0) await bench.edit(Buffer.from(`mistake ${version}`));
        await bench.edit(numbered(version));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    await Promise.all([startAll(), editAll()]);
    const executions = await bench.ended();
    expect(executions.filter(({ status }) => status?.phase !== "Succeeded")).to.deep.equal([]);
    const all = executions.map(ran).toSorted((a, b) => (a.startTime < b.startTime ? -1 : 1));
    expect(all).to.have.length(runs);
    for (const { version, digests } of all) expect(digests).to.deep.equal([digestOf(numbered(version))]);
    const backwards = all.filter(({ version, startTime }) =>
      all.some((earlier) => earlier.startTime < startTime && earlier.version > version),
    );
    expect(backwards).to.deep.equal([]);
    expect(new Set(all.map(({ version }) => version)).size).to.be.greaterThan(5);
  });

  it("goes on with the last good one while a bad one is there, says why, and is back when that is rolled back", async () => {
    const { namespace } = bench;
    await bench.edit(numbered(1000));
    await namespace.wait("mproc/words", `jsonpath={.status.module.digest}=${digestOf(numbered(1000))}`);
    await bench.edit(Buffer.from("this is no module"));
    await namespace.waitFor("mproc/words", "Stalled", "True", "ModuleRefused");
    expect(await bench.runOne("during")).to.equal(1000);
    const { Ready } = conditions(await namespace.get("mproc/words"));
    expect(Ready).to.include({ status: "True", reason: "PreviousVersionServes" });
    expect(Ready?.message).to.contain(digestOf(numbered(1000)));
    await bench.edit(numbered(999));
    await namespace.waitFor("mproc/words", "Ready", "True", "Loaded");
    expect(await bench.runOne("after")).to.equal(999);
    expect(conditions(await namespace.get("mproc/words"))).to.have.all.keys("Ready", "ModuleCached");
  });

  it("says what each run took of its fuel", async () => {
    await bench.start("metered");
    await bench.namespace.wait("mexec/metered", "condition=Succeeded");
    const { status } = (await bench.namespace.get("mexec/metered")) as unknown as Execution;
    expect(status?.steps?.[0]?.fuel).to.be.greaterThan(0);
  });
});
