import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { loadManifests, locate } from "../../controller/api/manifests.ts";

const head = "apiVersion: millrace.dev/v1alpha1\n";

describe("manifests", () => {
  let folder = "";

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "millrace-manifests-"));
  });

  afterEach(() => rm(folder, { recursive: true }));

  async function load(files: Readonly<Record<string, string>>) {
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    return loadManifests([folder]);
  }

  it("come from all files of a folder and its folders, with the defaults filled in", async () => {
    await mkdir(join(folder, "more", ".hidden"), { recursive: true });
    await writeFile(join(folder, "more", ".hidden", "c.yaml"), "nonsense: [");
    await writeFile(join(folder, "more", "b.json"), '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}');
    const { objects, problems } = await load({
      "a.yml": `${head}kind: Execution\nmetadata: {name: e}\nspec: {pipeline: p}\n---\n# nothing\n---\napiVersion: v1\nkind: Service\n`,
      "notes.txt": "not: [read",
    });
    expect(problems).to.deep.equal([]);
    expect(objects.map(({ kind, name }) => `${kind}/${name}`)).to.deep.equal(["Execution/e", "ConfigMap/c"]);
    expect(objects[0]?.object).to.have.nested.property("spec.cancel", "None");
  });

  it("tell file, line and column of each problem, and the mend", async () => {
    const text = `${head}kind: Pipeline\nmetadata:\n  name: p\nspec:\n  steps:\n    - name: a\n      processor: x\n      dependOn: [b]\n`;
    const { objects, problems } = await load({ "p.yaml": text });
    expect(problems).to.deep.equal([
      {
        file: join(folder, "p.yaml"),
        line: 9,
        column: 7,
        path: "spec.steps[0].dependOn",
        message: 'unknown field "dependOn"',
        mend: "Did you mean dependsOn?",
        severity: "Error",
      },
    ]);
    expect(objects[0]?.valid).to.equal(false);
  });

  it("are located by field path, also where a key has dots and where the field is missing", async () => {
    const text = `${head}kind: Execution\nmetadata:\n  name: e\n  annotations:\n    example.com/a.b: x\nspec:\n  pipeline: p\n`;
    const { objects } = await load({ "e.yaml": text });
    const [execution] = objects;
    if (execution === undefined) throw new Error("no object");
    const at = (path: string) => {
      const { line, column } = locate(execution, path);
      return `${line}:${column}`;
    };
    expect(at("metadata.annotations.example.com/a.b")).to.equal("6:5");
    expect(at("spec.pipeline")).to.equal("8:3");
    expect(at("spec.input.json")).to.equal("7:1");
    expect(at("")).to.equal("1:1");
  });

  it("warn of the words that kubectl reads as booleans, and treat them as kubectl does", async () => {
    const text = `${head}kind: Pipeline\nmetadata: {name: p}\nspec:\n  steps:\n    - {name: y, processor: "no"}\n`;
    const { problems } = await load({ "p.yaml": text });
    expect(problems.map(({ severity, line, message }) => [severity, line, message])).to.deep.equal([
      ["Error", 6, "must be of type string, not boolean"],
      ["Warning", 6, "kubectl reads y without quotes as the boolean true (YAML 1.1)"],
    ]);
  });

  it("are refused with a key given twice, with broken YAML and when too deep", async () => {
    const { objects, problems } = await load({
      "a.yaml": `${head}kind: Pipeline\nkind: Pipeline\n`,
      "b.yaml": "a: [1, 2\nb: 3\n",
      "c.yaml": "[".repeat(200_000),
    });
    expect(objects).to.deep.equal([]);
    expect(problems.find(({ file }) => file.endsWith("a.yaml"))).to.include({
      line: 3,
      message: "the same field is given twice",
    });
    for (const name of ["b.yaml", "c.yaml"]) {
      expect(problems.find(({ file }) => file.endsWith(name))?.message, name).to.match(/^(is no YAML|cannot be read)/);
    }
  });

  it("with tens of thousands of keys are read in time that grows with their number", async () => {
    const keys = Array.from({ length: 50_000 }, (_, index) => `  k${index}: x\n`).join("");
    const { problems } = await load({
      "c.yaml": `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n${keys}`,
    });
    expect(problems).to.deep.equal([]);
  });

  it("are refused when their aliases stand for more than they say", async () => {
    const lines = Array.from(
      { length: 9 },
      (_, level) => `  a${level + 1}: &a${level + 1} [${`*a${level},`.repeat(9)}]`,
    );
    const text = `${head}kind: Processor\nmetadata: {name: p}\nspec:\n  a0: &a0 x\n${lines.join("\n")}\n`;
    const { objects, problems } = await load({ "bomb.yaml": text });
    expect(objects).to.deep.equal([]);
    expect(problems[0]?.message).to.include("alias");
  });

  it("may share parts by anchors and merge keys, as kubectl reads them", async () => {
    const text = `${head}kind: Pipeline\nmetadata: {name: p}\nspec:\n  steps:\n    - &a {name: a, processor: x, when: "true"}\n    - <<: *a\n      name: b\n`;
    const { objects, problems } = await load({ "p.yaml": text });
    expect(problems).to.deep.equal([]);
    expect(objects[0]?.object).to.have.nested.property("spec.steps[1].processor", "x");
  });

  it("tell what is wrong with a ConfigMap", async () => {
    const text = `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  port: 80\n  "a b": x\nbinaryData:\n  a.wasm: "?"\n  b.wasm: YQ==\n`;
    const { objects, problems } = await load({ "c.yaml": text });
    expect(problems.map(({ line, path }) => [line, path])).to.deep.equal([
      [5, "data.port"],
      [6, "data.a b"],
      [8, "binaryData.a.wasm"],
    ]);
    expect(objects[0]?.valid).to.equal(false);
  });

  it("refuse a ConfigMap above 1 MiB", async () => {
    const { problems } = await load({
      "c.json": JSON.stringify({
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "c" },
        data: { a: "x".repeat(1024 * 1024 + 1) },
      }),
    });
    expect(problems.map(({ path }) => path)).to.deep.equal(["data"]);
  });

  it("are refused when two have one kind and name", async () => {
    const execution = `${head}kind: Execution\nmetadata: {name: e}\nspec: {pipeline: p}\n`;
    const { problems } = await load({ "a.yaml": execution, "b.yaml": execution });
    expect(problems.map(({ file, message }) => [file, message])).to.deep.equal([
      [join(folder, "b.yaml"), `Execution "e" is there already, in ${join(folder, "a.yaml")}:3`],
    ]);
  });

  it("are taken out of lists, and what is no object is warned of", async () => {
    const list = `apiVersion: v1\nkind: List\nitems:\n  - ${head.trim()}\n    kind: Execution\n    metadata: {name: e}\n    spec: {pipelin: p}\n`;
    const { objects, problems } = await load({ "list.yaml": list, "values.yaml": "replicas: 3\n" });
    expect(objects.map(({ name }) => name)).to.deep.equal(["e"]);
    expect(problems.map(({ line, severity, path }) => [line, severity, path])).to.deep.equal([
      [7, "Error", "spec.pipelin"],
      [1, "Warning", ""],
    ]);
  });

  it("tell of a missing path, a dangling link, a file of another encoding and a version that is not served", async () => {
    await symlink(join(folder, "nowhere"), join(folder, "link.yaml"));
    await writeFile(join(folder, "latin1.yaml"), Buffer.from([0x61, 0x3a, 0xe4]));
    await writeFile(join(folder, "old.yaml"), "apiVersion: millrace.dev/v1\nkind: Pipeline\n");
    const { problems } = await loadManifests([folder, join(folder, "missing")]);
    const of = (name: string) => problems.find(({ file }) => file.endsWith(name))?.message;
    expect(of("missing")).to.equal("there is no such file or folder");
    expect(of("link.yaml")).to.equal("there is no such file or folder");
    expect(of("latin1.yaml")).to.include("not valid");
    expect(of("old.yaml")).to.equal('"millrace.dev/v1" is not served');
  });

  it("keep prototype names as the unknown fields that they are", async () => {
    const text = `{"apiVersion":"millrace.dev/v1alpha1","kind":"Execution","metadata":{"name":"e"},"spec":{"pipeline":"p","__proto__":{"cancel":"Immediate"},"constructor":1}}`;
    const { problems } = await load({ "e.json": text });
    expect(problems.map(({ path }) => path)).to.have.members(["spec.__proto__", "spec.constructor"]);
  });
});
