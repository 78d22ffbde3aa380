import { expect } from "chai";
import type { ApiError, Client, KubernetesObject } from "../../../controller/api/client.ts";
import { configMaps, executions, leases } from "../../../controller/api/kinds.ts";
import { createEventRecorder } from "../../../controller/runtime/events.ts";
import { type ApiCall, createHttpClient } from "../../../controller/runtime/http-client.ts";
import { HttpTransport } from "../../../controller/runtime/http-transport.ts";
import { loadKubeConfig } from "../../../controller/runtime/kube-config.ts";
import { LeaderElector } from "../../../controller/runtime/lease.ts";
import { keyFor } from "../../../controller/runtime/object-key.ts";
import { Reflector } from "../../../controller/runtime/reflector.ts";
import { StatusWriter } from "../../../controller/runtime/status-writer.ts";
import { systemPorts } from "../../../engine/clock.ts";
import type { JsonObject } from "../../../engine/payload.ts";
import { useCluster, useControlPlane } from "../../cluster/cluster.ts";
import { silentLogger } from "./fakes.ts";

describe("the controller runtime on a real API server", function () {
  this.timeout(60_000);
  const cluster = useCluster();
  const signal = new AbortController().signal;
  const calls: ApiCall[] = [];
  let transport: HttpTransport;
  let client: Client;
  let namespace: string;

  before(() => {
    transport = new HttpTransport({
      config: loadKubeConfig({}, { kubeconfig: cluster.kubeconfig }),
      ports: systemPorts,
    });
    client = createHttpClient({ transport, ports: systemPorts, version: "0.0.0", onCall: (call) => calls.push(call) });
  });

  beforeEach(async () => {
    namespace = await cluster.createNamespace();
    calls.length = 0;
  });

  after(async () => {
    await transport?.[Symbol.asyncDispose]();
  });

  const configMap = (name: string, data: JsonObject = {}): JsonObject => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace },
    data,
  });

  const execution = (name: string): JsonObject => ({
    apiVersion: "millrace.dev/v1alpha1",
    kind: "Execution",
    metadata: { name, namespace },
    spec: { pipeline: "article" },
  });

  const owner = { replica: "millrace-0", epoch: 1 };
  const other = { replica: "millrace-1", epoch: 2 };
  const running = { phase: "Running", observedGeneration: 1, owner };

  function writer(onWritten?: (object: KubernetesObject) => void): StatusWriter {
    const common = { client, resource: executions, ports: systemPorts, logger: silentLogger };
    return new StatusWriter(onWritten ? { ...common, onWritten } : common);
  }

  const code = (promise: Promise<unknown>) =>
    promise.then(
      () => 200,
      (error: ApiError) => error.status.code,
    );

  it("creates, reads, changes and deletes objects, and strips managedFields", async () => {
    const ref = { namespace, name: "words" };
    const created = await client.create(configMaps, configMap("words", { a: "1" }), { namespace }, signal);
    expect(created.metadata).to.not.have.property("managedFields");
    const updated = await client.update(configMaps, { ...created, data: { a: "2" } }, undefined, signal);
    expect(await code(client.update(configMaps, { ...created, data: {} }, undefined, signal))).to.equal(409);
    const merged = await client.patch(
      configMaps,
      ref,
      { type: "Merge", body: { data: { b: "3" } } },
      undefined,
      signal,
    );
    expect(merged.data).to.deep.equal({ a: "2", b: "3" });
    const replace = [{ op: "replace", path: "/data/a", value: "4" }];
    await client.patch(configMaps, ref, { type: "Json", body: replace }, undefined, signal);
    const apply = { type: "Apply", body: configMap("words", { c: "5" }), fieldManager: "test", force: true } as const;
    await client.patch(configMaps, ref, apply, undefined, signal);
    expect((await client.get(configMaps, ref, signal)).data).to.deep.equal({ a: "4", b: "3", c: "5" });
    await client.delete(configMaps, ref, { uid: updated.metadata.uid ?? "" }, signal);
    expect(await code(client.get(configMaps, ref, signal))).to.equal(404);
    expect(calls.map(({ verb, code }) => `${verb} ${code}`)).to.deep.equal([
      "create 201",
      "update 200",
      "update 409",
      "patch 200",
      "patch 200",
      "patch 200",
      "get 200",
      "delete 200",
      "get 404",
    ]);
  });

  it("lists by pages and fills in what list items lack", async () => {
    for (const name of ["a", "b", "c"]) await client.create(configMaps, configMap(name), { namespace }, signal);
    const names: string[] = [];
    let token: string | undefined;
    do {
      const options = { namespace, limit: 2, ...(token === undefined ? {} : { continue: token }) };
      const page = await client.list(configMaps, options, signal);
      for (const item of page.items) names.push(`${item.apiVersion} ${item.kind} ${item.metadata.name}`);
      token = page.continue;
    } while (token !== undefined);
    // The kube-controller-manager may or may not have added its own yet.
    expect(names.filter((name) => !name.includes("kube-root-ca"))).to.deep.equal([
      "v1 ConfigMap a",
      "v1 ConfigMap b",
      "v1 ConfigMap c",
    ]);
  });

  it("keeps a live copy: adds, changes, deletes, objects of 900 KiB, and own writes at once", async () => {
    await client.create(configMaps, configMap("first"), { namespace }, signal);
    const options = { client, resource: configMaps, ports: systemPorts, logger: silentLogger, namespace };
    await using reflector = new Reflector(options);
    reflector.start();
    await reflector.synced;
    expect(reflector.get(keyFor({ namespace, name: "first" }))).to.not.equal(undefined);
    const changed = (name: string) =>
      new Promise<void>((resolve) => {
        const stop = reflector.onChange((key) => {
          if (key !== `${namespace}/${name}`) return;
          stop();
          resolve();
        });
      });
    const large = changed("large");
    await client.create(configMaps, configMap("large", { text: "é".repeat(450 * 1024) }), { namespace }, signal);
    await large;
    const read = reflector.get(keyFor({ namespace, name: "large" }));
    expect(read?.data)
      .to.have.property("text")
      .with.length(450 * 1024);
    const own = await client.create(configMaps, configMap("own"), { namespace }, signal);
    reflector.observe(own);
    expect(reflector.get(keyFor({ namespace, name: "own" }))?.metadata.uid).to.equal(own.metadata.uid);
    const gone = changed("first");
    await client.delete(configMaps, { namespace, name: "first" }, {}, signal);
    await gone;
    expect(reflector.get(keyFor({ namespace, name: "first" }))).to.equal(undefined);
  });

  it("ends a watch when its signal aborts, and when its consumer leaves", async () => {
    const stop = new AbortController();
    const { resourceVersion } = await client.list(configMaps, { namespace }, signal);
    const watched = (async () => {
      for await (const _ of client.watch(configMaps, { namespace, resourceVersion, timeoutSeconds: 300 }, stop.signal));
    })().catch((error: unknown) => error);
    stop.abort(new Error("enough"));
    expect(await watched).to.equal(stop.signal.reason);
  });

  it("writes a status once for many states in flight, and nothing when nothing changed", async () => {
    const created = await client.create(executions, execution("many"), { namespace }, signal);
    const status = writer();
    calls.length = 0;
    const outcomes = await Promise.all(
      [1, 2, 3, 4, 5].map((step) => status.put(created, { ...running, progress: `${step}/5` }, undefined, signal)),
    );
    expect(outcomes.map(({ kind }) => kind)).to.deep.equal(Array(5).fill("Written"));
    expect(calls.map(({ verb }) => verb)).to.deep.equal(["update", "update"]);
    const stored = await client.get(executions, { namespace, name: "many" }, signal);
    expect(stored.status).to.include({ progress: "5/5" });
    calls.length = 0;
    const again = await status.put(stored, { ...running, progress: "5/5" }, owner, signal);
    expect(again.kind).to.equal("Unchanged");
    expect(calls).to.deep.equal([]);
  });

  it("goes on after somebody labelled the Execution, and stops when another replica owns it", async () => {
    const created = await client.create(executions, execution("owned"), { namespace }, signal);
    await cluster.kubectl(["label", "mexec", "owned", "team=words", "--namespace", namespace]);
    const first = await writer().put(created, running, undefined, signal);
    expect(first.kind).to.equal("Written");
    const body = { status: { owner: other } };
    await client.patch(executions, { namespace, name: "owned" }, { type: "Merge", body }, "status", signal);
    const second = await writer().put(created, { ...running, progress: "1/1" }, owner, signal);
    expect(second.kind).to.equal("Lost");
  });

  it("removes a union's old member by merge patch, and never writes to a namesake", async () => {
    const created = await client.create(executions, execution("union"), { namespace }, signal);
    const status = writer();
    const one = await status.patch(created, { output: { text: "a", contentType: "text/plain" } }, signal);
    if (one.kind !== "Written") throw new Error(one.kind);
    const payload = { ref: `sha256:${"0".repeat(64)}`, bytes: 5120 };
    const two = await status.patch(one.object, { output: { payload, contentType: "text/plain" } }, signal);
    if (two.kind !== "Written") throw new Error(two.kind);
    expect((two.object.status as JsonObject).output).to.deep.equal({ payload, contentType: "text/plain" });
    await client.delete(executions, { namespace, name: "union" }, {}, signal);
    await client.create(executions, execution("union"), { namespace }, signal);
    expect((await status.patch(two.object, { phase: "Running" }, signal)).kind).to.equal("Gone");
  });

  it("elects one leader, and the next one as soon as the first gives its Lease back", async () => {
    const elector = (identity: string) =>
      new LeaderElector({
        client,
        ports: systemPorts,
        logger: silentLogger,
        namespace,
        name: "millrace",
        identity,
        leaseDurationMs: 3_000,
        renewDeadlineMs: 2_000,
        retryPeriodMs: 200,
      });
    const first = await elector("one").acquire(signal);
    expect(first.epoch).to.equal(0);
    const waiting = elector("two").acquire(signal);
    const held = await client.get(leases, { namespace, name: "millrace" }, signal);
    expect((held.spec as JsonObject).renewTime).to.match(/\.\d{6}Z$/);
    expect(first.signal.aborted).to.equal(false);
    await first[Symbol.asyncDispose]();
    const second = await waiting;
    expect(second.epoch).to.be.greaterThan(first.epoch);
    expect(first.signal.aborted).to.equal(true);
    await second[Symbol.asyncDispose]();
  });

  it("records events that kubectl describe shows, repeats counted", async () => {
    const created = await client.create(executions, execution("noted"), { namespace }, signal);
    const written: string[] = [];
    const observed = createHttpClient({
      transport,
      ports: systemPorts,
      version: "0.0.0",
      onCall: ({ verb }) => void written.push(verb),
    });
    await using events = createEventRecorder({
      client: observed,
      ports: systemPorts,
      logger: silentLogger,
      instance: "millrace-0",
    });
    events.record(created, { type: "Warning", reason: "StepFailed", message: "step count failed: InvalidInput" });
    while (written.length < 1) await new Promise((resolve) => setImmediate(resolve));
    events.record(created, { type: "Warning", reason: "StepFailed", message: "step count failed: InvalidInput" });
    while (written.length < 2) await new Promise((resolve) => setImmediate(resolve));
    expect(written).to.deep.equal(["create", "patch"]);
    const described = await cluster.kubectl(["describe", "mexec", "noted", "--namespace", namespace]);
    expect(described).to.match(
      /Warning\s+StepFailed\s+.*x2 over.*millrace\.dev\/millrace\s+step count failed: InvalidInput/,
    );
  });

  it("says who lacks which right, and how to give it", async () => {
    const config = loadKubeConfig({}, { kubeconfig: cluster.kubeconfig });
    const user = config.getCurrentUser();
    if (!user) throw new Error("the kubeconfig has no user");
    Object.assign(user, { impersonateUser: "guest" });
    await using guest = new HttpTransport({ config, ports: systemPorts });
    const asGuest = createHttpClient({ transport: guest, ports: systemPorts, version: "0.0.0" });
    const refused = await asGuest.list(configMaps, { namespace }, signal).catch((error: ApiError) => error);
    expect((refused as ApiError).status.code).to.equal(403);
    expect((refused as ApiError).message).to.include('User "guest" cannot list resource "configmaps"');
    expect((refused as ApiError).message).to.include("grant it with a Role");
  });
});

describe("the controller runtime while the API server is away", function () {
  this.timeout(120_000);
  const own = useControlPlane();

  it("says so, and sees what it missed once the server is back", async () => {
    const signal = new AbortController().signal;
    const { plane } = own;
    const namespace = "default";
    const config = loadKubeConfig({}, { kubeconfig: plane.kubeconfig });
    await using transport = new HttpTransport({ config, ports: systemPorts });
    const client = createHttpClient({ transport, ports: systemPorts, version: "0.0.0" });
    const configMap = (name: string) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace } });
    await client.create(configMaps, configMap("before"), { namespace }, signal);
    const options = { client, resource: configMaps, ports: systemPorts, logger: silentLogger, namespace };
    await using reflector = new Reflector(options);
    reflector.start();
    await reflector.synced;
    await plane.stopPart("kube-apiserver", "SIGKILL");
    const refused = await client
      .create(configMaps, configMap("during"), { namespace }, signal)
      .catch((e: ApiError) => e);
    expect((refused as ApiError).status).to.include({ code: 0, reason: "Unreachable" });
    expect(reflector.get(keyFor({ namespace, name: "before" }))).to.not.equal(undefined);
    await plane.startPart("kube-apiserver");
    await client.delete(configMaps, { namespace, name: "before" }, {}, signal);
    await client.create(configMaps, configMap("after"), { namespace }, signal);
    const caughtUp = Promise.withResolvers<void>();
    const check = () => {
      const has = (name: string) => reflector.get(keyFor({ namespace, name })) !== undefined;
      if (has("after") && !has("before")) caughtUp.resolve();
    };
    reflector.onChange(check);
    check();
    await caughtUp.promise;
  });
});
