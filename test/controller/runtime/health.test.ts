import { createServer } from "node:http";
import { expect } from "chai";
import { Registry } from "prom-client";
import { type HealthCheck, startProbeServer } from "../../../controller/runtime/health.ts";
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
