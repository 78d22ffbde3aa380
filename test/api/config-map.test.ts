import { expect } from "chai";
import { checkConfigMap, checkSecret } from "../../controller/api/config-map.ts";
import type { DraftObject } from "../../controller/api/structural-schema.ts";
import { callApi } from "../cluster/api-call.ts";
import { useCluster } from "../cluster/cluster.ts";

const cases: readonly (readonly [boolean, DraftObject])[] = [
  [true, {}],
  [true, { data: { a: "b", "a.b-c_D": "" }, binaryData: { b: "YQ==" }, immutable: true }],
  [true, { data: null, binaryData: null }],
  [false, { data: { "..data": "a" } }],
  [true, { binaryData: { a: "YQ==\nYQ==".replace("==\n", "Fh\n") } }],
  [true, { data: { a: "x".repeat(1024 * 1024) } }],
  [false, { data: { a: "x".repeat(1024 * 1024), b: "x" } }],
  [false, { data: { a: "x" }, binaryData: { a: "YQ==" } }],
  [false, { data: { port: 80 } }],
  [false, { data: { a: {} } }],
  [false, { data: [] }],
  [false, { data: { "a b": "" } }],
  [false, { data: { "": "" } }],
  [false, { data: { "..": "" } }],
  [false, { data: { ".": "" } }],
  [false, { binaryData: { a: "?" } }],
  [false, { binaryData: { a: "YQ" } }],
  [false, { dta: {} }],
];

describe("the offline check of ConfigMaps and the API server", function () {
  this.timeout(30_000);
  const cluster = useCluster();
  let namespace = "";

  before(async () => {
    namespace = await cluster.createNamespace();
  });

  for (const [accepted, fields] of cases) {
    it(`agree on ${JSON.stringify(fields).slice(0, 50)} (${accepted ? "taken" : "refused"})`, async () => {
      const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" }, ...fields };
      const path = `/api/v1/namespaces/${namespace}/configmaps?dryRun=All&fieldValidation=Strict`;
      const { status, body } = await callApi(cluster.kubeconfig, { method: "POST", path, body: object });
      expect(status < 300, JSON.stringify(body).slice(0, 500)).to.equal(accepted);
      const problems = checkConfigMap(object);
      expect(problems.length === 0, JSON.stringify(problems)).to.equal(accepted);
    });
  }
});

const secretCases: readonly (readonly [boolean, DraftObject])[] = [
  [true, {}],
  [true, { type: "Opaque", data: { a: "YQ==" }, stringData: { a: "b", c: "" }, immutable: true }],
  [true, { data: null, stringData: null }],
  [true, { data: { a: Buffer.alloc(1024 * 1024).toString("base64") } }],
  [false, { data: { a: Buffer.alloc(1024 * 1024 + 1).toString("base64") } }],
  [false, { data: { a: "plain text" } }],
  [false, { data: { a: "YQ" } }],
  [false, { data: { "a b": "" } }],
  [false, { stringData: { "a b": "" } }],
  [false, { stringData: { port: 80 } }],
  [false, { binaryData: {} }],
];

describe("the offline check of Secrets and the API server", function () {
  this.timeout(30_000);
  const cluster = useCluster();
  let namespace = "";

  before(async () => {
    namespace = await cluster.createNamespace();
  });

  for (const [accepted, fields] of secretCases) {
    it(`agree on ${JSON.stringify(fields).slice(0, 50)} (${accepted ? "taken" : "refused"})`, async () => {
      const object = { apiVersion: "v1", kind: "Secret", metadata: { name: "a" }, ...fields };
      const path = `/api/v1/namespaces/${namespace}/secrets?dryRun=All&fieldValidation=Strict`;
      const { status, body } = await callApi(cluster.kubeconfig, { method: "POST", path, body: object });
      expect(status < 300, JSON.stringify(body).slice(0, 500)).to.equal(accepted);
      const problems = checkSecret(object);
      expect(problems.length === 0, JSON.stringify(problems)).to.equal(accepted);
    });
  }
});
