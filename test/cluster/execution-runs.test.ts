import { randomBytes } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { ExecutionStatus } from "../../controller/api/types.ts";
import { millrace, type Ran } from "../support/millrace.ts";
import { useCluster } from "./cluster.ts";
import { ControllerProcess } from "./controller-process.ts";
import { conditions, type Manifest, Namespace, pipeline, processor } from "./manifests.ts";
import { type RecordingProcessor, recordingProcessor } from "./recording-processor.ts";

const upper = processor("upper", { local: { builtin: "text.uppercase" } });

interface TokenClaims {
  readonly aud: readonly string[];
  readonly iat: number;
  readonly exp: number;
}

function execution(name: string, spec: Readonly<Record<string, unknown>>): Manifest {
  return { kind: "Execution", metadata: { name }, spec };
}

function chain(processorName: string, ...names: readonly string[]): readonly Readonly<Record<string, unknown>>[] {
  return names.map((name, index) => ({
    name,
    processor: processorName,
    ...(index === 0 ? {} : { dependsOn: [names[index - 1]] }),
  }));
}

describe("Executions in a real cluster", function () {
  this.timeout(120_000);
  const cluster = useCluster();
  let controller: ControllerProcess;
  let namespace: Namespace;
  let remote: RecordingProcessor;
  /** Of the whole store, before the test. */
  let startVersion: string;

  before(async () => {
    controller = await ControllerProcess.start({
      kubeconfig: cluster.kubeconfig,
      args: ["--lease-namespace", "default"],
    });
  });
  after(async () => {
    await controller?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    namespace = await Namespace.create(cluster);
    startVersion = (await namespace.get(`namespace/${namespace.name}`)).metadata.resourceVersion;
    remote = await recordingProcessor();
  });
  afterEach(async () => {
    await remote?.[Symbol.asyncDispose]();
  });

  /** An HTTP processor that this process answers for. */
  function recording(): Manifest {
    const retry = { limit: 0 };
    return processor("remote", { rpc: { protocol: "HTTP", endpoint: remote.endpoint }, timeout: "60s", retry });
  }

  async function statusOf(name: string): Promise<ExecutionStatus> {
    return (await namespace.get(`mexec/${name}`)).status as unknown as ExecutionStatus;
  }

  function output(...args: readonly string[]): Promise<Ran> {
    return millrace(["output", "--kubeconfig", cluster.kubeconfig, "--namespace", namespace.name, ...args]);
  }

  it("succeeds, at the price of one write, and kubectl's wait and get say so", async () => {
    await namespace.apply(upper, pipeline("loud", { steps: chain("upper", "a", "b", "c", "d", "e") }));
    await namespace.wait("mpipe/loud", "condition=Ready");
    await namespace.apply(execution("one", { pipeline: "loud", input: { text: "hello" } }));
    await namespace.wait("mexec/one", "condition=Succeeded");
    await namespace.wait("mexec/one", "condition=Complete");
    expect(await namespace.kubectl("get", "mexec", "one", "--no-headers")).to.match(
      /^one +Succeeded +5\/5 +loud +\S+ +5 steps succeeded/,
    );
    expect((await statusOf("one")).output).to.deep.equal({ text: "HELLO", contentType: "text/plain; charset=utf-8" });
    expect(await writesOf("one")).to.equal(1);
    const events = await namespace.kubectl("get", "events", "--field-selector=involvedObject.name=one", "-o", "name");
    expect(events).to.equal("");
    expect((await output("one")).stdout).to.equal("HELLO");
  });

  /** Versions of the object that a watch from its creation shows, the creation left out. */
  async function writesOf(name: string): Promise<number> {
    const path = `/apis/millrace.dev/v1alpha1/namespaces/${namespace.name}/executions`;
    const query = `watch=true&fieldSelector=metadata.name%3D${name}&resourceVersion=${startVersion}&timeoutSeconds=1`;
    const lines = (await cluster.kubectl(["get", "--raw", `${path}?${query}`])).trim().split("\n");
    return lines.filter((line) => (JSON.parse(line) as { type: string }).type === "MODIFIED").length;
  }

  it("tells a failure in its phase, its message and one event", async () => {
    await namespace.apply(
      upper,
      pipeline("wrong", { steps: [{ name: "a", processor: "upper", input: "input.nothing.here" }] }),
      execution("one", { pipeline: "wrong", input: { json: {} } }),
    );
    await namespace.wait("mexec/one", "condition=Complete");
    const status = await statusOf("one");
    expect(status.phase).to.equal("Failed");
    expect(status.steps?.[0]?.error?.code).to.equal("InvalidInput");
    const { Succeeded, Stalled } = conditions(await namespace.get("mexec/one"));
    expect(Succeeded).to.include({ status: "False", reason: "StepFailed" });
    expect(Stalled?.status).to.equal("True");
    expect(await eventually(() => namespace.kubectl("describe", "mexec", "one"), /Warning +StepFailed/)).to.match(
      /step "a" failed: InvalidInput/,
    );
    const printed = await output("one");
    expect(printed.code).to.equal(1);
    expect(printed.stderr).to.contain('Execution "one" has no output, it is Failed');
  });

  it("reports a longer run while it runs, shows its events, and aborts it on cancel: Immediate", async () => {
    remote.before = () => new Promise(() => {});
    await namespace.apply(
      recording(),
      pipeline("slow", { steps: chain("remote", "a", "b") }),
      execution("one", { pipeline: "slow" }),
    );
    await namespace.wait("mexec/one", "jsonpath={.status.phase}=Running");
    expect((await statusOf("one")).steps?.map(({ state }) => state)).to.deep.equal(["Running", "Waiting"]);
    await namespace.kubectl("patch", "mexec", "one", "--type=merge", "-p", '{"spec":{"cancel":"Immediate"}}');
    await namespace.wait("mexec/one", "condition=Complete");
    const status = await statusOf("one");
    expect(status.phase).to.equal("Cancelled");
    expect(status.observedGeneration).to.equal(2);
    expect(await eventually(() => namespace.kubectl("describe", "mexec", "one"), /Cancelled/)).to.match(/Started/);
  });

  it("lets neither an edit nor the deletion of its Pipeline change a run", async () => {
    const held = Promise.withResolvers<void>();
    remote.before = () => held.promise;
    await namespace.apply(
      recording(),
      upper,
      pipeline("changing", { steps: [...chain("remote", "a"), { name: "b", processor: "upper", dependsOn: ["a"] }] }),
      execution("one", { pipeline: "changing", input: { text: "kept" } }),
    );
    await remote.called(1);
    await namespace.apply(pipeline("changing", { steps: chain("upper", "x") }));
    await namespace.kubectl("delete", "mpipe", "changing");
    held.resolve();
    await namespace.wait("mexec/one", "condition=Succeeded");
    const status = await statusOf("one");
    expect(status.steps?.map(({ name }) => name)).to.deep.equal(["a", "b"]);
    expect(status.output?.text).to.equal("KEPT");
    const revisions = await namespace.kubectl("get", "controllerrevisions", "-o", "name");
    expect(revisions).to.contain(status.pipelineRevision);
  });

  it("waits for its Pipeline and runs as soon as it is there", async () => {
    await namespace.apply(execution("one", { pipeline: "later", input: { text: "x" } }));
    await namespace.waitFor("mexec/one", "Succeeded", "Unknown", "PipelineNotFound");
    await namespace.apply(upper, pipeline("later", { steps: chain("upper", "a") }));
    await namespace.wait("mexec/one", "condition=Succeeded");
  });

  it("keeps large outputs in its store and gives them out to whoever may have them", async () => {
    const large = randomBytes(300_000);
    remote.answer = () => large;
    await namespace.apply(
      recording(),
      pipeline("large", { steps: chain("remote", "a") }),
      execution("one", { pipeline: "large" }),
    );
    await namespace.wait("mexec/one", "condition=Succeeded");
    expect((await statusOf("one")).output?.payload?.bytes).to.equal(300_000);

    // The control plane makes it some time after the namespace.
    await namespace.wait("serviceaccount/default", "create");
    const refused = await output("one", "--lease-namespace", "default");
    expect(refused.code).to.equal(1);

    expect(refused.stderr).to.contain("executions/payload");
    const role = ["create", "role", "reader", "--verb=get", "--resource=executions.millrace.dev/payload"];
    await namespace.kubectl(...role);
    await namespace.kubectl(
      "create",
      "rolebinding",
      "reader",
      "--role=reader",
      `--serviceaccount=${namespace.name}:default`,
    );
    const { payloads } = await controller.line("listening");
    const file = join(tmpdir(), `millrace-output-${crypto.randomUUID()}`);
    try {
      const printed = await output("one", "a", "--server", String(payloads), "--to", file);
      expect(printed).to.deep.equal({ code: 0, stdout: "", stderr: "" });
      expect(large.equals(await readFile(file))).to.equal(true);
    } finally {
      await rm(file, { force: true });
    }
    await refusesToShowItsToken();
    const discovered = await output("one", "--lease-namespace", "default", "-o", "json");
    expect(discovered.stderr).to.equal("");
    expect(JSON.parse(discovered.stdout)).to.include({ bytes: 300_000, base64: large.toString("base64") });
  });

  /** To anybody over plain http; and what it shows on loopback is good for payloads, and for nothing else. */
  async function refusesToShowItsToken(): Promise<void> {
    const refused = await output("one", "--server", "http://192.0.2.1:8082");
    expect(refused.code).to.equal(1);
    expect(refused.stderr).to.contain("no token is sent").and.contain("in the clear");
    const shown: (string | undefined)[] = [];
    const listener = createServer((request, response) => {
      shown.push(request.headers.authorization);
      response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    try {
      await output("one", "--server", `http://127.0.0.1:${(listener.address() as AddressInfo).port}`);
    } finally {
      listener.close();
    }
    expect(shown).to.have.length(1);
    const claims = JSON.parse(Buffer.from(shown[0]?.split(".")[1] ?? "", "base64url").toString()) as TokenClaims;
    expect(claims.aud).to.deep.equal(["millrace"]);
    expect(claims.exp - claims.iat).to.equal(600);
  }

  it("deletes a finished Execution when its ttl is over, also one that was set after the end", async () => {
    await namespace.apply(
      upper,
      pipeline("short", { steps: chain("upper", "a"), ttlSecondsAfterFinished: 1 }),
      pipeline("kept", { steps: chain("upper", "a") }),
      execution("one", { pipeline: "short" }),
      execution("two", { pipeline: "kept" }),
    );
    await namespace.wait("mexec/one", "delete");
    await namespace.wait("mexec/two", "condition=Succeeded");
    await namespace.kubectl("patch", "mexec", "two", "--type=merge", "-p", '{"spec":{"ttlSecondsAfterFinished":1}}');
    await namespace.wait("mexec/two", "delete");
  });

  it("refuses what its Pipeline does not take, saying what would be right", async () => {
    const parameters = [{ name: "language", schema: { type: "string", enum: ["en", "de"] } }];
    await namespace.apply(
      upper,
      pipeline("picky", { steps: chain("upper", "a"), parameters }),
      execution("one", { pipeline: "picky", parameters: [{ name: "language", value: "fr" }] }),
    );
    await namespace.wait("mexec/one", "condition=Complete");
    const { Succeeded } = conditions(await namespace.get("mexec/one"));
    expect(Succeeded).to.include({ status: "False", reason: "InvalidInput" });
    expect(Succeeded?.message).to.contain("parameters.language");
  });
});

/** Events are written apart from the status, and later. */
async function eventually(read: () => Promise<string>, pattern: RegExp): Promise<string> {
  for (;;) {
    const text = await read();
    if (pattern.test(text)) return text;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
