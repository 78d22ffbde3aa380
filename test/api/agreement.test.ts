import { readFile } from "node:fs/promises";
import { expect } from "chai";
import fc from "fast-check";
import type { FieldProblem } from "../../controller/api/structural-schema.ts";
import { validateObject } from "../../controller/api/validation.ts";
import { callApi } from "../cluster/api-call.ts";
import { type Cluster, useCluster } from "../cluster/cluster.ts";
import type { AgreementCase, KubeObject } from "./case-builders.ts";
import { agreementCases } from "./cases.ts";
import { randomObjects } from "./random-objects.ts";

/** What the server says to a dry run. */
interface Verdict {
  readonly accepted: boolean;
  readonly paths: readonly string[];
  readonly object: Partial<KubeObject>;
  readonly said: string;
}

interface Status {
  readonly message?: string;
  readonly details?: { readonly causes?: readonly { readonly field?: string }[] };
}

const differences = new URL("../../controller/api/DIFFERENCES.md", import.meta.url);

/** Sends the case to the server; gives its verdict, and the object as it was before, when it is an update. */
async function ask(cluster: Cluster, namespace: string, { object, old }: AgreementCase) {
  const path = `/apis/millrace.dev/v1alpha1/namespaces/${namespace}/${object.kind.toLowerCase()}s`;
  const query = "dryRun=All&fieldValidation=Strict";
  if (old === undefined) {
    const answer = await callApi(cluster.kubeconfig, { method: "POST", path: `${path}?${query}`, body: object });
    return { verdict: verdictOf(answer.status, answer.body), current: undefined, sent: object };
  }
  const name = `u-${crypto.randomUUID()}`;
  const created = await callApi(cluster.kubeconfig, { method: "POST", path, body: { ...old, metadata: { name } } });
  expect(created.status, JSON.stringify(created.body).slice(0, 1000)).to.equal(201);
  const current = created.body as KubeObject;
  const sent = { ...object, metadata: { ...object.metadata, name, resourceVersion: current.metadata.resourceVersion } };
  const answer = await callApi(cluster.kubeconfig, { method: "PUT", path: `${path}/${name}?${query}`, body: sent });
  await callApi(cluster.kubeconfig, { method: "DELETE", path: `${path}/${name}` });
  return { verdict: verdictOf(answer.status, answer.body), current, sent };
}

function verdictOf(status: number, body: unknown): Verdict {
  const { message = "", details } = body as Status;
  if (status < 300) return { accepted: true, paths: [], object: body as KubeObject, said: "" };
  expect(status, message).to.be.oneOf([400, 422]);
  const causes = (details?.causes ?? []).map(({ field = "" }) => field).filter((field) => !/^(<nil>)?$/.test(field));
  const unknown = [...message.matchAll(/unknown field "([^"]+)"/g)].map(([, field = ""]) => field);
  return { accepted: false, paths: unique([...causes, ...unknown]), object: {}, said: message };
}

function unique(paths: readonly string[]): string[] {
  return [...new Set(paths)].toSorted();
}

function differenceOf(verdict: Verdict, problems: readonly FieldProblem[]): string | undefined {
  const said = `the server: ${verdict.said.slice(0, 800) || "yes"}; offline: ${JSON.stringify(problems).slice(0, 800)}`;
  if (verdict.accepted !== (problems.length === 0)) return `not the same decision: ${said}`;
  const paths = unique(problems.map(({ path }) => path));
  return JSON.stringify(paths) === JSON.stringify(verdict.paths) ? undefined : `not the same fields: ${said}`;
}

describe("offline validation and the API server", function () {
  this.timeout(60_000);
  const cluster = useCluster();
  let namespace = "";

  before(async () => {
    namespace = await cluster.createNamespace();
  });

  for (const entry of agreementCases) {
    it(`agree on ${entry.name}`, async () => {
      const { verdict, current, sent } = await ask(cluster, namespace, entry);
      const { object, problems } = validateObject(sent, current === undefined ? {} : { old: current });
      expect(verdict.accepted, `${verdict.said} ${JSON.stringify(problems)}`).to.equal(entry.accepted);
      const difference = differenceOf(verdict, problems);
      if (entry.difference === undefined && difference !== undefined) expect.fail(difference);
      if (entry.difference !== undefined) expect(difference, "a documented difference that is none").to.be.a("string");
      if (!verdict.accepted) return;
      expect(pick(object)).to.deep.equal(pick(verdict.object));
    });
  }
});

/** What is compared of an object that was taken: all but the metadata, which the server completes in its own way. */
function pick(object: unknown) {
  const { apiVersion, kind, spec, status } = object as KubeObject;
  return { apiVersion, kind, spec, status };
}

describe("offline validation and the API server, on objects made at random", function () {
  this.timeout(120_000);
  const cluster = useCluster();

  it("decide alike and fill in the same defaults", async () => {
    const namespace = await cluster.createNamespace();
    await fc.assert(
      fc.asyncProperty(randomObjects, async (object) => {
        const { verdict } = await ask(cluster, namespace, { name: "random", object, accepted: true });
        const offline = validateObject(object);
        const said = `${JSON.stringify(object)}: ${verdict.said} ${JSON.stringify(offline.problems)}`;
        expect(offline.problems.length === 0, said).to.equal(verdict.accepted);
        if (verdict.accepted) expect(pick(offline.object)).to.deep.equal(pick(verdict.object));
      }),
      { numRuns: 300 },
    );
  });
});

describe("the cases of offline validation", () => {
  it("are two hundred and more, of all kinds, good and bad, and none is there twice", () => {
    expect(agreementCases.length).to.be.at.least(200);
    const names = agreementCases.map(({ name }) => name);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).to.deep.equal([]);
  });

  it("are judged offline as they are meant, without a cluster", () => {
    for (const { name, object, old, accepted } of agreementCases) {
      const current = old === undefined ? undefined : validateObject(old).object;
      const { problems } = validateObject(object, current === undefined ? {} : { old: current });
      expect(problems.length === 0, `${name}: ${JSON.stringify(problems)}`).to.equal(accepted);
    }
  });

  it("name each row of DIFFERENCES.md, and no other", async () => {
    const rows = [...(await readFile(differences, "utf8")).matchAll(/^\| `(\w+)` +\|/gm)].map(([, id = ""]) => id);
    const named = new Set(agreementCases.flatMap(({ difference }) => difference ?? []));
    expect([...named]).to.have.members(rows);
  });
});
