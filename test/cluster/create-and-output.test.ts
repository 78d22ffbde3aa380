import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { parse } from "yaml";
import type { ExecutionSpec, PayloadRow } from "../../controller/api/types.ts";
import { type PayloadEndpoint, servePayloads } from "../../controller/payloads/endpoint.ts";
import { FileSystemStore } from "../../controller/payloads/file-system.ts";
import { ManifestWriter } from "../../controller/payloads/manifest.ts";
import { NamespaceUids } from "../../controller/payloads/namespaces.ts";
import type { PayloadRef } from "../../controller/payloads/store.ts";
import { createHttpClient } from "../../controller/runtime/http-client.ts";
import { HttpTransport } from "../../controller/runtime/http-transport.ts";
import { loadKubeConfig } from "../../controller/runtime/kube-config.ts";
import { systemPorts } from "../../engine/clock.ts";
import { digestOf, textPayload } from "../../engine/payload.ts";
import { silentLogger } from "../controller/runtime/fakes.ts";
import { millrace, type Ran } from "../support/millrace.ts";
import { useCluster } from "./cluster.ts";
import { Namespace, pipeline } from "./manifests.ts";

const never = new AbortController().signal;

/** The API server is real; what a controller would write the tests write themselves. */
describe("millrace create and millrace output against a real API server", function () {
  this.timeout(120_000);
  const cluster = useCluster();
  const opened = new AsyncDisposableStack();
  let folder: string;
  let store: FileSystemStore;
  let endpoint: PayloadEndpoint;
  let namespace: Namespace;
  let uid: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "millrace-create-"));
    opened.defer(() => rm(folder, { recursive: true, force: true }));
    const config = loadKubeConfig({}, { kubeconfig: cluster.kubeconfig });
    const transport = opened.use(new HttpTransport({ config, ports: systemPorts }));
    const client = createHttpClient({ transport, ports: systemPorts, version: "0.0.0" });
    store = opened.use(new FileSystemStore({ root: join(folder, "store"), clock: systemPorts.clock, writer: "test" }));
    const namespaces = new NamespaceUids(client, systemPorts.clock);
    const common = { client, store, namespaces, worksIn: [], ports: systemPorts, logger: silentLogger };
    endpoint = opened.use(await servePayloads({ ...common, host: "127.0.0.1", port: 0 }));
  });
  after(() => opened.disposeAsync());
  beforeEach(async () => {
    namespace = await Namespace.create(cluster);
    uid = await namespace.kubectl("get", "namespace", namespace.name, "-o", "jsonpath={.metadata.uid}");
  });

  function command(name: "create" | "output", ...args: readonly string[]): Promise<Ran> {
    return millrace([name, ...args, "--kubeconfig", cluster.kubeconfig, "-n", namespace.name]);
  }

  const create = (...args: readonly string[]) => command("create", ...args);

  /** Lets the namespace's default service account, as whom a client certificate's user asks, do this with payloads. */
  async function allow(verb: "get" | "create"): Promise<void> {
    await namespace.wait("serviceaccount/default", "create");
    await namespace.kubectl("create", "role", verb, `--verb=${verb}`, "--resource=executions.millrace.dev/payload");
    const account = `--serviceaccount=${namespace.name}:default`;
    await namespace.kubectl("create", "rolebinding", verb, `--role=${verb}`, account);
  }

  async function specOf(name: string): Promise<ExecutionSpec> {
    return (await namespace.get(`mexec/${name}`)).spec as unknown as ExecutionSpec;
  }

  /** As a controller would. */
  async function report(name: string, status: Readonly<Record<string, unknown>>): Promise<void> {
    const patch = JSON.stringify({ status });
    await namespace.kubectl("patch", "mexec", name, "--subresource=status", "--type=merge", "-p", patch);
  }

  function ended(phase: string, message = ""): Readonly<Record<string, unknown>> {
    const common = { lastTransitionTime: "2026-11-28T00:00:00Z", reason: phase, message };
    const succeeded = { ...common, type: "Succeeded", status: phase === "Succeeded" ? "True" : "False" };
    return { phase, conditions: [{ ...common, type: "Complete", status: "True" }, succeeded] };
  }

  it("puts small input into the Execution, by what it is, and the other flags where they belong", async () => {
    const parameters = [{ name: "greeting", schema: { type: "string" } }, { name: "count" }];
    await namespace.apply(pipeline("greet", { steps: [{ name: "a", processor: "upper" }], parameters }));
    await writeFile(join(folder, "in.json"), '{"pages": [1, 2]}');
    const first = await create(
      "greet",
      "--name",
      "one",
      "--input",
      `@${folder}/in.json`,
      "--param",
      "greeting=17",
      "--param",
      "count=3",
    );
    expect(first).to.deep.equal({ code: 0, stdout: "execution.millrace.dev/one created\n", stderr: "" });
    expect(await specOf("one")).to.deep.include({
      pipeline: "greet",
      input: { json: { pages: [1, 2] } },
      parameters: [
        { name: "greeting", value: "17" },
        { name: "count", value: 3 },
      ],
    });
    const second = await create(
      "greet",
      "--input",
      "hello",
      "--priority",
      "-5",
      "--suspend",
      "--retry-from",
      "one",
      "-o",
      "name",
    );
    const name = second.stdout.trim().replace("execution.millrace.dev/", "");
    expect(name).to.match(/^greet-[a-z0-9]{5}$/);
    expect(await specOf(name)).to.deep.include({
      input: { text: "hello" },
      priority: -5,
      suspend: true,
      retryFrom: { execution: "one" },
    });
    await writeFile(join(folder, "in.bin"), new Uint8Array([0xff, 0xfe]));
    await create("greet", "--name", "three", "--input", `@${folder}/in.bin`);
    expect((await specOf("three")).input).to.deep.equal({ base64: "//4=" });
  });

  it("puts 2 MiB of input into the payload store, for whoever may add payloads, and says what is missing else", async () => {
    const large = randomBytes(2 * 1024 * 1024);
    const file = join(folder, "large.bin");
    await writeFile(file, large);
    await namespace.wait("serviceaccount/default", "create");
    const args = ["article", "--name", "one", "--input", `@${file}`, "--server", endpoint.url];
    const refused = await create(...args);
    expect(refused.code).to.equal(1);
    expect(refused.stderr)
      .to.contain('may not "create" the resource "executions/payload"')
      .and.contain("--service-account");
    await allow("get");
    expect((await create(...args)).code).to.equal(1);
    await allow("create");
    // A no is believed for a second.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expect(await create(...args)).to.deep.equal({
      code: 0,
      stdout: "execution.millrace.dev/one created\n",
      stderr: "",
    });
    const payload = { ref: digestOf(large), contentType: "application/octet-stream" };
    expect((await specOf("one")).input).to.deep.equal({ payload });
    const kept = store.open(uid, { digest: payload.ref, bytes: large.byteLength, contentType: payload.contentType });
    expect(large.equals(await kept.bytes(never))).to.equal(true);
    await report("one", {
      ...ended("Succeeded"),
      output: { payload: { ref: payload.ref, bytes: large.byteLength }, contentType: "a/b" },
    });
    const copy = join(folder, "copy.bin");
    const printed = await command("output", "one", "--server", endpoint.url, "--to", copy);
    expect(printed).to.deep.equal({ code: 0, stdout: "", stderr: "" });
    expect(digestOf(await readFile(copy))).to.equal(payload.ref);
  });

  it("sends nothing with --dry-run=client, and keeps nothing with --dry-run=server", async () => {
    const client = await create("article", "--input", "x".repeat(100_000), "--dry-run", "client", "-o", "yaml");
    const draft = parse(client.stdout) as { metadata: object; spec: ExecutionSpec };
    expect(draft.metadata).to.deep.equal({ namespace: namespace.name, generateName: "article-" });
    expect(draft.spec.input?.text).to.have.length(100_000);
    const server = await create("article", "--name", "one", "--dry-run", "server");
    expect(server.stdout).to.equal("execution.millrace.dev/one created (server dry run)\n");
    expect(await namespace.kubectl("get", "mexec", "-o", "name")).to.equal("");
    const wrong = await create("article", "--name", "Not_a_name");
    expect(wrong.code).to.equal(1);
    expect(wrong.stderr).to.match(/metadata\.name: .* is no .* \(Use [^)]*\)\n$/);
    const usage = await create("article", "--timeout", "5s");
    expect([usage.code, usage.stderr.includes("--wait")]).to.deep.equal([2, true]);
  });

  it("waits, shows steps as they end, and exits by the outcome", async () => {
    for (const [name, phase, code, said] of [
      ["good", "Succeeded", 0, "good: Succeeded"],
      ["bad", "Failed", 1, 'error: Execution "bad" failed: step "a" failed: no ink'],
      ["ugly", "Cancelled", 130, 'error: Execution "ugly" was cancelled'],
    ] as const) {
      const waiting = create("article", "--name", name, "--wait");
      await namespace.wait(`mexec/${name}`, "create");
      await report(name, { phase: "Running", progress: "0/2", steps: [{ name: "a", state: "Running" }] });
      const steps = [{ name: "a", state: "Succeeded", durationMs: 12 }];
      await report(name, { phase: "Running", progress: "1/2", steps });
      await report(name, { ...ended(phase, phase === "Failed" ? 'step "a" failed: no ink' : ""), progress: "2/2" });
      const ran = await waiting;
      expect(ran.stdout).to.equal(`execution.millrace.dev/${name} created\n`);
      expect(ran.stderr).to.contain("a: Succeeded 12ms").and.contain(said);
      expect(ran.code, name).to.equal(code);
    }
  });

  it("stops to wait when the time is over, and when the Execution is deleted, and says so", async () => {
    const late = await create("article", "--name", "late", "--wait", "--timeout", "500ms", "-o", "name");
    expect([late.code, late.stdout]).to.deep.equal([1, "execution.millrace.dev/late\n"]);
    expect(late.stderr).to.contain("has not ended in time, it is Pending, and goes on");
    const deleted = create("article", "--name", "deleted", "--wait");
    await namespace.wait("mexec/deleted", "create");
    await namespace.kubectl("delete", "mexec", "deleted");
    const ran = await deleted;
    expect([ran.code, ran.stderr.includes("was deleted before it had ended")]).to.deep.equal([1, true]);
  });

  it("prints items of a fan-out, named outputs and metadata", async () => {
    await allow("get");
    await create("article", "--name", "one");
    const output = (...args: readonly string[]) => command("output", "one", ...args, "--server", endpoint.url);
    const writer = ManifestWriter.empty(store, uid);
    const refs: PayloadRef[] = [];
    for (const text of ["first", "second"]) refs.push(await store.put(uid, textPayload(text), never));
    const items = refs.map((ref, index) => ({
      index: index * 300,
      state: "Succeeded" as const,
      attempts: 1,
      output: { payload: { ref: ref.digest, bytes: ref.bytes }, contentType: ref.contentType },
      metadata: { words: String(index) },
    }));
    const error = { code: "ProcessorFailed", kind: "Processor", message: "no ink" } as const;
    await writer.add([...items, { index: 5, state: "Failed", attempts: 2, error }], never);
    const results = await writer.flush(never);
    const metadata = await store.put(uid, textPayload('{"big":"x"}'), never);
    const row: PayloadRow = { json: [1, 2], contentType: "application/json" };
    const fanOut = { total: 302, succeeded: 2, failed: 1, results: { ref: results.digest, bytes: results.bytes } };
    await report("one", {
      ...ended("Succeeded"),
      output: row,
      outputs: [{ name: "top", value: { text: "the top", contentType: "text/plain" } }],
      steps: [
        { name: "pages", state: "Succeeded", items: fanOut, output: row },
        { name: "count", state: "Succeeded", metadata: { words: "3" } },
        { name: "large", state: "Succeeded", metadataPayload: { ref: metadata.digest, bytes: metadata.bytes } },
      ],
    });
    expect(await output("pages", "--item", "300")).to.deep.equal({ code: 0, stdout: "second", stderr: "" });
    expect((await output("pages", "--item", "300", "--metadata")).stdout).to.equal('{"words":"1"}');
    expect((await output("pages")).stdout).to.equal("[1,2]");
    expect((await output("--output-name", "top")).stdout).to.equal("the top");
    expect((await output("count", "--metadata")).stdout).to.equal('{"words":"3"}');
    expect((await output("large", "--metadata")).stdout).to.equal('{"big":"x"}');
    for (const [args, code, said] of [
      [["pages", "--item", "5"], 1, "it is Failed: ProcessorFailed: no ink"],
      [["pages", "--item", "6"], 1, "has not ended yet"],
      [["pages", "--item", "302"], 1, "it has 302, counted from 0"],
      [["count", "--item", "0"], 1, "it has no forEach"],
      [["--output-name", "bottom"], 1, "it has top"],
      [["--item", "0"], 2, "is of a step"],
      [["pages", "--output-name", "top"], 2, "leave the step out"],
    ] as const) {
      const ran = await output(...args);
      expect(ran.stderr, args.join(" ")).to.contain(said);
      expect(ran.code, args.join(" ")).to.equal(code);
    }
  });
});
