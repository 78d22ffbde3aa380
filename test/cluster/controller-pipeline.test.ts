import { expect } from "chai";
import { useCluster } from "./cluster.ts";
import { ControllerProcess } from "./controller-process.ts";
import { conditions, Namespace, pipeline, processor } from "./manifests.ts";

const upper = processor("upper", { local: { builtin: "text.uppercase" } });

describe("Pipelines in a real cluster", function () {
  this.timeout(60_000);
  const cluster = useCluster();
  let controller: ControllerProcess;
  let namespace: Namespace;

  before(async () => {
    controller = await ControllerProcess.start({
      kubeconfig: cluster.kubeconfig,
    });
  });
  after(async () => {
    await controller?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    namespace = await Namespace.create(cluster);
  });

  it("is Ready when it compiles, with the shape of its graph", async () => {
    const steps = ["a", "b", "c"].map((name) => ({
      name,
      processor: "upper",
      ...(name === "a" ? {} : { dependsOn: ["a"] }),
    }));
    await namespace.apply(upper, pipeline("wide", { steps, output: "steps.b.output" }));
    await namespace.wait("mpipe/wide", "condition=Ready");
    const object = await namespace.get("mpipe/wide");
    expect(object.status.graph).to.deep.equal({ steps: 3, levels: 2, width: 2 });
    expect(conditions(object)).to.have.all.keys("Ready");
    expect(await namespace.kubectl("get", "mpipe", "wide", "--no-headers")).to.match(/^wide +3 +True/);
  });

  it("waits for a Processor that is missing, and is Ready when it appears", async () => {
    await namespace.apply(pipeline("one", { steps: [{ name: "a", processor: "upper" }] }));
    await namespace.waitFor("mpipe/one", "Ready", "False", "ProcessorNotFound");
    const { Ready, Stalled, Reconciling } = conditions(await namespace.get("mpipe/one"));
    expect(Stalled).to.include({ status: "True", reason: "ProcessorNotFound" });
    // kstatus lets it win: `helm --wait` waits for the Processor.
    expect(Reconciling).to.include({ status: "True", reason: "ProcessorNotFound" });
    expect(Ready?.message).to.contain("steps[0].processor").and.contain("upper");

    await namespace.apply(upper);
    await namespace.wait("mpipe/one", "condition=Ready");
    expect(conditions(await namespace.get("mpipe/one"))).to.have.all.keys("Ready");
  });

  it("waits again when a Processor goes, and is Ready when it is back", async () => {
    await namespace.apply(upper, pipeline("one", { steps: [{ name: "a", processor: "upper" }] }));
    await namespace.wait("mpipe/one", "condition=Ready");
    await namespace.kubectl("delete", "mproc", "upper");
    await namespace.waitFor("mpipe/one", "Ready", "False", "ProcessorNotFound");
    await namespace.apply(upper);
    await namespace.wait("mpipe/one", "condition=Ready");
  });

  it("says of a Processor that is refused why it is not ready, and is no less patient", async () => {
    await namespace.apply(processor("upper", { local: { builtin: "text.up" } }));
    await namespace.apply(pipeline("one", { steps: [{ name: "a", processor: "upper" }] }));
    await namespace.waitFor("mpipe/one", "Ready", "False", "ProcessorNotReady");
    expect(conditions(await namespace.get("mpipe/one")).Ready?.message).to.contain("text.up");
    await namespace.apply(upper);
    await namespace.wait("mpipe/one", "condition=Ready");
  });

  it("is Stalled with the exact reason, and tells every problem with its field and its mend", async () => {
    await namespace.apply(
      upper,
      pipeline("bad", {
        parameters: [{ name: "top", schema: { type: "integer" }, default: "ten" }],
        steps: [
          { name: "a", processor: "upper", when: "size(" },
          { name: "b", processor: "upper", input: "steps.c.output" },
          { name: "c", processor: "upper" },
        ],
        output: "steps.a.output",
      }),
    );
    await namespace.wait("mpipe/bad", "condition=Stalled");
    const { Ready, Stalled } = conditions(await namespace.get("mpipe/bad"));
    expect(Ready).to.include({ status: "False", reason: "InvalidExpression" });
    for (const part of ["steps[0].when", "steps[1].input", "parameters[0].default", "integer"]) {
      expect(Stalled?.message).to.contain(part);
    }
    expect(conditions(await namespace.get("mpipe/bad"))).not.to.have.property("Reconciling");
  });

  it("prints a cycle by the names of its steps", async () => {
    const step = (name: string, after: string) => ({ name, processor: "upper", dependsOn: [after] });
    await namespace.apply(upper, pipeline("ring", { steps: [step("a", "c"), step("b", "a"), step("c", "b")] }));
    await namespace.waitFor("mpipe/ring", "Stalled", "True", "Cycle");
    expect(conditions(await namespace.get("mpipe/ring")).Stalled?.message).to.match(/a.*b.*c/);
  });

  it("is checked against a Processor's optionsSchema, again when that changes", async () => {
    const schema = (type: string) => ({ type: "object", properties: { top: { type } }, additionalProperties: false });
    const counting = (type: string) =>
      processor("count", { local: { builtin: "text.uppercase" }, optionsSchema: schema(type) });
    await namespace.apply(counting("integer"));
    await namespace.apply(pipeline("one", { steps: [{ name: "a", processor: "count", options: { top: 10 } }] }));
    await namespace.wait("mpipe/one", "condition=Ready");
    await namespace.apply(counting("string"));
    await namespace.waitFor("mpipe/one", "Stalled", "True", "InvalidOptions");
    expect(conditions(await namespace.get("mpipe/one")).Stalled?.message).to.contain("steps[0].options.top");
    await namespace.apply(pipeline("one", { steps: [{ name: "a", processor: "count", options: { top: "10" } }] }));
    await namespace.wait("mpipe/one", "condition=Ready");
    expect((await namespace.get("mpipe/one")).status.observedGeneration).to.equal(2);
  });

  describe("that bring in others", () => {
    const outer = pipeline("outer", {
      steps: [
        { name: "a", processor: "upper" },
        { name: "get", pipeline: "inner", dependsOn: ["a"] },
      ],
    });
    const inner = (...names: readonly string[]) =>
      pipeline("inner", { steps: names.map((name) => ({ name, processor: "upper" })), output: "input" });

    it("wait for one that is missing, are Ready with its steps, and wait again when it goes", async () => {
      await namespace.apply(upper, outer);
      await namespace.waitFor("mpipe/outer", "Ready", "False", "PipelineNotFound");
      const { Stalled, Reconciling } = conditions(await namespace.get("mpipe/outer"));
      expect([Stalled?.status, Reconciling?.status]).to.deep.equal(["True", "True"]);
      expect(Stalled?.message).to.contain("steps[1].pipeline").and.contain("inner");
      await namespace.apply(inner("x", "y"));
      await namespace.wait("mpipe/outer", "condition=Ready");
      expect((await namespace.get("mpipe/outer")).status.graph).to.deep.equal({ steps: 4, levels: 2, width: 2 });
      await namespace.kubectl("delete", "mpipe", "inner");
      await namespace.waitFor("mpipe/outer", "Ready", "False", "PipelineNotFound");
    });

    it("are refused in a circle, each with its path, and Ready when it is cut", async () => {
      const back = pipeline("inner", { steps: [{ name: "back", pipeline: "outer" }] });
      await namespace.apply(upper, outer, back);
      for (const [name, path] of [
        ["outer", "outer → inner → outer"],
        ["inner", "inner → outer → inner"],
      ] as const) {
        await namespace.waitFor(`mpipe/${name}`, "Stalled", "True", "PipelineRecursion");
        expect(conditions(await namespace.get(`mpipe/${name}`)).Stalled?.message).to.contain(path);
      }
      await namespace.apply(inner("x"));
      await namespace.wait("mpipe/outer", "condition=Ready");
    });

    it("give an Execution all of them as they are when it is created, in a revision of their own", async () => {
      await namespace.apply(upper, inner("x"), outer);
      await namespace.wait("mpipe/outer", "condition=Ready");
      const rowsOf = async (name: string) => {
        await namespace.wait(name, "condition=Complete");
        const { status } = await namespace.get(name);
        const rows = (status.steps as { name: string; state: string }[]).map((row) => `${row.name} ${row.state}`);
        return { rows, revision: status.pipelineRevision as string };
      };
      const first = await rowsOf(await createExecution("outer"));
      expect(first.rows).to.deep.equal(["a Succeeded", "get/x Succeeded", "get Succeeded"]);
      await namespace.apply(inner("z"));
      // Created right after the edit: it waits for the check of what was edited.
      const second = await rowsOf(await createExecution("outer"));
      expect(second.rows).to.deep.equal(["a Succeeded", "get/z Succeeded", "get Succeeded"]);
      expect(second.revision).not.to.equal(first.revision);
      const held = await namespace.get(`controllerrevision/${first.revision}`);
      expect(JSON.stringify(held)).to.contain('"name":"inner"').and.contain('"name":"x"');
    });
  });

  it("leaves a running Execution's revision in place when it is edited or deleted", async () => {
    await namespace.apply(upper, pipeline("one", { steps: [{ name: "a", processor: "upper" }] }));
    const created = await createExecution("one");
    await namespace.wait(created, "condition=Complete");
    const revision = (await namespace.get(created)).status.pipelineRevision as string;
    expect(revision).to.match(/^one-[0-9a-f]{16}$/);

    await namespace.apply(pipeline("one", { timeout: "1m", steps: [{ name: "a", processor: "upper" }] }));
    await namespace.wait("mpipe/one", "jsonpath={.status.observedGeneration}=2");
    const second = await createExecution("one");
    await namespace.wait(second, "condition=Complete");
    const other = (await namespace.get(second)).status.pipelineRevision as string;
    expect(other).not.to.equal(revision);

    await namespace.kubectl("delete", "mpipe", "one");
    const kept = await namespace.kubectl("get", "controllerrevisions", "-o", "name");
    expect(kept).to.contain(revision).and.contain(other);
  });

  async function createExecution(name: string): Promise<string> {
    const execution = {
      apiVersion: "millrace.dev/v1alpha1",
      kind: "Execution",
      metadata: { generateName: `${name}-` },
      spec: { pipeline: name, input: { text: "words" } },
    };
    const stdin = JSON.stringify(execution);
    return (
      await cluster.kubectl(["--namespace", namespace.name, "create", "-f", "-", "-o", "name"], { stdin })
    ).trim();
  }
});
