import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { parse } from "yaml";
import { validateObject } from "../../../../controller/api/validation.ts";
import { millrace } from "../../../support/millrace.ts";

const manifests = `
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: {name: upper}
spec: {local: {builtin: text.uppercase}}
---
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: {name: shout}
spec: {local: {module: {file: shout.mjs}}, retry: {limit: 1, backoff: {initial: 1ms}, codes: [ProcessorCrashed]}}
---
apiVersion: millrace.dev/v1alpha1
kind: Pipeline
metadata: {name: inner}
spec:
  steps:
    - {name: a, processor: upper}
    - {name: b, processor: shout, dependsOn: [a]}
---
apiVersion: millrace.dev/v1alpha1
kind: Pipeline
metadata: {name: outer}
spec:
  steps:
    - {name: publish, pipeline: inner}
    - {name: each, processor: shout, forEach: "['x', 'bad', 'zz']", onFailure: Ignore}
    - {name: never, processor: upper, when: "false"}
  finally:
    - {name: notify, processor: upper, input: execution.state}
  output: steps.publish.output
  outputs: [{name: items, value: steps.each.output}]
---
apiVersion: millrace.dev/v1alpha1
kind: Pipeline
metadata: {name: broken}
spec:
  steps: [{name: print, processor: shout, input: "'bad'"}]
---
apiVersion: millrace.dev/v1alpha1
kind: Pipeline
metadata: {name: broken-items}
spec:
  steps: [{name: each, processor: shout, forEach: "['x', 'bad', 'zz']"}]
`;

const shout = `
export const process = ({ payload, contentType }, context) => {
  context.log("got " + payload.length + " bytes\\nin attempt " + context.attempt);
  if (Buffer.from(payload).toString() === "bad") throw new Error("it is bad");
  return { payload: Buffer.concat([payload, Buffer.from("!")]), contentType };
};
`;

describe("a run that was saved", function () {
  this.timeout(60_000);
  let folder: string;
  let saved: string;
  const utf8 = { LC_ALL: "C.UTF-8", COLUMNS: "100" };
  const look = (command: string, ...args: readonly string[]) =>
    millrace([command, "--saved", saved, ...args], { env: utf8 });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "millrace-saved-"));
    saved = join(folder, "run");
    await mkdir(join(folder, "in/plugins"), { recursive: true });
    await writeFile(join(folder, "in/all.yaml"), manifests);
    await writeFile(join(folder, "in/plugins/shout.mjs"), shout);
    const ran = await millrace(["run", "-f", join(folder, "in"), "outer", "--input", "hello", "--save", saved, "-q"]);
    expect(ran).to.deep.equal({ code: 0, stdout: "HELLO!", stderr: "" });
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it("is an Execution as a cluster's", async () => {
    const execution = parse(await readFile(join(saved, "execution.yaml"), "utf8")) as Record<string, unknown>;
    expect(validateObject(execution).problems).to.deep.equal([]);
    expect(execution).to.have.nested.property("status.phase", "Succeeded");
    expect(execution).to.have.nested.property("spec.input.text", "hello");
    expect(execution).to.have.nested.property("status.steps[0].processor.name", "upper");
  });

  it("is shown as a tree, finally apart", async () => {
    const { code, stdout } = await look("inspect");
    expect(code).to.equal(0);
    expect(stdout).to.match(/^✔ publish .*\n✔ ├─ a .*\n✔ └─ b .*\n/m);
    expect(stdout).to.match(/^✔ each +2\/3, 1 failed .*\n {4}item 1: ProcessorCrashed: .*it is bad/m);
    expect(stdout).to.match(/^– never +WhenFalse\nfinally\n✔ notify /m);
    for (const line of stdout.split("\n")) expect(line.length, line).to.be.at.most(100);
  });

  it("is shown as JSON as its file has it", async () => {
    const { stdout } = await look("inspect", "-o", "json");
    const file = parse(await readFile(join(saved, "execution.yaml"), "utf8")) as unknown;
    expect(JSON.parse(stdout)).to.deep.equal(file);
  });

  it("has the logs of its steps", async () => {
    expect((await look("logs", "publish/b")).stdout).to.equal("got 5 bytes\nin attempt 1\n");
    const all = (await look("logs")).stdout;
    expect(all)
      .to.match(/^\[publish\/b\] got 5 bytes\n/)
      .and.to.contain("[each 0] got 1 bytes\n");
  });

  it("has each attempt of an item", async () => {
    const both = await look("logs", "each", "--item", "1");
    expect(both.stdout).to.equal(
      "--- attempt 1 ---\ngot 3 bytes\nin attempt 1\n--- attempt 2 ---\ngot 3 bytes\nin attempt 2\n",
    );
    const second = await look("logs", "each", "--item", "1", "--attempt", "2", "--timestamps", "--prefix");
    expect(second.stdout).to.match(/^\[each 1\] \d{4}-\d\d-\d\dT\S+Z got 3 bytes\n\[each 1\] \S+Z in attempt 2\n$/);
  });

  it("says that a step logged nothing, and which steps there are", async () => {
    const silent = await look("logs", "notify");
    expect(silent).to.deep.equal({ code: 0, stdout: "", stderr: 'step "notify" logged nothing\n' });
    const unknown = await look("logs", "notfiy");
    expect(unknown.code).to.equal(1);
    expect(unknown.stderr).to.contain('has no step "notfiy"; it has publish/a, publish/b, publish, each');
  });

  it("has its outputs", async () => {
    expect((await look("output")).stdout).to.equal("HELLO!");
    expect((await look("output", "--output-name", "items")).stdout).to.contain('["x!",null,"zz!"]');
    expect((await look("output", "each", "--item", "2")).stdout).to.equal("zz!");
  });

  it("is drawn with what its steps came to", async () => {
    const text = (await look("graph")).stdout;
    expect(text)
      .to.match(/^✔ publish +Pipeline inner {2}Succeeded$/m)
      .and.to.match(/^– never +upper {2}WhenFalse$/m);
    const mermaid = (await look("graph", "-o", "mermaid")).stdout;
    expect(mermaid)
      .to.match(/^ {2}classDef Succeeded fill:#[0-9a-f]{6}/m)
      .and.to.match(/^ {2}class s\d+ Skipped$/m);
    expect((await look("graph", "-o", "dot")).stdout).to.match(
      /^ {2}"never" \[style=filled, fillcolor="#[0-9a-f]{6}"\];$/m,
    );
  });

  it("is not written over another, nor looked for where there is none", async () => {
    const again = await millrace(["run", "-f", join(folder, "in"), "outer", "--save", saved]);
    expect(again.code).to.equal(2);
    expect(again.stderr).to.contain("is not empty");
    const nowhere = await millrace(["inspect", "--saved", join(folder, "in")]);
    expect(nowhere.code).to.equal(2);
    expect(nowhere.stderr).to.contain("has no execution.yaml; give the folder");
  });

  it("says that a payload is gone from its folder", async () => {
    const other = join(folder, "other");
    await millrace(["run", "-f", join(folder, "in"), "outer", "--save", other, "-q"]);
    await rm(join(other, "payloads"), { recursive: true });
    const { code, stderr } = await millrace(["logs", "--saved", other, "publish/b"]);
    expect(code).to.equal(1);
    expect(stderr).to.match(/^error: .*payload sha256:/);
  });

  it("of a failure has the failure, and the run shows what the step logged at last", async () => {
    const failed = join(folder, "failed");
    const { code, stderr } = await millrace(["run", "-f", join(folder, "in"), "broken", "--save", failed]);
    expect(code).to.equal(1);
    expect(stderr).to.contain('step "print" logged at last:\n  got 3 bytes\n  in attempt 1\n  got 3 bytes\n');
    const { stdout } = await millrace(["inspect", "--saved", failed], { env: utf8 });
    expect(stdout)
      .to.match(/^Phase +Failed \(StepFailed\), 1\/1 steps$/m)
      .and.to.match(/ProcessorCrashed: .*it is bad/);
  });

  it("of items that failed shows what those logged, and how their outputs are asked for without a cluster", async () => {
    const failed = join(folder, "failed-items");
    const { stderr } = await millrace(["run", "-f", join(folder, "in"), "broken-items", "--save", failed]);
    expect(stderr)
      .to.contain(
        'item 1 of step "each" logged at last:\n  got 3 bytes\n  in attempt 1\n  got 3 bytes\n  in attempt 2\n',
      )
      .and.to.not.match(/got [12] bytes|^step "each" logged/m);
    const output = await millrace(["output", "--saved", failed]);
    expect(output.stderr).to.contain(`a step's: millrace output --saved ${failed} STEP`);
  });
});

describe("millrace run --logs", function () {
  this.timeout(30_000);

  it("shows what steps log, on stderr", async () => {
    const folder = await mkdtemp(join(tmpdir(), "millrace-logs-"));
    await mkdir(join(folder, "plugins"));
    await writeFile(join(folder, "all.yaml"), manifests);
    await writeFile(join(folder, "plugins/shout.mjs"), shout);
    const { stderr } = await millrace(["run", "-f", folder, "broken", "--logs"]);
    await rm(folder, { recursive: true });
    expect(stderr).to.contain("[print] got 3 bytes\n[print] in attempt 1\n").and.to.not.contain("logged at last");
  });
});
