import { expect } from "chai";
import { parseAllDocuments } from "yaml";
import { useCluster } from "../cluster/cluster.ts";

const digest = `sha256:${"0a".repeat(32)}`;
const payload = { ref: digest, bytes: 5 };
const manifests = `
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: {name: word-count}
spec:
  local: {builtin: text.count}
  outputSchema: {type: object, properties: {words: {type: integer}}}
  metadataSchema: {type: object, properties: {words: {type: string}}}
  secrets: [{name: api-key, secretKeyRef: {name: words, key: token}}]
  delivery: AtMostOnce
  retry: {limit: 0, budgetPercent: 10}
---
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: {name: guest}
spec:
  wasm:
    source: {oci: ghcr.io/acme/words:1.2}
    digest: "${digest}"
    pullPolicy: IfNotPresent
    pullSecretRef: {name: registry}
    verify: {publicKeySecretRef: {name: keys, key: cosign.pub}}
    abi: Extism
    entrypoint: count
    limits: {memory: 16Mi, fuel: 5000000}
    capabilities:
      allowedHosts: ["*.example.com"]
      env: [{name: LOG, value: info}, {name: TOKEN, valueFrom: {secretKeyRef: {name: words, key: token}}}]
      config: [{name: top, value: "10"}]
      randomSeed: seed
    reuse: 100
    isolation: Worker
---
apiVersion: millrace.dev/v1alpha1
kind: Pipeline
metadata: {name: article}
spec:
  strategy: Hybrid
  failurePolicy: BestEffort
  parameters: [{name: language, default: en}]
  steps:
    - name: clean
      processor: html-to-text
      cache: {maxAge: 1h, key: input.digest}
    - name: pages
      processor: word-count
      dependsOn: [clean]
      optionsExpression: "{'lang': parameters.language}"
      forEach: steps.clean.output.pages
      maxParallel: 4
      input: "{'page': item, 'index': index}"
      onFailure: Ignore
    - name: publish
      pipeline: publish
      dependsOn: [pages]
      when: size(steps.pages.output) > 0
      input: steps.pages.output
      parameters: [{name: language, value: parameters.language}]
  finally:
    - name: collect
      processor: join
      forEach: "[1, 2]"
      maxParallel: 1
      optionsExpression: "{'n': item}"
    - name: notify
      processor: webhook
      dependsOn: [collect]
      when: execution.state == 'Failed'
      input: "{'state': execution.state}"
      options: {channel: news}
      timeout: 5s
      retry: {limit: 2}
      onFailure: Ignore
  finallyTimeout: 30s
  output: steps.publish.output
  outputs: [{name: pages, value: steps.pages.output}]
  concurrency: {limit: 20, policy: Queue, queueTimeout: 1h}
  historyLimit: {succeeded: 100, failed: 10}
---
apiVersion: millrace.dev/v1alpha1
kind: Execution
metadata: {name: article-2}
spec:
  pipeline: article
  input: {payload: {ref: "${digest}", contentType: text/html}}
  priority: 5
  suspend: true
  cancel: Graceful
  retryFrom: {execution: article-1}
`;

const failure = { code: "Interrupted", message: "the replica died" };
const status = {
  phase: "Suspended",
  active: { beforeMs: 1200, since: "2026-11-28T01:02:03Z" },
  outputs: [{ name: "pages", value: { json: [null], contentType: "application/json" } }],
  steps: [
    {
      name: "publish/pages",
      state: "Failed",
      reason: "Ignored",
      items: {
        total: 10_000,
        succeeded: 812,
        failed: 1,
        cancelled: 1,
        done: "0-811,813",
        results: payload,
        list: "0a".repeat(16),
        failures: [{ index: 813, ...failure }],
      },
      log: payload,
      metadataPayload: payload,
      request: "0a".repeat(16),
      fuel: 100_000_000_000_000,
      error: { ...failure, kind: "System", full: payload },
    },
  ],
};

describe("the fields of the complete engine", function () {
  this.timeout(60_000);
  const cluster = useCluster();
  let namespace = "";

  before(async () => {
    namespace = await cluster.createNamespace();
    await cluster.kubectl(["apply", "--namespace", namespace, "--filename=-"], { stdin: manifests });
  });

  const get = async (name: string): Promise<Record<string, unknown>> => {
    const text = await cluster.kubectl(["get", name, "--namespace", namespace, "--output=json"]);
    return JSON.parse(text) as Record<string, unknown>;
  };

  const names = ["mproc/word-count", "mproc/guest", "mpipe/article", "mexec/article-2"];
  for (const [index, name] of names.entries()) {
    it(`are kept as \`kubectl apply\` sends them, in ${name}`, async () => {
      const sent = parseAllDocuments(manifests)[index]?.toJS() as { spec: object };
      expect((await get(name)).spec).to.deep.include(withoutDefaulted(sent.spec));
    });
  }

  it("say nothing of a second `kubectl apply`", async () => {
    const said = await cluster.kubectl(["apply", "--namespace", namespace, "--filename=-"], { stdin: manifests });
    expect(said.match(/ unchanged$/gm)).to.have.length(4);
  });

  it("are kept in the status of an Execution", async () => {
    const args = ["--subresource=status", "--type=merge", `--patch=${JSON.stringify({ status })}`];
    await cluster.kubectl(["patch", "mexec/article-2", "--namespace", namespace, ...args]);
    expect((await get("mexec/article-2")).status).to.deep.include(status);
  });

  it("show how many Executions run and wait", async () => {
    const patch = JSON.stringify({ status: { executions: { queued: 2, running: 20 } } });
    const args = ["--subresource=status", "--type=merge", `--patch=${patch}`];
    await cluster.kubectl(["patch", "mpipe/article", "--namespace", namespace, ...args]);
    const row = (await cluster.kubectl(["get", "mpipe/article", "--namespace", namespace])).split("\n")[1] ?? "";
    expect(row).to.match(/^article +Unknown +20 +2 /);
  });

  it("let a suspended run be resumed, and a graceful cancellation become an immediate one", async () => {
    const patch = JSON.stringify({ spec: { suspend: false, cancel: "Immediate" } });
    await cluster.kubectl(["patch", "mexec/article-2", "--namespace", namespace, "--type=merge", `--patch=${patch}`]);
    expect((await get("mexec/article-2")).spec).to.deep.include({ suspend: false, cancel: "Immediate" });
  });
});

/** Without `retry`, whose absent fields the server fills in. */
function withoutDefaulted({ retry: _retry, ...spec }: { readonly retry?: unknown }): object {
  return spec;
}
