import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { parse } from "yaml";
import type { LocatedProblem } from "../../../controller/api/manifests.ts";
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
  pipeline(
    "tidy",
    `  - {name: first, processor: upper}
  - {name: wait, processor: sleep, dependsOn: [first], options: {ms: 2000}}
  - {name: never, processor: upper, dependsOn: [wait]}`,
    "  finally: [{name: tell, processor: upper, input: execution.state}]",
  ),
  pipeline("plugin", "  - {name: shout, processor: module}"),
  pipeline(
    "inner",
    `  - {name: add, processor: upper, input: "parameters.greeting + ' ' + input"}
  - {name: shout, processor: module, dependsOn: [add]}`,
    "  parameters: [{name: greeting, schema: {type: string}}]",
  ),
  pipeline(
    "outer",
    `  - {name: first, processor: upper}
  - {name: get, pipeline: inner, dependsOn: [first], parameters: [{name: greeting, value: parameters.greeting}]}`,
    `  parameters: [{name: greeting, default: hi}]
  finally: [{name: tell, processor: upper, input: execution.state}]`,
  ),
  pipeline("computed", "  - {name: wait, processor: sleep, optionsExpression: \"{'ms': 'soon'}\"}"),
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

  it("runs the Pipelines that it brings in, with their Processors, and finally what is to be done at the end", async () => {
    const { code, stdout } = await run("outer", "--input", "hello", "-o", "json");
    const { status } = JSON.parse(stdout) as Execution;
    expect({ code, text: status?.output?.text }).to.deep.equal({ code: 0, text: "HI HELLO!" });
    expect(status?.steps?.map(({ name, state }) => `${name} ${state}`)).to.deep.equal([
      "first Succeeded",
      "get/add Succeeded",
      "get/shout Succeeded",
      "get Succeeded",
      "tell Succeeded",
    ]);
  });

  it("holds what a Pipeline that is brought in is given to its schemas", async () => {
    const { code, stderr } = await run("outer", "--input", "hello", "--param", "greeting=3");
    expect(code).to.equal(1);
    expect(stderr).to.match(/step "get" failed: InvalidInput: .*parameters\.greeting: .*string/);
  });

  it("holds options that an expression gives to the Processor's schema, when the step runs", async () => {
    const { code, stderr } = await run("computed");
    expect(code).to.equal(1);
    expect(stderr).to.match(/step "wait" failed: InvalidInput: .*ms is not of type integer/);
  });

  it("is cancelled by two signals: every row ends, the exit code says so", async () => {
    const onStderr = (kill: (signal: NodeJS.Signals) => void) => {
      kill("SIGINT");
      setTimeout(() => kill("SIGINT"), 200);
    };
    const options = { onStderr };
    const { code, stdout, stderr } = await millrace(["run", "-f", folder, "slow", "-o", "json"], options);
    expect(code).to.equal(130);
    expect(stderr).to.contain("wait: Cancelled");
    const { status } = JSON.parse(stdout) as Execution;
    expect(status?.phase).to.equal("Cancelled");
    expect(status?.steps?.map(({ state }) => state)).to.deep.equal(["Succeeded", "Cancelled"]);
  });

  it("lets what runs finish after the first signal, and runs finally", async () => {
    const options = { onStderr: (kill: (signal: NodeJS.Signals) => void) => kill("SIGINT") };
    const { code, stdout, stderr } = await millrace(["run", "-f", folder, "tidy", "-o", "json"], options);
    expect(code).to.equal(130);
    expect(stderr).to.contain("cancelling: what runs may finish");
    const { status } = JSON.parse(stdout) as Execution;
    expect(status?.steps?.map(({ name, state }) => `${name} ${state}`)).to.deep.equal([
      "first Succeeded",
      "wait Succeeded",
      "never Skipped",
      "tell Succeeded",
    ]);
    expect(status?.steps?.at(-1)?.output?.text).to.equal("CANCELLED");
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
    [
      "a parameter given twice",
      ["greet", "--param", "count=1", "--param", "count=2"],
      2,
      /--param count: is given twice/,
    ],
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
    for (const sample of await readdir("manifests/samples")) {
      const { code, stdout } = await millrace(["validate", "-f", `manifests/samples/${sample}`]);
      expect(stdout, sample).to.match(/^\d+ objects, no errors\n$/);
      expect(code, sample).to.equal(0);
    }
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

describe("millrace validate, of Pipelines that bring in others", function () {
  this.timeout(30_000);
  const problemsOf = async (manifests: string): Promise<readonly string[]> => {
    const { code, stdout } = await millrace(["validate", "-f", "-", "-o", "json"], { stdin: processors + manifests });
    const { problems } = JSON.parse(stdout) as { problems: readonly LocatedProblem[] };
    expect(code).to.equal(problems.some(({ severity }) => severity === "Error") ? 1 : 0);
    const lines = (processors + manifests).split("\n");
    return problems.map(({ line, column, path, message, mend = "" }) => {
      return `${lines[line - 1]?.slice(column - 1).trim()} | ${path} | ${message} (${mend})`;
    });
  };
  const sign = pipeline("sign", "  - {name: sign, processor: upper}", "  parameters: [{name: key}]");

  it("says nothing is wrong with what is right", async () => {
    const outer = pipeline(
      "outer",
      `  - {name: first, processor: upper}
  - {name: signed, pipeline: sign, dependsOn: [first], parameters: [{name: key, value: "'k'"}]}`,
      "  finally: [{name: tidy, processor: upper, input: execution.state}]",
    );
    expect(await problemsOf(outer + sign)).to.deep.equal([]);
  });

  const refusals: readonly (readonly [string, string, RegExp])[] = [
    [
      "a Pipeline that is not in the files",
      pipeline("outer", "  - {name: signed, pipeline: sing}"),
      /^pipeline: sing\} \| spec\.steps\[0\]\.pipeline \| .*Pipeline sing, which does not exist\. \(Write sign, or create it\.\)$/,
    ],
    [
      "a parameter that it does not know",
      pipeline(
        "outer",
        "  - {name: s, pipeline: sign, parameters: [{name: key, value: '1'}, {name: kye, value: '1'}]}",
      ),
      /^name: kye, .* \| spec\.steps\[0\]\.parameters\[1\]\.name \| .*no parameter named kye\. \(It takes key\.\)$/,
    ],
    [
      "a parameter that it needs",
      pipeline("outer", "  - {name: signed, pipeline: sign}"),
      /\| spec\.steps\[0\]\.parameters \| .*does not give the parameter key/,
    ],
    [
      "options of `finally`",
      pipeline(
        "outer",
        "  - {name: a, processor: upper}",
        "  finally: [{name: z, processor: sleep, options: {sm: 1}}]",
      ),
      /\| spec\.finally\[0\]\.options\.sm \| step z: .*which the schema does not know .*\(.*\.\)$/,
    ],
    [
      "an expression of a list that is none",
      pipeline("outer", "  - {name: a, processor: upper, forEach: 'true'}"),
      /^forEach: 'true'\} \| spec\.steps\[0\]\.forEach \| .*list/,
    ],
    [
      "a named output of a step that is not there",
      pipeline("outer", "  - {name: a, processor: upper}", "  outputs: [{name: top, value: steps.b.output}]"),
      /^value: steps\.b\.output.* \| spec\.outputs\[0\]\.value \| .*b/,
    ],
  ];
  for (const [what, manifests, expected] of refusals) {
    it(`tells ${what} with its line, its field and its mend`, async () => {
      const found = await problemsOf(manifests + sign);
      expect(found).to.have.length(1);
      expect(found[0]).to.match(expected);
    });
  }

  it("tells what is wrong with one where it is written, and at each step that names it", async () => {
    const inner = pipeline("inner", "  - {name: x, processor: upper, when: 'size('}");
    const outer = pipeline(
      "outer",
      "  - {name: a, processor: upper}\n  - {name: get, pipeline: inner, dependsOn: [a]}",
    );
    const found = await problemsOf(outer + inner);
    expect(found).to.have.length(2);
    expect(found[0]).to.match(/^pipeline: inner, .* \| spec\.steps\[1\]\.pipeline \| Step get .*steps\[0\]\.when/);
    expect(found[1]).to.match(/^when: 'size\('\} \| spec\.steps\[0\]\.when \| /);
  });

  it("tells a circle at each of its members, with its path", async () => {
    const manifests = [
      ["a", "b"],
      ["b", "c"],
      ["c", "a"],
    ].map(([name = "", next]) => pipeline(name, `  - {name: next, pipeline: ${next}}`));
    const found = await problemsOf(manifests.join(""));
    expect(found).to.have.length(3);
    for (const [index, path] of ["a → b → c → a", "b → c → a → b", "c → a → b → c"].entries()) {
      expect(found[index]).to.contain("spec.steps[0].pipeline").and.to.contain(path);
    }
  });

  it("warns of words that kubectl takes for booleans in what a Pipeline is given", async () => {
    const outer = pipeline("outer", "  - {name: s, pipeline: sign, parameters: [{name: key, value: yes}]}");
    const found = await problemsOf(outer + sign);
    expect(found[0]).to.match(/^value: yes.* spec\.steps\[0\]\.parameters\[0\]\.value \| /);
    expect(found[1]).to.match(/^yes.*kubectl reads yes without quotes as the boolean true/);
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

  const nested = [
    pipeline("publish", "  - {name: sign, processor: upper}\n  - {name: send, processor: upper, dependsOn: [sign]}"),
    pipeline(
      "news",
      `  - {name: end, processor: upper}
  - {name: pages, processor: upper, dependsOn: [end], forEach: "['a']"}
  - {name: out, pipeline: publish, dependsOn: [end]}
  - {name: last, processor: upper, dependsOn: [pages, out], input: "'x'"}`,
      "  finally: [{name: tidy, processor: upper}, {name: tell, processor: upper, dependsOn: [tidy]}]",
    ),
  ].join("");
  const graphOfNews = (...args: string[]) =>
    millrace(["graph", "-f", "-", "news", ...args], { stdin: processors + nested });

  it("draws a Pipeline that is brought in under its step, `finally` apart, and marks what runs for each item", async () => {
    const { stdout } = await graphOfNews();
    expect(stdout).to.equal(
      [
        "news: 6 steps, 4 levels, 2 wide",
        "end            upper",
        "├─ pages       upper  for each",
        "└─ out         Pipeline publish",
        "   ┊  sign     upper",
        "   ┊  └─ send  upper",
        "   └─ last     upper  also after pages",
        "finally:",
        "tidy           upper",
        "└─ tell        upper",
        "",
      ].join("\n"),
    );
  });

  it("draws them as subgraphs in Mermaid and as clusters in DOT", async () => {
    const mermaid = (await graphOfNews("-o", "mermaid")).stdout;
    expect(mermaid).to.match(/^ {2}subgraph s\d+\["out<br\/><i>Pipeline publish<\/i>"\]\n {4}s\d+\["sign/m);
    expect(mermaid).to.match(/^ {2}subgraph finally\["finally"\]$/m);
    expect(mermaid).to.contain('[["pages<br/><i>upper</i><br/>for each"]]');
    expect(mermaid.match(/-->/g)).to.have.length(6);
    expect(mermaid.match(/^ *end$/gm)).to.have.length(2);
    const dot = (await graphOfNews("-o", "dot")).stdout;
    expect(dot).to.contain('"end" -> "out/sign" [lhead="cluster_out"];');
    expect(dot).to.contain('"out/send" -> "last" [ltail="cluster_out"];');
    expect(dot).to.match(/subgraph "cluster_finally" \{\n {4}label="finally";\n {4}"tidy"/);
    expect(dot.match(/\{/g)).to.have.length(dot.match(/\}/g)?.length ?? 0);
  });

  it("says what is wrong with a Pipeline instead of drawing it", async () => {
    const manifests = `${processors}${pipeline("outer", "  - {name: a, pipeline: none}")}`;
    const { code, stdout, stderr } = await millrace(["graph", "-f", "-"], { stdin: manifests });
    expect({ code, stdout }).to.deep.equal({ code: 1, stdout: "" });
    expect(stderr).to.contain("spec.steps[0].pipeline").and.to.contain("Pipeline none, which does not exist");
  });
});

describe("millrace", function () {
  this.timeout(30_000);

  it("prints help that teaches, for itself and each command", async () => {
    const { code, stdout } = await millrace(["--help"]);
    expect(code).to.equal(0);
    for (const command of ["run", "validate", "graph", "inspect", "logs", "output", "create", "controller"]) {
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
