import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { useCluster } from "./cluster.ts";
import { ControllerProcess } from "./controller-process.ts";
import { conditions, Namespace, pipeline, processor } from "./manifests.ts";

const source = `export function process({ payload }, { secrets }) {
  if (Buffer.from(payload).toString() === "fail") throw new Error("refused " + secrets.token);
  return secrets.token.split("").reverse().join("");
}`;

describe("Secrets of Processors in a real cluster", function () {
  this.timeout(60_000);
  const cluster = useCluster();
  let plugins: string;
  let controller: ControllerProcess;
  let namespace: Namespace;

  before(async () => {
    plugins = await mkdtemp(join(tmpdir(), "millrace-plugins-"));
    await writeFile(join(plugins, "keyed.mjs"), source);
    controller = await ControllerProcess.start({ kubeconfig: cluster.kubeconfig, args: ["--plugins-dir", plugins] });
  });
  after(async () => {
    await controller?.[Symbol.asyncDispose]();
    if (plugins) await rm(plugins, { recursive: true, force: true });
  });
  beforeEach(async () => {
    namespace = await Namespace.create(cluster);
    const secrets = [{ name: "token", secretKeyRef: { name: "api", key: "token" } }];
    await namespace.apply(
      processor("keyed", { local: { module: { file: "keyed.mjs" } }, secrets, retry: { limit: 0 } }),
      pipeline("one", { steps: [{ name: "a", processor: "keyed" }] }),
    );
  });

  const put = (token: string) =>
    namespace.apply({ apiVersion: "v1", kind: "Secret", metadata: { name: "api" }, stringData: { token } });

  async function run(name: string, text: string, phase: string): Promise<string> {
    await namespace.apply({ kind: "Execution", metadata: { name }, spec: { pipeline: "one", input: { text } } });
    await namespace.wait(`mexec/${name}`, `jsonpath={.status.phase}=${phase}`);
    return JSON.stringify(await namespace.get(`mexec/${name}`));
  }

  it("are waited for, given, and given anew when they change, without another load", async () => {
    await namespace.waitFor("mproc/keyed", "Ready", "False", "SecretNotFound");
    await put("first-value");
    await namespace.wait("mproc/keyed", "condition=Ready");
    expect(await run("one", "x", "Succeeded")).to.contain("eulav-tsrif");
    const before = conditions(await namespace.get("mproc/keyed"));
    await put("second-value");
    let output = await run("two", "x", "Succeeded");
    for (let turn = 0; !output.includes("eulav-dnoces") && turn < 20; turn += 1) {
      output = await run(`again-${turn}`, "x", "Succeeded");
    }
    expect(output).to.contain("eulav-dnoces");
    expect(conditions(await namespace.get("mproc/keyed"))).to.deep.equal(before);
  });

  it("are in no status, event or log line, also where a processor throws them; a lost one is said", async () => {
    await put("k3y-0815-4711");
    await namespace.wait("mproc/keyed", "condition=Ready");
    const failed = await run("fails", "fail", "Failed");
    expect(failed).to.contain("refused ***");
    const everything = await namespace.kubectl("get", "mexec,mproc,mpipe,events,controllerrevisions", "-o", "json");
    expect(everything).to.contain("refused ***").and.not.contain("k3y-0815");
    expect(controller.output + JSON.stringify(controller.log)).not.to.contain("k3y-0815");
    await namespace.kubectl("delete", "secret", "api");
    await namespace.waitFor("mproc/keyed", "Ready", "False", "SecretNotFound");
    expect(await run("lost", "x", "Failed"))
      .to.contain("Unavailable")
      .and.contain("does not exist");
  });
});
