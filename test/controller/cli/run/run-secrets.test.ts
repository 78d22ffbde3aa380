import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { millrace } from "../../../support/millrace.ts";

const probe = join(import.meta.dirname, "../../../fixtures/wasm/wasi-probe.wasm");

const manifests = `
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: {name: keyed}
spec:
  local: {module: {file: keyed.mjs}}
  retry: {limit: 0}
  secrets: [{name: token, secretKeyRef: {name: api, key: token}}]
---
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: {name: narrow}
spec: {local: {builtin: echo}, outputSchema: {type: string, maxLength: 3}}
---
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: {name: guest}
spec:
  wasm:
    source: {file: probe.wasm}
    entrypoint: variable
    capabilities:
      env:
        - {name: LOG, value: info}
        - {name: TOKEN, valueFrom: {secretKeyRef: {name: api, key: token}}}
  retry: {limit: 0}
---
apiVersion: millrace.dev/v1alpha1
kind: Pipeline
metadata: {name: guests}
spec: {steps: [{name: a, processor: guest}]}
---
apiVersion: millrace.dev/v1alpha1
kind: Pipeline
metadata: {name: keys}
spec: {steps: [{name: a, processor: keyed}]}
---
apiVersion: millrace.dev/v1alpha1
kind: Pipeline
metadata: {name: narrows}
spec: {steps: [{name: a, processor: narrow}]}
`;

const secret = (fields: string) => `---\napiVersion: v1\nkind: Secret\nmetadata: {name: api}\n${fields}\n`;

describe("millrace run with Secrets of the manifests", function () {
  this.timeout(30_000);
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "millrace-secrets-"));
    await mkdir(join(folder, "plugins"));
    const module = `export function process({ payload }, { secrets }) {
      if (payload.length === 0) throw new Error("refused " + secrets.token);
      return String(secrets.token.length);
    }`;
    await writeFile(join(folder, "plugins/keyed.mjs"), module);
    await mkdir(join(folder, "modules"));
    await copyFile(probe, join(folder, "modules/probe.wasm"));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  async function run(secrets: string, pipeline: string, input: string): ReturnType<typeof millrace> {
    await writeFile(join(folder, "all.yaml"), `${manifests}${secrets}`);
    return await millrace(["run", "-f", folder, pipeline, "--input", input]);
  }

  it("gives a value of data, and one of stringData before it", async () => {
    expect((await run(secret("data: {token: azN5LTA4MTU=}"), "keys", "x")).stdout).to.equal("8");
    const both = secret("data: {token: azN5LTA4MTU=}\nstringData: {token: k3y}");
    expect((await run(both, "keys", "x")).stdout).to.equal("3");
  });

  it("gives a WASM module variables out of them, and such as are plain", async () => {
    const given = async (name: string, secrets: string) => (await run(secrets, "guests", name)).stdout.trim();
    expect(await given("LOG", secret("stringData: {token: k3y}"))).to.equal('{"value":"info"}');
    expect(await given("TOKEN", secret("stringData: {token: k3y}"))).to.equal('{"value":"k3y"}');
    const { stderr } = await run("", "guests", "LOG");
    expect(stderr).to.contain('spec.wasm.capabilities.env[1].valueFrom.secretKeyRef.name: Secret "api" is not in');
  });

  it("masks it in what it prints of a failure", async () => {
    const { code, stderr } = await run(secret("stringData: {token: k3y-0815}"), "keys", "");
    expect(code).to.equal(1);
    expect(stderr).to.contain("refused ***").and.not.contain("k3y");
  });

  it("says where one is named that is not there, and refuses data that is no Base64 without showing it", async () => {
    const { stderr } = await run("", "keys", "x");
    expect(stderr).to.match(
      /all\.yaml:\d+:1: error: spec: Processor "keyed": NotFound: spec\.secrets\[0\]\.secretKeyRef\.name: Secret "api" is not in/,
    );
    expect((await run(secret("stringData: {other: k3y}"), "keys", "x")).stderr).to.contain("has no key token");
    const bad = await run(secret("data: {token: k3y-0815}"), "keys", "x");
    expect(bad.stderr).to.contain("data.token: must be Base64").and.not.contain("k3y");
  });

  it("holds a processor to its own schemas", async () => {
    expect((await run("", "narrows", "abc")).stdout).to.equal("abc");
    expect((await run("", "narrows", "abcd")).stderr).to.contain("ProcessorFailed (SchemaViolation)");
  });
});
