import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { useCluster } from "./cluster.ts";
import { ControllerProcess } from "./controller-process.ts";
import { conditions, Namespace, pipeline, processor } from "./manifests.ts";

const fixtures = join(import.meta.dirname, "../fixtures/wasm");

describe("Processors in a real cluster", function () {
  this.timeout(60_000);
  const cluster = useCluster();
  let plugins: string;
  let controller: ControllerProcess;
  let namespace: Namespace;

  before(async () => {
    plugins = await mkdtemp(join(tmpdir(), "millrace-plugins-"));
    await writeFile(join(plugins, "good.mjs"), "export async function process(r) { return { payload: r.payload } }");
    await writeFile(join(plugins, "bad.mjs"), "export const nothing = 1;");
    controller = await ControllerProcess.start({
      kubeconfig: cluster.kubeconfig,
      args: ["--plugins-dir", plugins],
    });
  });
  after(async () => {
    await controller?.[Symbol.asyncDispose]();
    if (plugins) await rm(plugins, { recursive: true, force: true });
  });
  beforeEach(async () => {
    namespace = await Namespace.create(cluster);
  });

  it("is Ready when its built-in is loaded, and kubectl get reads well", async () => {
    await namespace.apply(processor("upper", { local: { builtin: "text.uppercase" } }));
    await namespace.wait("mproc/upper", "condition=Ready");
    const object = await namespace.get("mproc/upper");
    expect(object.status).to.include({ observedGeneration: 1, backend: "Local" });
    expect(conditions(object)).to.have.all.keys("Ready", "PluginLoaded");
    expect(await namespace.kubectl("get", "mproc", "upper", "--no-headers")).to.match(
      /^upper +Transform +Local +True +Loaded/,
    );
  });

  it("is Stalled with the exact reason when its built-in does not exist, and becomes Ready when it is mended", async () => {
    await namespace.apply(processor("upper", { local: { builtin: "text.upcase" } }));
    await namespace.wait("mproc/upper", "condition=Stalled");
    const { Ready, Stalled } = conditions(await namespace.get("mproc/upper"));
    expect(Ready).to.include({ status: "False", reason: "BuiltinNotFound" });
    expect(Stalled).to.include({ reason: "BuiltinNotFound", observedGeneration: 1 });
    expect(Stalled?.message).to.contain("text.uppercase");

    await namespace.apply(processor("upper", { local: { builtin: "text.uppercase" } }));
    await namespace.wait("mproc/upper", "condition=Ready");
    expect(conditions(await namespace.get("mproc/upper"))).to.have.all.keys("Ready", "PluginLoaded");
  });

  it("tells by events what became of it", async () => {
    await namespace.apply(processor("upper", { local: { builtin: "text.upcase" } }));
    await namespace.wait("mproc/upper", "condition=Stalled");
    await namespace.apply(processor("upper", { local: { builtin: "text.uppercase" } }));
    await namespace.wait("mproc/upper", "condition=Ready");
    await namespace.kubectl("wait", "event", "--all", "--for=jsonpath={.reason}", "--timeout=10s");
    const events = await namespace.kubectl(
      "get",
      "events",
      "-o",
      'jsonpath={range .items[*]}{.type} {.reason}{"\\n"}{end}',
    );
    expect(events).to.contain("Warning BuiltinNotFound");
  });

  it("serves its old generation on while a bad new one is refused, and says so", async () => {
    const module = (file: string) => processor("echo", { local: { module: { file } } });
    await namespace.apply(module("good.mjs"), pipeline("one", { steps: [{ name: "a", processor: "echo" }] }));
    await namespace.wait("mproc/echo", "condition=Ready");
    await namespace.wait("mpipe/one", "condition=Ready");
    const digest = (await namespace.get("mproc/echo")).status.module;

    await namespace.apply(module("bad.mjs"));
    await namespace.wait("mproc/echo", "condition=Stalled");
    const object = await namespace.get("mproc/echo");
    const { Ready, Stalled, PluginLoaded } = conditions(object);
    expect(object.status.observedGeneration).to.equal(2);
    expect(Ready).to.include({ status: "True", reason: "PreviousVersionServes", observedGeneration: 1 });
    expect(Stalled).to.include({ observedGeneration: 2 });
    expect(PluginLoaded).to.include({ status: "False", observedGeneration: 2 });
    expect(object.status.module).to.deep.equal(digest);
    expect(conditions(await namespace.get("mpipe/one")).Ready).to.include({ status: "True" });
    // kubectl takes the old generation's Ready for what it is.
    const waited = await namespace.kubectl("wait", "mproc/echo", "--for=condition=Ready", "--timeout=1s").catch(String);
    expect(waited).to.contain("timed out");

    await namespace.apply(module("good.mjs"));
    await namespace.wait("mproc/echo", "condition=Ready");
    expect(conditions(await namespace.get("mproc/echo")).Ready).to.include({
      reason: "Loaded",
      observedGeneration: 3,
    });
  });

  it("names the digest that it wanted and the one that it found", async () => {
    const digest = `sha256:${"0".repeat(64)}`;
    await namespace.apply(processor("echo", { local: { module: { file: "good.mjs", digest } } }));
    await namespace.waitFor("mproc/echo", "Stalled", "True", "ModuleRefused");
    const found = createHash("sha256")
      .update(await readFile(join(plugins, "good.mjs")))
      .digest("hex");
    expect(conditions(await namespace.get("mproc/echo")).Stalled?.message)
      .to.contain(found)
      .and.contain(digest);
  });

  it("loads a WASM module when its ConfigMap appears, and anew when it changes", async () => {
    const source = { configMapKeyRef: { name: "words", key: "words.wasm" } };
    const replace = async (bytes: Buffer) => {
      const patch = JSON.stringify({ binaryData: { "words.wasm": bytes.toString("base64") } });
      await namespace.kubectl("patch", "configmap", "words", "--type=merge", "-p", patch);
    };
    await namespace.apply(processor("words", { wasm: { source } }));
    await namespace.waitFor("mproc/words", "Stalled", "True", "ModuleNotFound");

    await namespace.kubectl(
      "create",
      "configmap",
      "words",
      `--from-file=words.wasm=${join(fixtures, "reference.wasm")}`,
    );
    await namespace.wait("mproc/words", "condition=Ready");
    const first = (await namespace.get("mproc/words")).status.module as { digest: string; abi: string };
    expect(first.abi).to.equal("Direct");

    // The same code with a custom section behind it: other bytes, another digest.
    const changed = Buffer.concat([await readFile(join(fixtures, "reference.wasm")), Buffer.from([0, 2, 1, 0x78])]);
    await replace(changed);
    const digest = `sha256:${createHash("sha256").update(changed).digest("hex")}`;
    await namespace.wait("mproc/words", `jsonpath={.status.module.digest}=${digest}`);
    expect(first.digest).not.to.equal(digest);

    await replace(Buffer.from("this is no module"));
    await namespace.wait("mproc/words", "condition=Stalled");
    const { Ready, ModuleCached } = conditions(await namespace.get("mproc/words"));
    expect(Ready).to.include({ status: "True", reason: "PreviousVersionServes" });
    expect(Ready?.message).to.contain(digest);
    expect(ModuleCached).to.include({ status: "False", reason: "ModuleRefused" });
  });

  it("follows its endpoint: unreachable, there, and gone again", async () => {
    const { server, port } = await listen();
    server.close();
    await namespace.apply(processor("remote", { rpc: { protocol: "HTTP", endpoint: `http://127.0.0.1:${port}` } }));
    await namespace.waitFor("mproc/remote", "EndpointReachable", "False", "EndpointUnreachable");
    const object = await namespace.get("mproc/remote");
    expect(conditions(object).Ready).to.include({ status: "False" });
    // Nobody has to change the object: it is on its way.
    expect(conditions(object)).to.have.property("Reconciling");
    expect(conditions(object)).not.to.have.property("Stalled");

    const again = await listen(port);
    try {
      await namespace.wait("mproc/remote", "condition=Ready");
      expect(conditions(await namespace.get("mproc/remote"))).to.have.all.keys("Ready", "EndpointReachable");
    } finally {
      again.server.close();
    }
  });

  it("refuses an optionsSchema that refers to another host", async () => {
    const optionsSchema = { $ref: "https://example.com/schema.json" };
    await namespace.apply(processor("upper", { local: { builtin: "text.uppercase" }, optionsSchema }));
    await namespace.waitFor("mproc/upper", "Stalled", "True", "InvalidOptionsSchema");
  });

  it("makes no write for what is already as it should be, also after a restart", async () => {
    await namespace.apply(
      processor("upper", { local: { builtin: "text.uppercase" } }),
      processor("none", { local: { builtin: "text.none" } }),
      pipeline("one", { steps: [{ name: "a", processor: "upper" }] }),
      pipeline("two", { steps: [{ name: "a", processor: "missing" }] }),
    );
    await namespace.wait("mpipe/one", "condition=Ready");
    await namespace.waitFor("mproc/none", "Stalled", "True", "BuiltinNotFound");
    await namespace.waitFor("mpipe/two", "Ready", "False", "ProcessorNotFound");
    const versions = () =>
      namespace.kubectl("get", "mproc,mpipe", "-o", "jsonpath={.items[*].metadata.resourceVersion}");
    const before = await versions();

    await using second = await ControllerProcess.start({
      kubeconfig: cluster.kubeconfig,
      args: ["--namespace", namespace.name],
    });
    // A new object is seen through: by then all that were there before have been looked at.
    await namespace.apply(pipeline("zebra", { steps: [{ name: "a", processor: "upper" }] }));
    await namespace.wait("mpipe/zebra", "condition=Ready");
    expect((await versions()).split(" ").slice(0, -1)).to.have.members(
      before.split(" ").filter((version) => version !== ""),
    );
    // That of the new one, once more where the first controller was there before it; the four old ones need none.
    expect(await second.patches()).to.be.at.most(2);
  });
});

function listen(port = 0): Promise<{ readonly server: Server; readonly port: number }> {
  const server = createServer((_, response) => response.end());
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve({ server, port: (server.address() as AddressInfo).port }));
  });
}
