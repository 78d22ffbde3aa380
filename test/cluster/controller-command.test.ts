import { join } from "node:path";
import { expect } from "chai";
import { useCluster, useControlPlane } from "./cluster.ts";
import { ControllerProcess } from "./controller-process.ts";
import { conditions, Namespace, pipeline, processor } from "./manifests.ts";

const base = join(import.meta.dirname, "../../manifests/base");

describe("millrace controller as a process", function () {
  this.timeout(60_000);
  const cluster = useCluster();

  it("says that it is ready when it has listed everything, and counts what it does", async () => {
    await using controller = await ControllerProcess.start({ kubeconfig: cluster.kubeconfig });
    expect(await controller.probe("/readyz")).to.include({ status: 200, body: "ok" });
    expect((await controller.probe("/healthz?verbose")).body).to.contain("[+]watches ok");
    const metrics = await controller.metrics();
    expect([...metrics.keys()].filter((name) => name.startsWith('millrace_objects{kind="pipelines"'))).to.have.length(
      1,
    );
  });

  it("ends in order on SIGTERM with exit code 0, and gives its Lease back", async () => {
    const namespace = await Namespace.create(cluster);
    const args = ["--lease-namespace", namespace.name, "--lease-name", "the-lease"];
    await using controller = await ControllerProcess.start({ kubeconfig: cluster.kubeconfig, args });
    expect(await controller.stop("SIGTERM")).to.equal(0);
    const holder = await namespace.kubectl("get", "lease", "the-lease", "-o", "jsonpath={.spec.holderIdentity}");
    expect(holder).to.equal("");
    expect(controller.log.map(({ msg }) => msg)).to.include.members(["shuts down", "stopped"]);
    expect(controller.output).to.equal("");
  });

  it("works only while it holds the Lease: the second one waits, and takes over when the first one ends", async () => {
    const namespace = await Namespace.create(cluster);
    const args = ["--lease-namespace", namespace.name, "--lease-name", "shared", "--namespace", namespace.name];
    await using first = await ControllerProcess.start({ kubeconfig: cluster.kubeconfig, args });
    await using second = await ControllerProcess.spawn({ kubeconfig: cluster.kubeconfig, args });
    await second.line("waits for the Lease");
    expect(second.log.map(({ msg }) => msg)).not.to.include("works");
    await first.stop("SIGTERM");
    await second.line("works");
    await namespace.apply(processor("upper", { local: { builtin: "text.uppercase" } }));
    await namespace.wait("mproc/upper", "condition=Ready");
  });

  it("says in the Lease where its payloads are, but no loopback of a pod", async () => {
    const namespace = await Namespace.create(cluster);
    const own = ["--lease-namespace", namespace.name, "--lease-name", "shared", "--namespace", namespace.name];
    const advertised = async (...args: readonly string[]) => {
      await using controller = await ControllerProcess.start({
        kubeconfig: cluster.kubeconfig,
        args: [...own, ...args],
      });
      const { payloads } = await controller.line("listening");
      const lease = await namespace.kubectl("get", "lease", "shared", "-o", "json");
      // Gives the Lease back, so that the next one need not wait.
      await controller.stop("SIGTERM");
      const { metadata } = JSON.parse(lease) as { metadata: { annotations: Record<string, string> } };
      return [metadata.annotations["millrace.dev/payload-endpoint"], payloads];
    };
    const [told, payloads] = await advertised();
    expect(told).to.equal(payloads);
    const [given] = await advertised("--payload-advertised-url", "https://millrace.example");
    expect(given).to.equal("https://millrace.example");
    process.env.KUBERNETES_SERVICE_HOST = "192.0.2.1";
    try {
      expect((await advertised())[0]).to.equal("");
    } finally {
      delete process.env.KUBERNETES_SERVICE_HOST;
    }
  });

  it("looks at its own namespace alone where it is told to", async () => {
    const [own, other] = [await Namespace.create(cluster), await Namespace.create(cluster)];
    await using _ = await ControllerProcess.start({ kubeconfig: cluster.kubeconfig, args: ["--namespace", own.name] });
    const upper = processor("upper", { local: { builtin: "text.uppercase" } });
    await other.apply(upper);
    await own.apply(upper);
    await own.wait("mproc/upper", "condition=Ready");
    expect(conditions(await other.get("mproc/upper")).Ready).to.include({ status: "Unknown", reason: "Pending" });
  });

  const usage: readonly [string, readonly string[], string][] = [
    ["an address that is none", ["--metrics-bind-address", "nonsense"], "metrics-bind-address"],
    ["a certificate without its key", ["--payload-tls-cert-file", "/nowhere"], "--payload-tls-private-key-file"],
    ["to advertise plain http", ["--payload-advertised-url", "http://192.0.2.1:8082"], "in the clear"],
    ["a flag that does not exist", ["--nonsense"], "--nonsense"],
    ["a grace period that is no duration", ["--shutdown-grace-period", "soon"], "30s"],
  ];
  for (const [what, args, told] of usage) {
    it(`refuses ${what} with exit code 2`, async () => {
      await using controller = await ControllerProcess.spawn({ kubeconfig: cluster.kubeconfig, args });
      expect(await controller.exited).to.equal(2);
      expect(controller.output).to.contain(told);
    });
  }

  const unusable: readonly [string, readonly string[], string][] = [
    [
      "a plugins directory that does not exist",
      ["--plugins-dir", "/nowhere/plugins"],
      "--plugins-dir /nowhere/plugins",
    ],
    ["a modules directory that is a file", ["--modules-dir", import.meta.filename], "is not a folder"],
    ["a place for payloads that cannot be one", ["--payloads-dir", `${import.meta.filename}/x`], "--payloads-dir"],
  ];
  for (const [what, args, told] of unusable) {
    it(`does not start with ${what}`, async () => {
      await using controller = await ControllerProcess.spawn({ kubeconfig: cluster.kubeconfig, args });
      expect(await controller.exited).to.equal(1);
      expect(controller.output)
        .to.match(/^error: /)
        .and.contain(told);
    });
  }

  it("says which flags choose an address where one is taken", async () => {
    await using first = await ControllerProcess.start({ kubeconfig: cluster.kubeconfig });
    const { metricsPort } = await first.line("listening");
    const args = ["--metrics-bind-address", `127.0.0.1:${String(metricsPort)}`];
    await using second = await ControllerProcess.spawn({ kubeconfig: cluster.kubeconfig, args });
    expect(await second.exited).to.equal(1);
    expect(second.output).to.match(/^error: .*EADDRINUSE.*--metrics-bind-address/);
  });

  it("refuses to serve payloads to the network without TLS", async () => {
    const args = ["--payload-bind-address", "0.0.0.0:0"];
    await using controller = await ControllerProcess.spawn({ kubeconfig: cluster.kubeconfig, args });
    expect(await controller.exited).to.equal(1);
    expect(controller.output).to.match(/^error: .*TLS/);
  });

  it("says which kubeconfig does not exist", async () => {
    await using controller = await ControllerProcess.spawn({ kubeconfig: "/nowhere/config" });
    expect(await controller.exited).to.equal(1);
    expect(controller.output).to.match(/^error: .*\/nowhere\/config/);
  });
});

describe("millrace controller and its rights", function () {
  this.timeout(120_000);
  const control = useControlPlane();

  it("says what it lacks, works with manifests/base alone, and says which kind is not installed", async () => {
    const { plane } = control;
    const name = "system:serviceaccount:millrace-system:millrace-controller";
    const kubeconfig = await plane.createKubeconfig({ name, groups: ["system:serviceaccounts"] });
    const args = ["--lease-namespace", "millrace-system"];
    await using poor = await ControllerProcess.spawn({ kubeconfig, args });
    expect(await poor.exited).to.equal(1);
    expect(poor.output).to.contain("get, list, watch processors.millrace.dev").and.contain("manifests/base/rbac.yaml");

    await plane.kubectl(["apply", "--kustomize", base]);
    await using controller = await ControllerProcess.start({ kubeconfig, args });
    const namespace = new Namespace(plane, "default");
    await namespace.apply(
      processor("upper", { local: { builtin: "text.uppercase" } }),
      pipeline("one", { steps: [{ name: "a", processor: "upper" }] }),
      { kind: "Execution", metadata: { name: "run" }, spec: { pipeline: "one", input: { text: "words" } } },
    );
    await namespace.wait("mexec/run", "condition=Succeeded");
    await namespace.kubectl("delete", "mexec", "run");
    expect(controller.log.filter(({ level }) => level === "error" || level === "warn")).to.deep.equal([]);
    expect(await controller.stop()).to.equal(0);

    await plane.kubectl(["delete", "crd", "pipelines.millrace.dev"]);
    await using lost = await ControllerProcess.spawn({ kubeconfig, args });
    expect(await lost.exited).to.equal(1);
    expect(lost.output).to.match(
      /^error: .*Pipeline \(pipelines\.millrace\.dev\).*kubectl apply --server-side -f crds/,
    );
  });
});
