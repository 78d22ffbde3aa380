import { readFile, stat } from "node:fs/promises";
import { expect } from "chai";
import { parse } from "yaml";
import { errorCodes } from "../../engine/errors.ts";
import { useCluster } from "../cluster/cluster.ts";
import { KubectlError } from "../cluster/kubectl.ts";

const kinds = ["processor", "pipeline", "execution"];
const file = (kind: string) => new URL(`../../crds/${kind}.yaml`, import.meta.url);
const manifests = `
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: {name: word-count}
spec: {wasm: {source: {file: words.wasm}}}
---
apiVersion: millrace.dev/v1alpha1
kind: Pipeline
metadata: {name: article}
spec:
  parameters: [{name: language, default: null}]
  steps: [{name: count, processor: word-count}]
---
apiVersion: millrace.dev/v1alpha1
kind: Execution
metadata: {name: article-1}
spec: {pipeline: article, input: {json: null}, parameters: [{name: language, value: null}]}
`;

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly enum?: readonly string[];
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
}

async function schemaOf(kind: string): Promise<Schema> {
  const crd = parse(await readFile(file(kind), "utf8")) as {
    spec: { versions: { schema: { openAPIV3Schema: Schema } }[] };
  };
  const schema = crd.spec.versions[0]?.schema.openAPIV3Schema;
  if (schema === undefined) throw new Error(`${kind}: no schema`);
  return schema;
}

function walk(schema: Schema, path: string, visit: (schema: Schema, path: string) => void): void {
  visit(schema, path);
  for (const [name, child] of Object.entries(schema.properties ?? {})) walk(child, `${path}.${name}`, visit);
  if (schema.items !== undefined) walk(schema.items, `${path}[]`, visit);
  if (schema.additionalProperties !== undefined) walk(schema.additionalProperties, `${path}[*]`, visit);
}

describe("the CRDs' sources", () => {
  for (const kind of kinds) {
    it(`say of each field of ${kind} what it is, and bound each list, map and text`, async () => {
      const faults: string[] = [];
      walk(await schemaOf(kind), kind, (schema, path) => {
        if (/^\w+(\.metadata|\.kind|\.apiVersion)$/.test(path)) return;
        if (schema.description === undefined) faults.push(`${path}: no description`);
        if (schema.type === "string" && schema.maxLength === undefined && schema.enum === undefined) faults.push(path);
        if (schema.type === "array" && schema.maxItems === undefined) faults.push(path);
        if (schema.additionalProperties !== undefined && schema.maxProperties === undefined) faults.push(path);
      });
      expect(faults).to.deep.equal([]);
    });

    it(`keep ${kind} under 256 KiB`, async () => {
      expect((await stat(file(kind))).size).to.be.below(256 * 1024);
    });
  }

  it("have one schema of a Pipeline, inline or not, but for the number of steps and what concerns many runs", async () => {
    const pipeline = structuredClone((await schemaOf("pipeline")).properties?.spec) as Record<string, unknown>;
    const execution = (await schemaOf("execution")).properties?.spec?.properties?.pipelineSpec;
    const text = JSON.stringify({ ...pipeline, description: execution?.description })
      .replace("from 1 to 1,000, in any order", "from 1 to 100, in any order")
      .replace('"minItems":1,"maxItems":1000', '"minItems":1,"maxItems":100');
    const expected = JSON.parse(text) as { properties: Record<string, unknown> };
    for (const field of ["concurrency", "historyLimit", "ttlSecondsAfterFinished"]) delete expected.properties[field];
    expect(execution).to.deep.equal(expected);
  });
});

describe("the error codes in the CRDs", () => {
  const neverRetried = ["Interrupted", "Cancelled"];
  const retriable = errorCodes.filter((code) => !neverRetried.includes(code));

  for (const kind of kinds) {
    it(`are the engine's in ${kind}: all in a status, those worth another attempt in a spec`, async () => {
      const faults: string[] = [];
      walk(await schemaOf(kind), kind, (schema, path) => {
        if (schema.enum?.includes("PayloadLost") !== true) return;
        const expected = path.startsWith(`${kind}.status.`) ? errorCodes : retriable;
        if (JSON.stringify(schema.enum) !== JSON.stringify(expected)) faults.push(`${path}: ${schema.enum.join()}`);
      });
      expect(faults).to.deep.equal([]);
    });
  }
});

describe("the CRDs on an API server", function () {
  this.timeout(60_000);
  const cluster = useCluster();
  let namespace = "";

  before(async () => {
    namespace = await cluster.createNamespace();
    await cluster.kubectl(["apply", "--server-side", "--namespace", namespace, "--filename=-"], { stdin: manifests });
  });

  const get = async (...args: string[]) => cluster.kubectl(["get", "--namespace", namespace, ...args]);

  it("are established and accepted as they are", async () => {
    for (const kind of kinds) {
      const conditions = await cluster.kubectl([
        "get",
        `crd/${kind}s.millrace.dev`,
        "--output=jsonpath={range .status.conditions[*]}{.type}={.status} {end}",
      ]);
      expect(conditions.split(" ")).to.include.members(["Established=True", "NamesAccepted=True"]);
      expect(conditions).not.to.include("NonStructuralSchema");
    }
  });

  it("list all three kinds as `kubectl get millrace`, and each by its short name", async () => {
    const names = (text: string) => text.trim().split("\n").toSorted();
    const all = [
      "execution.millrace.dev/article-1",
      "pipeline.millrace.dev/article",
      "processor.millrace.dev/word-count",
    ];
    expect(names(await get("millrace", "--output=name"))).to.deep.equal(all);
    expect(names(await get("mproc,mpipe,mexec", "--output=name"))).to.deep.equal(all);
  });

  it("show what a user looks for in columns", async () => {
    const header = async (kind: string, ...args: string[]) => (await get(kind, ...args)).split("\n")[0]?.split(/ {2,}/);
    expect(await header("mproc")).to.deep.equal(["NAME", "INTENT", "BACKEND", "READY", "REASON", "AGE"]);
    expect((await header("mpipe"))?.map((column) => column.trim())).to.deep.equal([
      "NAME",
      "STEPS",
      "READY",
      "RUNNING",
      "QUEUED",
      "AGE",
    ]);
    expect(await header("mexec")).to.deep.equal(["NAME", "PHASE", "PROGRESS", "PIPELINE", "AGE", "MESSAGE"]);
    expect(await header("mpipe", "--output=wide")).to.include.members(["LEVELS", "WIDTH"]);
  });

  it("explain a step to who asks", async () => {
    const text = await cluster.kubectl(["explain", "pipelines.millrace.dev.spec.steps"]);
    expect(text).to.include("dependsOn").and.to.include("A CEL expression of type bool");
  });

  it("give an object a status that kstatus reads as in progress, from the first moment", async () => {
    const conditions = "--output=jsonpath={range .status.conditions[*]}{.type}={.status} {end}{.status.phase}";
    expect(await get("mproc/word-count", conditions)).to.equal("Ready=Unknown Reconciling=True ");
    expect(await get("mpipe/article", conditions)).to.equal("Ready=Unknown Reconciling=True ");
    expect(await get("mexec/article-1", conditions)).to.equal(
      "Ready=Unknown Succeeded=Unknown Reconciling=True Pending",
    );
  });

  it("keep null where it is a value", async () => {
    const spec = JSON.parse(await get("mexec/article-1", "--output=jsonpath={.spec}")) as Record<string, unknown>;
    expect(spec.input).to.deep.equal({ json: null });
    expect(spec.parameters).to.deep.equal([{ name: "language", value: null }]);
  });

  it("select Executions by their Pipeline and their phase", async () => {
    const select = (selector: string) => get("mexec", "--output=name", `--field-selector=${selector}`);
    expect(await select("spec.pipeline=article,status.phase=Pending")).to.include("article-1");
    expect(await select("spec.pipeline=other")).to.equal("");
    expect(await select("status.phase=Running")).to.equal("");
  });

  it("refuse with a message that says what is right", async () => {
    const stdin = manifests.replace("{file: words.wasm}", "{file: ../words.wasm}");
    const failure = await cluster
      .kubectl(["apply", "--server-side", "--namespace", namespace, "--filename=-"], { stdin })
      .catch((error: unknown) => error);
    expect(failure).to.be.instanceOf(KubectlError);
    expect((failure as KubectlError).stderr).to.include("must be a path relative to the modules directory");
  });

  it("take a status only through /status", async () => {
    const patch = (...args: string[]) =>
      cluster.kubectl([
        "patch",
        "mpipe/article",
        "--namespace",
        namespace,
        "--type=merge",
        '--patch={"status":{"graph":{"steps":7}}}',
        ...args,
      ]);
    await patch();
    expect(await get("mpipe/article", "--output=jsonpath={.status.graph.steps}")).to.equal("");
    await patch("--subresource=status");
    expect(await get("mpipe/article", "--output=jsonpath={.status.graph.steps}")).to.equal("7");
  });
});
