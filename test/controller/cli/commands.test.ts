import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { parse } from "yaml";
import type { Execution } from "../../../controller/api/types.ts";
import { millrace } from "../../support/millrace.ts";

const processors = `
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: {name: upper}
spec: {local: {builtin: text.uppercase}}
---
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: {name: fail}
spec: {local: {builtin: test.fail}, options: {code: OutOfInk, message: the ink is gone}}
---
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: {name: sleep}
spec: {local: {builtin: test.sleep}, options: {ms: 60000}}
---
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: {name: module}
spec: {local: {module: {file: shout.mjs}}}
`;

function pipeline(name: string, steps: string, rest = ""): string {
  return `
---
apiVersion: millrace.dev/v1alpha1
kind: Pipeline
metadata: {name: ${name}}
spec:
  steps:
${steps}
${rest}`;
}

const pipelines = [
  pipeline("shout", "  - {name: shout, processor: upper}"),
  pipeline("broken", "  - {name: print, processor: fail}\n  - {name: after, processor: upper, dependsOn: [print]}"),
  pipeline("slow", "  - {name: first, processor: upper}\n  - {name: wait, processor: sleep, dependsOn: [first]}"),
  pipeline("plugin", "  - {name: shout, processor: module}"),
  pipeline(
    "greet",
    "  - {name: shout, processor: upper, input: \"parameters.greeting + ' ' + string(parameters.count)\"}",
    "  parameters: [{name: greeting, schema: {type: string}}, {name: count, default: 1, schema: {type: integer}}]",
  ),
].join("");

describe("millrace run", function () {
  this.timeout(30_000);
  let folder: string;
  const run = (name: string, ...args: string[]) => millrace(["run", "-f", folder, name, ...args]);

  const runAndInterrupt = (...args: string[]) =>
    millrace(["run", "-f", folder, "shout", ...args], { interruptWaiting: "SIGINT" });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "millrace-cli-"));
    await writeFile(join(folder, "all.yaml"), processors + pipelines);
    await mkdir(join(folder, "plugins"));
    const shout = `export const process = ({ payload }) => ({ payload: Buffer.concat([payload, Buffer.from("!")]), contentType: "text/plain" });`;
    await writeFile(join(folder, "plugins/shout.mjs"), shout);
    await writeFile(join(folder, "input.txt"), "from a file");
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it("prints what the run gave to stdout, and its steps to stderr", async () => {
    const { code, stdout, stderr } = await run("shout", "--input", "hello");
    expect({ code, stdout }).to.deep.equal({ code: 0, stdout: "HELLO" });
    expect(stderr).to.match(/^shout: Succeeded \d+ms\n$/);
  });

  it("takes its input from a file, and from standard input", async () => {
    expect((await run("shout", "--input", `@${folder}/input.txt`)).stdout).to.equal("FROM A FILE");
    for (const input of ["-", "@-"]) {
      const piped = await millrace(["run", "-f", folder, "shout", "--input", input, "-q"], { stdin: "from a pipe" });
      expect(piped).to.deep.equal({ code: 0, stdout: "FROM A PIPE", stderr: "" });
    }
  });

  it("takes manifests from standard input", async () => {
    const { stdout } = await millrace(["run", "-f", "-", "shout", "--input", "x"], { stdin: processors + pipelines });
    expect(stdout).to.equal("X");
  });

  it("finds ES modules in plugins/ beside the manifests", async () => {
    expect((await run("plugin", "--input", "hello")).stdout).to.equal("hello!");
  });

  it("prints the whole Execution as JSON and YAML", async () => {
    for (const [format, read] of [
      ["json", JSON.parse],
      ["yaml", parse],
    ] as const) {
      const { stdout } = await run("greet", "--param", "greeting=17", "--param", "count=3", "-o", format);
      const execution = (read as (text: string) => unknown)(stdout) as Execution;
      expect(execution).to.deep.include({ apiVersion: "millrace.dev/v1alpha1", kind: "Execution" });
      expect(execution.spec.parameters).to.deep.equal([
        { name: "greeting", value: "17" },
        { name: "count", value: 3 },
      ]);
      expect(execution.status?.phase).to.equal("Succeeded");
      expect(execution.status?.output?.text).to.equal("17 3");
      expect(execution.status?.steps?.map(({ name, state }) => [name, state])).to.deep.equal([["shout", "Succeeded"]]);
    }
  });

  it("ends with 1 and says which step failed, with the processor's own code", async () => {
    const { code, stdout, stderr } = await run("broken");
    expect({ code, stdout }).to.deep.equal({ code: 1, stdout: "" });
    expect(stderr).to.contain("print: Failed").and.to.contain("after: Skipped UpstreamFailed");
    expect(stderr).to.contain('error: step "print" failed: ProcessorFailed (OutOfInk): the ink is gone');
  });

  it("shows no control characters that a processor gave", async () => {
    const message = "\\u001b[31mred\\nline";
    const { stderr } = await millrace(["run", "-f", "-"], {
      stdin: `${processors}${pipeline("red", `  - {name: a, processor: fail, options: {message: "${message}"}}`)}`,
    });
    expect(stderr).to.contain("\\u001b[31mred\\nline").and.to.not.contain("\u001b");
  });

  it("is cancelled by a signal: every row ends, the exit code says so", async () => {
    const options = { onStderr: (kill: (signal: NodeJS.Signals) => void) => kill("SIGINT") };
    const { code, stdout, stderr } = await millrace(["run", "-f", folder, "slow", "-o", "json"], options);
    expect(code).to.equal(130);
    expect(stderr).to.contain("wait: Cancelled");
    const { status } = JSON.parse(stdout) as Execution;
    expect(status?.phase).to.equal("Cancelled");
    expect(status?.steps?.map(({ state }) => state)).to.deep.equal(["Succeeded", "Cancelled"]);
  });

  it("ends with the first signal while it waits for its input", async () => {
    const waiting = await runAndInterrupt("--input", "-");
    expect({ code: waiting.code, stdout: waiting.stdout }).to.deep.equal({ code: 130, stdout: "" });
  });

  const refusals: readonly (readonly [string, string[], number, RegExp])[] = [
    ["a Pipeline that is not there", ["nowhere"], 2, /there is no Pipeline "nowhere" in the manifests; they hold: /],
    ["a file that is not there", ["shout", "--input", "@/nowhere"], 2, /--input: \/nowhere does not exist/],
    ["an input without end", ["shout", "--input", "@/dev/zero"], 1, /more than 67108864 bytes/],
    ["a parameter that is not declared", ["greet", "--param", "greetin=hi"], 1, /InvalidInput: .*greetin/],
    ["a parameter of the wrong type", ["greet", "--param", "greeting=a", "--param", "count=b"], 1, /parameters\.count/],
    ["a parameter without a value", ["greet", "--param", "greeting"], 2, /write --param name=value/],
    ["an unknown option", ["shout", "--inptu", "x"], 2, /unknown option '--inptu'[\s\S]*--input/],
  ];
  for (const [what, args, wanted, message] of refusals) {
    it(`refuses ${what}`, async () => {
      const { code, stdout, stderr } = await run(...(args as [string, ...string[]]));
      expect({ code, stdout }).to.deep.equal({ code: wanted, stdout: "" });
      expect(stderr).to.match(message);
    });
  }
});

describe("millrace validate", function () {
  this.timeout(30_000);

  it("says nothing is wrong with the samples", async () => {
    const { code, stdout } = await millrace(["validate", "-f", "manifests/samples"]);
    expect(stdout).to.match(/^\d+ objects, no errors\n$/);
    expect(code).to.equal(0);
  });

  const broken = `${processors}${pipeline(
    "broken",
    `  - name: a
    processor: upper
    dependsOn: [b]
  - name: b
    processor: upper
    dependsOn: [a]
  - name: c
    processor: nobody
    when: "1 + true"`,
  )}
---
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: {name: both}
spec:
  local: {builtin: text.uppercase}
  rcp: {}
---
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: {name: minutes}
spec:
  timeout: 5 minutes
  local: {builtin: text.uppercase}
`;

  it("names file, line, column, field and mend of every problem, and ends with 1", async () => {
    const { code, stdout } = await millrace(["validate", "-f", "-"], { stdin: broken });
    expect(code).to.equal(1);
    expect(stdout).to.match(/^-:\d+:\d+: error: spec\.steps\[0\]\.dependsOn.*: .*a.*b.*\(.+\)$/m);
    expect(stdout).to.match(/^-:\d+:\d+: error: spec\.steps\[2\]\.processor: .*nobody.*\(.+\)$/m);
    expect(stdout).to.match(/^-:\d+:\d+: error: spec\.steps\[2\]\.when: /m);
    expect(stdout).to.match(/^-:\d+:\d+: error: spec\.timeout: /m);
    expect(stdout).to.match(/^-:\d+:\d+: error: spec\.rcp: /m);
    expect(stdout).to.match(/\n\d+ objects, \d+ errors\n$/);
  });

  it("gives the same as JSON", async () => {
    const { code, stdout } = await millrace(["validate", "-f", "-", "-o", "json"], { stdin: broken });
    expect(code).to.equal(1);
    const report = JSON.parse(stdout) as { errors: number; problems: Record<string, unknown>[] };
    expect(report.problems).to.have.length(report.errors);
    for (const problem of report.problems) {
      expect(problem).to.include.keys("file", "line", "column", "path", "severity", "message");
    }
  });

  it("says that a file is not there", async () => {
    const { code, stdout } = await millrace(["validate", "-f", "nowhere.yaml"]);
    expect(code).to.equal(1);
    expect(stdout).to.contain("nowhere.yaml:1:1: error: there is no such file or folder");
  });
});

describe("millrace graph", function () {
  this.timeout(30_000);
  const graph = (...args: string[]) => millrace(["graph", "-f", "manifests/samples/state-of-the-union", ...args]);

  it("draws a tree", async () => {
    const { stdout } = await graph();
    expect(stdout).to.equal(
      [
        "state-of-the-union: 6 steps, 4 levels, 3 wide",
        "clean            clean-text",
        "├─ fingerprint   digest",
        "├─ style         measure-style",
        "└─ terms         count-terms",
        "   └─ keywords   find-keywords",
        "      └─ report  render  also after clean, fingerprint, style",
        "",
      ].join("\n"),
    );
  });

  it("draws a Mermaid flowchart and Graphviz DOT with every step and dependency", async () => {
    const mermaid = (await graph("-o", "mermaid")).stdout;
    expect(mermaid).to.match(/^flowchart TD\n {2}s0\["clean<br\/><i>clean-text<\/i>"\]$/m);
    expect(mermaid.match(/-->/g)).to.have.length(8);
    const dot = (await graph("-o", "dot")).stdout;
    expect(dot).to.match(/^digraph "state-of-the-union" \{[\s\S]*\n\}\n$/);
    expect(dot.match(/->/g)).to.have.length(8);
  });
});

describe("millrace", function () {
  this.timeout(30_000);

  it("prints help that teaches, for itself and each command", async () => {
    const { code, stdout } = await millrace(["--help"]);
    expect(code).to.equal(0);
    for (const command of ["run", "validate", "graph", "controller", "output"]) {
      expect(stdout).to.match(new RegExp(`^  ${command}\\b`, "m"));
      const help = await millrace([command, "--help"]);
      expect(help.stdout, command).to.contain(`Usage: millrace ${command}`).and.to.contain("Examples:");
      for (const line of help.stdout.split("\n")) expect(line.length, line).to.be.at.most(130);
    }
  });

  it("refuses an unknown command and suggests the nearest", async () => {
    const { code, stderr } = await millrace(["rnu"]);
    expect(code).to.equal(2);
    expect(stderr).to.contain("unknown command 'rnu'").and.to.contain("run");
  });
});
