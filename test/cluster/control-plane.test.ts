import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { expect } from "chai";
import { createAuthority, createCertificate } from "./certificates.ts";
import { useCluster, useControlPlane } from "./cluster.ts";
import { KubectlError } from "./kubectl.ts";

describe("the certificates of a test control plane", () => {
  it("are signed by their authority and say who they are for", () => {
    const authority = createAuthority("an-authority");
    const { certificate } = createCertificate(authority, {
      commonName: "somebody",
      organizations: ["some:group"],
      usage: "Server",
      hosts: ["localhost", "127.0.0.1"],
    });
    const parsed = new X509Certificate(certificate);
    expect(parsed.verify(new X509Certificate(authority.certificate).publicKey)).to.equal(true);
    expect(parsed.verify(new X509Certificate(createAuthority("another").certificate).publicKey)).to.equal(false);
    expect(parsed.subject).to.equal("O=some:group\nCN=somebody");
    expect(parsed.checkHost("localhost")).to.equal("localhost");
    expect(parsed.checkIP("127.0.0.1")).to.equal("127.0.0.1");
    expect(parsed.checkIP("127.0.0.2")).to.equal(undefined);
  });
});

describe("the shared cluster", () => {
  const cluster = useCluster();

  it("serves the three kinds in a namespace of the test's own", async () => {
    const namespace = await cluster.createNamespace();
    const listed = await cluster.kubectl(["get", "millrace", "--namespace", namespace, "--output=name"]);
    expect(listed).to.equal("");
  });

  it("tells what kubectl said when it fails", async () => {
    const failure = await cluster.kubectl(["get", "pipelines", "nowhere"]).catch((error: unknown) => error);
    expect(failure).to.be.instanceOf(KubectlError);
    expect((failure as KubectlError).exitCode).to.equal(1);
    expect((failure as KubectlError).stderr).to.include("NotFound");
  });
});

describe("a control plane of a suite's own", function () {
  this.timeout(120_000);
  const own = useControlPlane();

  it("keeps its data while the API server is stopped and started", async () => {
    const { plane } = own;
    await plane.kubectl(["create", "namespace", "kept"]);
    await plane.stopPart("kube-apiserver", "SIGKILL");
    const refused = await plane.kubectl(["get", "--raw", "/readyz"]).catch((error: unknown) => error);
    expect(refused).to.be.instanceOf(KubectlError);
    await plane.startPart("kube-apiserver");
    expect(await plane.kubectl(["get", "namespace", "kept", "--output=name"])).to.equal("namespace/kept\n");
  });

  it("gives another user no more than the role they are bound to", async () => {
    const kubeconfig = await own.plane.createKubeconfig({ name: "guest", groups: [] });
    const answer = await own.plane
      .kubectl(["--kubeconfig", kubeconfig, "get", "namespaces"])
      .catch((error: unknown) => error);
    expect((answer as KubectlError).stderr).to.include('User "guest" cannot list resource "namespaces"');
  });

  it("leaves neither folder nor process when it is closed", async () => {
    const { plane } = own;
    await plane[Symbol.asyncDispose]();
    expect(existsSync(plane.directory)).to.equal(false);
  });
});
