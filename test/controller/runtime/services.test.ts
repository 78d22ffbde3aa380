import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { Registry } from "prom-client";
import { type HealthCheck, startProbeServer } from "../../../controller/runtime/health.ts";
import { KubeConfigError, loadKubeConfig, namespaceOf } from "../../../controller/runtime/kube-config.ts";
import { createLogger } from "../../../controller/runtime/logger.ts";
import { createMetrics } from "../../../controller/runtime/metrics.ts";
import { words } from "./fake-api.ts";

describe("the probe server", () => {
  const problems: { live?: string; ready?: string } = {};
  const checks: HealthCheck[] = [
    { name: "watch", kind: "Live", check: () => problems.live },
    { name: "sync", kind: "Ready", check: () => problems.ready },
  ];
  const address = { host: "127.0.0.1", port: 0 };

  beforeEach(() => {
    delete problems.live;
    delete problems.ready;
  });

  async function get(port: number, path: string): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return `${response.status} ${await response.text()}`;
  }

  it("answers ok, and check by check where asked", async () => {
    await using server = await startProbeServer({ address, checks });
    expect(await get(server.port, "/healthz")).to.equal("200 ok");
    expect(await get(server.port, "/readyz")).to.equal("200 ok");
    expect(await get(server.port, "/readyz?verbose")).to.equal("200 [+]watch ok\n[+]sync ok\nreadyz check passed\n");
    expect(await get(server.port, "/livez?verbose")).to.equal("200 [+]watch ok\nlivez check passed\n");
  });

  it("tells which check fails: readiness does not restart, liveness does both", async () => {
    await using server = await startProbeServer({ address, checks });
    problems.ready = "pipelines are not synced";
    expect(await get(server.port, "/livez")).to.equal("200 ok");
    expect(await get(server.port, "/readyz")).to.equal(
      "500 [+]watch ok\n[-]sync failed: pipelines are not synced\nreadyz check failed\n",
    );
    problems.live = "nothing heard for 400 s";
    expect(await get(server.port, "/healthz")).to.include("500 [-]watch failed: nothing heard");
  });

  it("survives a check that throws, a method and a path that it does not know", async () => {
    const broken: HealthCheck = {
      name: "broken",
      kind: "Live",
      check: () => {
        throw new Error("oops");
      },
    };
    await using server = await startProbeServer({ address, checks: [broken] });
    expect(await get(server.port, "/healthz")).to.include("[-]broken failed: oops");
    expect(await get(server.port, "/metrics")).to.equal("404 not found\n");
    expect((await fetch(`http://127.0.0.1:${server.port}/healthz`, { method: "POST" })).status).to.equal(405);
  });

  it("serves metrics at the same address or at one of their own", async () => {
    const registry = new Registry();
    const metrics = createMetrics(registry);
    metrics.apiCalled({ verb: "patch", resource: words, subresource: "status", code: 200, durationMs: 4 });
    metrics.executionFinished("Succeeded", 120);
    metrics.addGauge({
      name: "millrace_queue_depth",
      help: "Keys that wait.",
      labels: ["queue"],
      read: () => [{ labels: { queue: "execution" }, value: 3 }],
    });
    await using together = await startProbeServer({ address, checks, metrics: registry });
    const text = await get(together.port, "/metrics");
    expect(text).to.include('millrace_api_requests_total{verb="patch",code="200"} 1');
    expect(text).to.include('millrace_executions_total{outcome="Succeeded"} 1');
    expect(text).to.include('millrace_queue_depth{queue="execution"} 3');
    expect(text).to.include('millrace_execution_seconds_sum{outcome="Succeeded"} 0.12');
    await using apart = await startProbeServer({ address, checks, metrics: registry, metricsAddress: address });
    expect(await get(apart.port, "/metrics")).to.equal("404 not found\n");
    expect(await get(apart.metricsPort ?? 0, "/metrics")).to.include("millrace_api_requests_total");
  });

  it("names every metric by Prometheus' conventions", async () => {
    const registry = new Registry();
    createMetrics(registry);
    const names = registry.getMetricsAsArray().map(({ name }) => name);
    expect(names).to.have.length.greaterThan(8);
    for (const name of names) expect(name).to.match(/^millrace_[a-z_]+_(total|seconds|bytes)$/);
  });

  it("says so when the address is taken, and leaves nothing open", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => taken.once("listening", resolve));
    const { port } = taken.address() as { port: number };
    const metricsAddress = { host: "127.0.0.1", port };
    const started = startProbeServer({ address, checks, metrics: new Registry(), metricsAddress });
    const error = await started.catch((thrown: NodeJS.ErrnoException) => thrown);
    expect(error).to.include({ code: "EADDRINUSE" });
    await new Promise((resolve) => taken.close(resolve));
  });
});

describe("the logger", () => {
  function collect(format: "JSON" | "Pretty") {
    const lines: string[] = [];
    const destination = { write: (line: string) => void lines.push(line) };
    return { lines, logger: createLogger({ destination, format, level: "info" }) };
  }

  it("writes one JSON object a line, with the fields of its parents, and errors with their causes' stacks", () => {
    const { lines, logger } = collect("JSON");
    logger.child({ controller: "pipeline" }).warn({ object: "ns/a", err: new Error("broken") }, "reconcile failed");
    logger.debug({}, "not at this level");
    expect(lines).to.have.length(1);
    const record = JSON.parse(lines[0] ?? "") as Record<string, unknown>;
    expect(record).to.include({ level: "warn", controller: "pipeline", object: "ns/a", msg: "reconcile failed" });
    expect(record.err).to.include({ message: "broken", type: "Error" });
    expect(record.time).to.match(/^\d{4}-\d\d-\d\dT/);
  });

  it("writes for people on a terminal", () => {
    const { lines, logger } = collect("Pretty");
    logger.info({ port: 8080, host: "localhost" }, "listening");
    const plain = (lines[0] ?? "").replaceAll(new RegExp(`${String.fromCharCode(27)}\\[\\d+m`, "g"), "");
    expect(plain).to.match(/^\d\d:\d\d:\d\d\.\d{3} INFO {2}listening port=8080 host=localhost\n$/);
    logger.error({ err: new Error("broken") }, "oops");
    expect(lines[1]).to.include("Error: broken\n    at ");
  });
});

describe("finding the cluster", () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "millrace-kubeconfig-"));
  });

  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  interface Parts {
    readonly server?: string;
    readonly current?: string;
    readonly user?: Readonly<Record<string, unknown>>;
  }

  async function kubeconfig(file: string, name: string, parts: Parts = {}): Promise<string> {
    const { server = `https://${name}:6443`, current = name, user = { token: name } } = parts;
    const path = join(directory, file);
    const config = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name, cluster: { server, "certificate-authority": "ca.crt" } }],
      users: [{ name, user }],
      contexts: [{ name, context: { cluster: name, user: name, namespace: `${name}-ns` } }],
      "current-context": current,
    };
    await writeFile(path, JSON.stringify(config));
    return path;
  }

  const serverOf = (...args: Parameters<typeof loadKubeConfig>) => loadKubeConfig(...args).getCurrentCluster()?.server;

  const refusal = (...args: Parameters<typeof loadKubeConfig>): string => {
    try {
      loadKubeConfig(...args);
    } catch (error) {
      expect(error).to.be.instanceOf(KubeConfigError);
      return (error as Error).message;
    }
    throw new Error("it was expected to be refused");
  };

  it("takes the flag's file before KUBECONFIG's, those before the pod's account, that before the home folder", async () => {
    const flag = await kubeconfig("flag", "flag");
    const env = await kubeconfig("env", "env");
    const account = join(directory, "account");
    await mkdir(account);
    await writeFile(join(account, "token"), "t");
    await writeFile(join(account, "namespace"), "team\n");
    await mkdir(join(directory, ".kube"));
    await kubeconfig(".kube/config", "home");
    const pod = { HOME: directory, KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "443" };
    const all = { ...pod, KUBECONFIG: env };
    expect(serverOf(all, { kubeconfig: flag }, account)).to.equal("https://flag:6443");
    expect(serverOf(all, {}, account)).to.equal("https://env:6443");
    expect(serverOf(pod, {}, account)).to.equal("https://[fd00::1]:443");
    expect(namespaceOf(loadKubeConfig(pod, {}, account))).to.equal("team");
    expect(serverOf({ HOME: directory }, {}, account)).to.equal("https://home:6443");
  });

  it("merges KUBECONFIG's files as kubectl does: the first wins, missing ones are left out, paths are their own", async () => {
    const one = await kubeconfig("one", "one");
    await mkdir(join(directory, "deep"));
    const two = await kubeconfig("deep/two", "two");
    const config = loadKubeConfig({ KUBECONFIG: [join(directory, "none"), one, two, one].join(":") });
    expect(config.getCurrentCluster()?.server).to.equal("https://one:6443");
    expect(config.contexts.map(({ name }) => name)).to.deep.equal(["one", "two"]);
    expect(config.getCluster("two")?.caFile).to.equal(join(directory, "deep/ca.crt"));
    const other = { KUBECONFIG: `${one}:${two}` };
    expect(serverOf(other, { context: "two" })).to.equal("https://two:6443");
  });

  it("follows a user's token file, and allows plain http as of kubectl proxy", async () => {
    const user = { tokenFile: "token" };
    await writeFile(join(directory, "token"), "secret\n");
    const path = await kubeconfig("config", "proxy", { server: "http://127.0.0.1:8001", user });
    const config = loadKubeConfig({}, { kubeconfig: path });
    expect(config.getCurrentUser()?.authProvider).to.deep.equal({
      name: "tokenFile",
      config: { tokenFile: join(directory, "token") },
    });
    const options: { headers?: Record<string, string> } = {};
    await writeFile(join(directory, "ca.crt"), "");
    await config.applyToHTTPSOptions(options);
    expect(options.headers?.Authorization?.trim()).to.equal("Bearer secret");
  });

  it("says what is missing and what would be right", async () => {
    const path = await kubeconfig("config", "one", { current: "gone" });
    await writeFile(join(directory, "broken"), "clusters: [");
    expect(refusal({ HOME: directory }))
      .to.include("no cluster is configured")
      .and.include("--kubeconfig FILE");
    expect(refusal({}, { kubeconfig: join(directory, "none") })).to.include("named by --kubeconfig does not exist");
    expect(refusal({ KUBECONFIG: join(directory, "none") })).to.include("named by KUBECONFIG does not exist");
    expect(refusal({ KUBECONFIG: path }))
      .to.include('current-context "gone"')
      .and.include("it has: one");
    expect(refusal({ KUBECONFIG: path }, { context: "two" })).to.include('"two" is not in the kubeconfig; it has: one');
    expect(refusal({ KUBECONFIG: join(directory, "broken") })).to.include("cannot be read");
  });
});
